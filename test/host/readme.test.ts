import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { ExecResult, TestHost } from './machine/machine.ts';
import { SmallWorkspace } from './small/smallWorkspace.ts';
import { ask, deleteWorkspaces, endApi, quote, sharedHost } from './workspace.ts';

const directory = '/home/dev/release';
const sudoRule = '/etc/sudoers.d/readme';
const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
/** Runs inside the workspace, which its shell outlives where all of its programs are killed. */
const inside = 'sudo podman exec forkpoint-web sh -c';

/** The only block of shell commands that begins so. */
function block(beginning: RegExp): string {
  const blocks = [...readme.matchAll(/^```sh\n([^]*?)^```$/gm)].flatMap(([, text = '']) => text);
  const [found, ...others] = blocks.filter((text) => beginning.test(text));
  assert.ok(
    found !== undefined && others.length === 0,
    `the README has not one block like ${String(beginning)}`,
  );
  return found;
}

describe('what the README shows', function () {
  this.timeout(60_000);

  let host: TestHost;
  let web: SmallWorkspace;

  before(async () => {
    host = await sharedHost();
    web = await SmallWorkspace.create(host, 'web');
    // Where sudo looks for programs on Debian 12 and 13; it says what to do elsewhere.
    const searched = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
    await host.run(['tee', sudoRule], { input: `Defaults secure_path="${searched.join(':')}"\n` });
    await web.mark('version 1');
  });

  after(async () => {
    await endApi(host);
    await deleteWorkspaces(host);
    await host.run(['rm', '-rf', directory, '/home/dev/.forkpoint-token', sudoRule]);
  });

  it('switches the API on and makes a token, for the deploy script', async () => {
    await write('api.sh', `set -e\n${block(/^sudo forkpoint api enable /)}`);
    const { exitCode, stdout, stderr } = await asDev('sh -x ./api.sh');
    assert.equal(exitCode, 0, stderr);
    assert.match(stdout, /^The HTTP API listens on 127\.0\.0\.1:7465\.$/m);
    const [token] = /^fpt_\S+$/m.exec(stdout) ?? [];
    await write('../.forkpoint-token', `Authorization: Bearer ${String(token)}\n`, '600');
    await write('deploy.sh', block(/^#!\/bin\/sh\n# deploy\.sh WORKSPACE\n/));
  });

  it('deploys what passes its verification, and keeps the state before for 30 days', async () => {
    await write('deploy', `#!/bin/sh\n${inside} 'echo version 2 > /mark'\n`);
    await write('verify', `#!/bin/sh\n${inside} 'read -r text < /mark; [ "$text" = "version 2" ]'\n`);
    const { exitCode, stdout, stderr } = await deploy();
    assert.equal(exitCode, 0, stderr);
    const [, alias] = /"(before-deploy-[0-9-]+)"/.exec(stdout) ?? [];
    const [taken] = await ask(host, 'snapshots/list', { container: 'web' });
    assert.deepEqual([taken?.alias, taken?.stateful], [alias, true]);
    const days = (Date.parse(taken?.expiresAt ?? '') - Date.now()) / 86_400_000;
    assert.ok(days > 29.9 && days <= 30, String(days));
    assert.equal((await web.requireSound('running')).mark, 'version 2\n');
  });

  it('rolls files and processes back when the verification fails, whatever the deploy has done', async () => {
    const before = await web.look('running');
    await write(
      'deploy',
      `#!/bin/sh\n${inside} 'echo version 3 > /mark; : > /app/workload.py; kill -9 -1'\nexit 0\n`,
    );
    const { exitCode, stdout, stderr } = await deploy();
    assert.equal(exitCode, 1, stdout);
    assert.match(stderr, /Rolled back to "before-deploy-[0-9-]+"/);
    const after = await web.requireSound('running');
    assert.equal(after.mark, 'version 2\n');
    assert.ok(after.counter > before.counter, 'its programs did not go on from where they were');
    const workload = `/var/lib/forkpoint/workspaces/${web.id}/rootfs/app/workload.py`;
    assert.equal((await host.exec(['test', '-s', workload])).exitCode, 0);
    const [safety] = (await ask(host, 'snapshots/list', { container: 'web' })).filter(
      ({ kind }) => kind === 'safety',
    );
    assert.ok(safety, 'the state that failed is lost');
  });

  it('deploys nothing where it can take no snapshot first', async () => {
    await write('deploy', '#!/bin/sh\ntouch deployed\n');
    const { exitCode, stderr } = await deploy('nothing-of-that-name');
    assert.equal(exitCode, 1);
    assert.match(stderr, /"code":"api\.forbidden"/);
    assert.equal((await host.exec(['test', '-e', `${directory}/deployed`])).exitCode, 1);
  });

  it('makes three forks, lets one take the place of the original and deletes another, in three commands', async () => {
    await ask(host, 'snapshots/create', { container: 'web', alias: 'before-migration' });
    await write('fork.sh', `set -e\n${block(/^sudo forkpoint containers copy /)}`);
    const printed = await asDev(`sh -x ./fork.sh`);
    assert.equal(printed.exitCode, 0, printed.stderr);
    assert.match(printed.stdout, /^try-3 +running +with its processes/m);
    const left = await ask(host, 'containers/list', {});
    assert.deepEqual(
      left.map(({ name, state, origin }) => [name, state, origin?.name]),
      [
        ['try-3', 'running', 'web'],
        ['web', 'running', undefined],
      ],
    );
    const list = await ask(host, 'snapshots/list', { container: 'web' });
    assert.ok(list.some(({ kind, isHead }) => isHead && kind !== 'safety'));
  });

  /** Runs it as a user whose token is all that lets him. */
  function deploy(workspace = 'web'): Promise<ExecResult> {
    return asDev(`./deploy.sh ${quote(workspace)}`);
  }

  function asDev(command: string): Promise<ExecResult> {
    const script = `cd ${directory} && export HOME=/home/dev && exec ${command}`;
    return host.exec(['runuser', '-u', 'dev', '--', 'sh', '-c', script]);
  }

  async function write(name: string, text: string, mode = '755'): Promise<void> {
    const script = 'mkdir -p "$1"; cd "$1"; cat > "$2"; chmod "$3" "$2"; chown -R dev: . "$2"';
    await host.run(['sh', '-euc', script, 'write', directory, name, mode], { input: text });
  }
});

import assert from 'node:assert/strict';
import type { Preview } from '../../src/protocol/operations.ts';
import { DaemonClient } from './daemonClient.ts';
import { HeavyLoad } from './heavyWorkspace.ts';
import type { TestHost } from './machine/machine.ts';
import { ask, CommandFailure, failsWith, forkpoint, sharedHost, TestWorkspace, until } from './workspace.ts';

/** How often the workspace is snapshotted and restored in a row. */
const ROUNDS = 50;

describe('the story of a timeline', function () {
  this.timeout(90_000);
  let host: TestHost;
  let workspace: TestWorkspace;
  let load: HeavyLoad;

  before(async () => {
    host = await sharedHost();
    workspace = await TestWorkspace.create(host, 'timeline', { volume: [{ name: 'data', path: '/data' }] });
    load = new HeavyLoad(workspace);
  });

  after(async () => {
    await workspace.call('containers/delete', { withSnapshots: true });
  });

  it(`a writer of every millisecond survives ${ROUNDS} rounds of snapshot and restore without one failure`, async function () {
    this.timeout(300_000);
    await load.startWriter();
    for (let round = 0; round < ROUNDS; round++) {
      const snapshot = await workspace.snapshot();
      const { stateful } = await workspace.restore(snapshot.name, {
        safety: round % 2 === 0 ? 'none' : 'stateful',
      });
      assert.equal(stateful, true);
      const { length } = await load.readCounter();
      await until(async () => (await load.readCounter()).length > length);
    }
  });

  it('a stateless snapshot holds the files alone: PostgreSQL recovers from its log', async () => {
    await load.startPostgres();
    await load.sql('create table kept (n int); insert into kept select generate_series(1, 500)');
    const snapshot = await workspace.snapshot({ mode: 'stateless' });
    assert.equal(snapshot.stateful, false);
    assert.equal(snapshot.statelessReason, 'the files alone were asked for');
    assert.equal(snapshot.memoryBytes, 0);
    assert.ok(snapshot.capture.leftOut.some(({ name }) => name === 'postgres'));
    await load.sql('drop table kept');
    const restored = await workspace.restore(snapshot.name);
    assert.equal(restored.stateful, false);
    assert.equal(restored.workspace.state, 'running');
    assert.deepEqual(
      (await load.processes()).map((line) => line.replace(/^\d+ /, '')),
      ['init'],
    );
    await load.startPostgres();
    assert.equal(await load.sql('select count(*) from kept'), '500');
    assert.match(
      await workspace.sh('cat /var/log/postgresql/*.log'),
      /database system was not properly shut down; automatic recovery/,
    );
  });

  it('a workspace that cannot be dumped gets a stateless snapshot with the reason; --mode stateful is an error and leaves nothing', async () => {
    await workspace.python('/root/tracer.py', tracer);
    await until(async () => (await workspace.try('test -s /srv/traced')).exitCode === 0);
    const list = async (): Promise<string[]> =>
      (await workspace.call('snapshots/list', {})).map(({ name }) => name);
    const before = await list();
    const failure = await failsWith('checkpoint.impossible', workspace.snapshot());
    assert.match(String(failure.args['reason']), /a debugger or tracer is attached to a process/);
    assert.deepEqual(await list(), before);
    const names = (await host.run(['ls', `/var/lib/forkpoint/snapshots/${workspace.id}`])).trim().split('\n');
    assert.equal(names.length, before.length);
    assert.equal((await workspace.show()).state, 'running');

    const fallback = await workspace.snapshot({ mode: 'auto' });
    assert.equal(fallback.stateful, false);
    assert.match(String(fallback.statelessReason), /a debugger or tracer is attached to a process/);
    assert.ok(fallback.capture.leftOut.some(({ name }) => name === 'python3'));
    assert.equal((await workspace.sh('kill -0 $(cat /srv/traced) && echo lives')).trim(), 'lives');
    await workspace.sh('pkill -KILL -f "[t]racer.py"');
  });

  it('a stopped workspace is snapshotted and restored with its files', async () => {
    await workspace.call('containers/stop', { timeout: 0 });
    await failsWith('checkpoint.impossible', workspace.snapshot());
    const snapshot = await workspace.snapshot({ mode: 'auto' });
    assert.deepEqual([snapshot.stateful, snapshot.statelessReason, snapshot.freezeMs], [false, null, 0]);
    await workspace.call('containers/start', {});
  });

  it('processes started from outside are named as left out', async () => {
    await host.run(['podman', 'exec', '--detach', 'forkpoint-timeline', 'sleep', '4321']);
    const { capture } = await workspace.snapshot();
    const left = capture.leftOut.find(({ name }) => name === 'sleep');
    assert.match(String(left?.reason), /started from outside/);
  });

  it('the preview answers within a second, and its facts are right', async () => {
    await workspace.sh(
      'mkdir -p /srv/many; for i in 1 2 3 4 5; do echo $i > /srv/many/$i; done; echo kept > /srv/edited',
    );
    await workspace.background('exec tail --lines=1111 -f /dev/null');
    const snapshot = await workspace.snapshot();
    await workspace.sh(
      'rm /srv/many/1 /srv/many/2; echo new > /srv/new; echo changed > /srv/edited; pkill -f "[l]ines=1111"',
    );
    await workspace.background('exec tail --lines=2222 -f /dev/null');
    const client = await DaemonClient.connect(host);
    const started = performance.now();
    let firstAfterMs = 0;
    const preview: Preview = await client.call(
      'snapshots/preview',
      { container: workspace.name, name: snapshot.name },
      () => {
        firstAfterMs ||= performance.now() - started;
      },
    );
    await client.close();
    assert.ok(firstAfterMs > 0 && firstAfterMs < 1000, `the first answer came after ${firstAfterMs} ms`);
    const about = preview.files?.first
      .filter(({ path }) => path.startsWith('/srv/'))
      .map(({ path, change }) => `${change} ${path}`);
    assert.deepEqual(about, [
      'changed /srv/edited',
      'deleted /srv/many/1',
      'deleted /srv/many/2',
      'added /srv/new',
    ]);
    assert.equal(preview.started?.filter(({ name }) => name === 'tail').length, 1);
    assert.equal(preview.ended?.filter(({ name }) => name === 'tail').length, 1);
    assert.deepEqual(preview.outsideConnections, []);
    assert.equal(preview.safety?.choice, 'stateful');
    assert.ok(preview.safety.memoryBytes > 0);
  });

  it('ten clients at once on one workspace are queued: none is lost, names are distinct, the line has no gap', async () => {
    const clients = await Promise.all(Array.from({ length: 10 }, () => DaemonClient.connect(host)));
    const { head } = await workspace.show();
    const made = await Promise.all(
      clients.map((client) =>
        client.call('snapshots/create', { container: workspace.name, mode: 'stateless' }),
      ),
    );
    await Promise.all(clients.map((client) => client.close()));
    assert.equal(new Set(made.map(({ snapshot }) => snapshot.name)).size, 10);
    const parents = new Map(made.map(({ snapshot }) => [snapshot.parent, snapshot.name]));
    let [at, count] = [head, 0];
    for (let next = parents.get(at); next !== undefined; next = parents.get(next))
      [at, count] = [next, count + 1];
    assert.equal(count, 10);
    assert.equal((await workspace.show()).head, at);
  });

  it('names that could harm are refused with a hint, and aliases are unique', async () => {
    for (const alias of ['-x', '.hidden', 'a/b', 'a b', '../x', 'x'.repeat(65), '']) {
      const failure = await forkpoint(host, 'snapshots/create', [
        '-c',
        workspace.name,
        `--alias=${alias}`,
      ]).then(
        () => assert.fail(`"${alias}" was accepted`),
        (error: unknown) => error,
      );
      assert.ok(failure instanceof CommandFailure);
      assert.equal(failure.exitCode, 2, failure.message);
    }
    const first = await workspace.snapshot({ mode: 'stateless', alias: 'mine' });
    const second = await workspace.snapshot({ mode: 'stateless' });
    await failsWith('alias.taken', workspace.snapshot({ mode: 'stateless', alias: 'mine' }));
    await failsWith('alias.taken', workspace.call('snapshots/alias', { name: second.name, alias: 'mine' }));
    const numbered = await workspace.snapshot({ mode: 'stateless', alias: 'mine', numbered: true });
    assert.equal(numbered.alias, 'mine-2');
    await workspace.call('snapshots/alias', { name: 'mine', alias: null });
    assert.equal((await workspace.call('snapshots/show', { name: first.name })).alias, null);
  });

  it('a deleted snapshot leaves its children to its parent; a protected one is not deleted', async () => {
    const [one, two, three] = [
      await workspace.snapshot({ mode: 'stateless' }),
      await workspace.snapshot({ mode: 'stateless' }),
      await workspace.snapshot({ mode: 'stateless' }),
    ];
    await workspace.call('snapshots/protect', { name: two.name });
    await failsWith('snapshot.protected', workspace.call('snapshots/delete', { name: two.name }));
    await workspace.call('snapshots/unprotect', { name: two.name });
    await workspace.call('snapshots/delete', { name: two.name });
    assert.equal((await workspace.call('snapshots/show', { name: three.name })).parent, one.name);
    await workspace.call('snapshots/delete', { name: three.name });
    assert.equal((await workspace.show()).head, one.name);
    await failsWith('snapshot.notFound', workspace.call('snapshots/show', { name: three.name }));
  });

  it('a snapshot past its expiry goes to the trash, and can be taken back; a protected one stays', async () => {
    const expiring = await workspace.snapshot({ mode: 'stateless', alias: 'expiring', expiry: 0.00001 });
    const kept = await workspace.snapshot({ mode: 'stateless', expiry: 0.00001 });
    await workspace.call('snapshots/protect', { name: kept.name });
    await until(() => Promise.resolve(Date.parse(kept.expiresAt ?? '') < Date.now()));
    // The daemon looks when it starts, and every minute.
    const pid = (await host.run(['pgrep', '-f', 'helper.cjs daemon'])).trim();
    await host.run(['kill', pid]);
    await until(async () => (await host.exec(['test', '-e', `/proc/${pid}`])).exitCode !== 0);
    const names = async (): Promise<string[]> =>
      (await workspace.call('snapshots/list', {})).map(({ name }) => name);
    await until(async () => !(await names()).includes(expiring.name));
    assert.ok((await names()).includes(kept.name), 'the protected one has expired');
    const trash = await ask(host, 'host/trash', {});
    assert.ok(trash.some(({ name, alias }) => name === expiring.name && alias === 'expiring'));
    const back = await workspace.call('snapshots/recover', { name: 'expiring' });
    assert.equal(back.expiresAt, null);
    await workspace.call('snapshots/unprotect', { name: kept.name });
    assert.ok((await names()).includes(expiring.name));
    await failsWith('request.invalid', workspace.snapshot({ expiry: 3651 }));
    await failsWith('request.invalid', workspace.snapshot({ expiry: 0 }));
  });

  it('the newest safety snapshots are kept, and the one that Undo needs', async () => {
    const target = await workspace.snapshot({ mode: 'stateless' });
    const taken: string[] = [];
    for (let round = 0; round < 4; round++)
      taken.push(String((await workspace.restore(target.name, { safety: 'stateless' })).safety));
    const safeties = (await workspace.call('snapshots/list', {}))
      .filter(({ kind }) => kind === 'safety')
      .map(({ name }) => name);
    for (const name of taken) assert.ok(safeties.some((one) => one === name));
    assert.equal((await workspace.show()).undo?.safety, taken.at(-1));
  });

  it('the command line answers 0, 1 or 2, with tables for people and JSON for programs', async () => {
    const table = await host.exec(['forkpoint', 'containers', 'list']);
    assert.equal(table.exitCode, 0);
    assert.match(table.stdout, /^NAME +STATE +HEAD/);
    const missing = await host.exec(['forkpoint', 'containers', 'show', '-c', 'nobody']);
    assert.equal(missing.exitCode, 1);
    assert.equal(missing.stdout, '');
    assert.match(
      missing.stderr,
      /There is no workspace "nobody" on this host.*workspace\.notFound[^]*Hint: /,
    );
    const unknown = await host.exec(['forkpoint', 'containers', 'vanish']);
    assert.equal(unknown.exitCode, 2);
    const shown = await forkpoint(host, 'containers/show', ['-c', workspace.id]);
    assert.equal(shown.name, 'timeline');
    assert.equal(shown.snapshotCount, (await workspace.call('snapshots/list', {})).length);
    await failsWith('workspace.hasSnapshots', forkpoint(host, 'containers/delete', ['-c', workspace.name]));
  });

  it("a workspace is made from an image in Podman's local storage, with its command and environment", async () => {
    await host.run([
      'sh',
      '-c',
      'cd /run && rm -rf image && mkdir -p image/bin image/lib && cp /usr/bin/catatonit image/bin/idle && tar -C image -cf small.tar .',
    ]);
    await host.run([
      'podman',
      'import',
      '--change',
      'CMD ["/bin/idle", "-P"]',
      '--change',
      'ENV GREETING=hello',
      '/run/small.tar',
      'localhost/small:1',
    ]);
    const small = await TestWorkspace.create(host, 'small', { image: 'localhost/small:1' });
    const shown = await small.show();
    assert.deepEqual([shown.state, shown.command], ['running', ['/bin/idle', '-P']]);
    assert.equal(await host.run(['podman', 'image', 'mount']).then((text) => text.includes('small')), false);
    await small.call('containers/delete', {});
    await failsWith(
      'source.invalid',
      TestWorkspace.create(host, 'nothing', { image: 'localhost/nothing:1' }),
    );
  });
});

/** A process traced by another can't be dumped. */
const tracer = `
import ctypes, os, time
child = os.fork()
if child == 0:
    while True: time.sleep(1)
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE = 0x4206
assert libc.ptrace(PTRACE_SEIZE, child, 0, 0) == 0, os.strerror(ctypes.get_errno())
open('/srv/traced', 'w').write(str(child))
while True: time.sleep(1)
`;

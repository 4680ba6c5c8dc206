import assert from 'node:assert/strict';
import { access, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { HeavyLoad } from '../host/heavyWorkspace.ts';
import { workspaceTarInHost } from '../host/machine/recipe.ts';
import type { TestHost } from '../host/machine/machine.ts';
import { forkpoint, TestWorkspace } from '../host/workspace.ts';

/** The extension as users install it. */
export const vsix = path.resolve('forkpoint.vsix');

/** @throws when the package isn't built */
export async function requireVsix(): Promise<void> {
  await access(vsix).catch((cause: unknown) => {
    throw new Error(`There is no ${vsix}: run "npm run package" first.`, { cause });
  });
}

/** An entry of an ssh configuration; `options` win over what reaches `host`. */
export function sshAlias(alias: string, host: TestHost, options: Record<string, string> = {}): string {
  const { ssh } = host;
  const all = {
    HostName: ssh.host,
    Port: String(ssh.port),
    User: ssh.user,
    IdentityFile: ssh.identityFile,
    IdentitiesOnly: 'yes',
    UserKnownHostsFile: ssh.knownHostsFile,
    GlobalKnownHostsFile: '/dev/null',
    ...options,
  };
  const lines = Object.entries(all).map(([key, value]) => `  ${key} ${value}\n`);
  return `Host ${alias}\n${lines.join('')}`;
}

/** A folder that is a git repository on the branch `branch`, as far as its `.git/HEAD` tells. */
export async function makeRepository(folder: string, branch: string): Promise<void> {
  await mkdir(path.join(folder, '.git'), { recursive: true });
  await writeFile(path.join(folder, '.git', 'HEAD'), `ref: refs/heads/${branch}\n`);
}

/** Makes a workspace on the host in which a database, a server, terminals and a writer run. */
export async function startShop(host: TestHost): Promise<HeavyLoad> {
  const made = await forkpoint(host, 'containers/create', [
    ...['shop', '--rootfs', workspaceTarInHost],
    ...['--volume', 'data:/data', '--publish', '8080:8080'],
  ]);
  const workspace = new TestWorkspace(host, made.name, made.id, made.rootfs, made.address);
  const load = new HeavyLoad(workspace);
  await load.start();
  return load;
}

/** What a restore must bring back, as it is seen from inside the workspace. */
export interface Sight {
  readonly rows: string;
  /** Which node process answers: it made this up when it started. */
  readonly secret: string;
  readonly requests: number;
  /** What the psql session shows that has a transaction open. */
  readonly psql: string;
  readonly shell: string;
  readonly files: Record<string, unknown>;
}

/** Looks at all that {@link wreck} destroys; counts as one request to the server. */
export async function look(load: HeavyLoad): Promise<Sight> {
  const { secret, requests } = await load.counts();
  return {
    rows: await load.sql('select count(*), min(name), max(name) from customers'),
    secret,
    requests,
    psql: await load.screen('psql'),
    shell: await load.screen('shell'),
    files: await load.describe('/srv/files', '/data/files'),
  };
}

/** Destroys what a careless tool might: the table, files inside and on the volume, all that runs. */
export async function wreck(load: HeavyLoad): Promise<void> {
  const { workspace } = load;
  // The open transaction would hold the table, so its session goes first.
  await workspace.sh('tmux kill-server; pkill -9 -f "^node "; rm -rf /srv/files /data/files /root/server.js');
  await load.sql('drop table customers');
  await assert.rejects(load.counts());
  await workspace.background('exec sleep 98765');
}

/** Proves that everything is as `before` and that the processes went on, not began again. */
export async function assertBack(load: HeavyLoad, before: Sight): Promise<void> {
  const after = await look(load);
  assert.equal(after.rows, before.rows);
  assert.equal(after.secret, before.secret, 'another node process answers than before');
  assert.equal(after.requests, before.requests + 1, 'the counter in the memory of node');
  assert.equal(after.psql, before.psql);
  assert.equal(after.shell, before.shell);
  assert.deepEqual(after.files, before.files);
  await load.readCounter();
}

/** Proves that the workspace is in the state that {@link wreck} left. */
export async function assertWrecked(load: HeavyLoad): Promise<void> {
  assert.equal((await load.workspace.try('test -e /srv/files -o -e /data/files')).exitCode, 1);
  const processes = (await load.processes()).map((line) => line.split(' ')[1]);
  assert.ok(processes.includes('sleep'), `among ${processes.join(', ')}`);
  assert.ok(!processes.some((name) => name?.startsWith('tmux')), `among ${processes.join(', ')}`);
  await assert.rejects(load.counts());
  assert.equal(await load.sql("select to_regclass('customers') is null"), 't');
}

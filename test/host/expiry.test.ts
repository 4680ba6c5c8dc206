import assert from 'node:assert/strict';
import * as z from 'zod';
import { bootHost, endHost, type TestHost } from './machine/machine.ts';
import {
  SmallWorkspace,
  endOfLog,
  forkpoint,
  forkpointJson,
  killDaemon,
  logLength,
  logSince,
} from './small/smallWorkspace.ts';
import { until } from './workspace.ts';

const pool = '/var/lib/forkpoint';
const HOUR_MS = 3_600_000;

const SnapshotsSchema = z.array(z.object({ name: z.string(), kind: z.string() }));
const WorkspaceSchema = z.object({ undo: z.object({ safety: z.string() }).nullable() });

/** A daemon looks for what has expired when it starts, so each test ends it, changes what it will find, and waits. */
describe('the passing of time', function () {
  this.timeout(180_000);

  let host: TestHost;
  let small: SmallWorkspace;

  before(async () => {
    host = await bootHost({ name: 'expiry', ifRunning: 'replace', poolSizeBytes: 3 * 1024 ** 3 });
    small = await SmallWorkspace.create(host, 'small');
    await forkpointJson(host, [
      'snapshots',
      'create',
      '-c',
      'small',
      '--alias',
      'target',
      '--mode',
      'stateless',
    ]);
    await forkpointJson(host, ['containers', 'stop', '-c', 'small']);
  });

  beforeEach(async () => {
    for (let count = (await safeties()).length; count < 5; count++) {
      const restore = ['snapshots', 'restore', '-c', 'small', '--name', 'target', '--safety', 'stateless'];
      await forkpointJson(host, restore);
    }
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await endOfLog(host));
  });

  after(() => endHost('expiry'));

  it('expires safety snapshots of yesterday, but for the newest three, and keeps them a day of uptime in the trash', async () => {
    const before = await safeties();
    await makeOlder(before);
    await restartDaemon();
    await until(async () => (await safeties()).length === 3);
    assert.deepEqual(await safeties(), before.slice(0, 3));
    assert.equal((await undo()).safety, before[0]);
    assert.equal(await countTrash(), before.length - 3);

    await edit(`${pool}/clock.json`, `r.uptimeMs += ${String(23 * HOUR_MS)}`);
    await restartDaemon();
    assert.equal(await countTrash(), before.length - 3);
    await edit(`${pool}/clock.json`, `r.uptimeMs += ${String(2 * HOUR_MS)}`);
    await restartDaemon();
    await until(async () => (await countTrash()) === 0);
    assert.deepEqual(await safeties(), before.slice(0, 3));
  });

  it('H17: expires nothing while the clock is not believed, though all looks old', async () => {
    const before = await safeties();
    await makeOlder(before);
    await edit(`${pool}/clock.json`, `r.wallMs -= ${String(HOUR_MS)}`);
    const offset = await logLength(host);
    await restartDaemon();
    await until(async () => /listens on/.test(await logSince(host, offset)));
    // The round of the start has ended when its clock is on the disk.
    await until(async () => /distrustedUntilMs": ?[1-9]/.test(await host.run(['cat', `${pool}/clock.json`])));
    assert.deepEqual(await safeties(), before);
    await edit(`${pool}/clock.json`, 'r.distrustedUntilMs = 0');
  });

  it('takes safety snapshots first when the pool fills up, and refuses a snapshot before it freezes anything', async () => {
    await forkpointJson(host, ['containers', 'start', '-c', 'small']);
    const needed = await undo();
    await killDaemon(host);
    await host.run([
      'sh',
      '-c',
      `free=$(df --output=avail -B1 ${pool} | tail -n 1); fallocate -l $((free - 200 * 1024 * 1024)) ${pool}/filler`,
    ]);
    const offset = await logLength(host);
    await restartDaemon();
    await until(async () => (await safeties()).length === 1);
    assert.deepEqual(await safeties(), [needed.safety]);
    const { exitCode, stdout, stderr } = await forkpoint(host, [
      'snapshots',
      'create',
      '-c',
      'small',
      '--json',
    ]);
    assert.equal(exitCode, 1, stdout);
    assert.match(stderr || stdout, /"pool\.full"/);
    const log = await logSince(host, offset);
    assert.match(log, /the pool is low/);
    assert.doesNotMatch(log, /create small: freeze/);
    await host.run(['rm', `${pool}/filler`]);
    await small.requireSound('running');
  });

  async function safeties(): Promise<string[]> {
    const all = SnapshotsSchema.parse(await forkpointJson(host, ['snapshots', 'list', '-c', 'small']));
    return all.filter(({ kind }) => kind === 'safety').map(({ name }) => name);
  }

  async function undo(): Promise<{ safety: string }> {
    const shown = WorkspaceSchema.parse(await forkpointJson(host, ['containers', 'show', '-c', 'small']));
    assert.ok(shown.undo, 'there is nothing to undo');
    return shown.undo;
  }

  async function countTrash(): Promise<number> {
    return z.array(z.unknown()).parse(await forkpointJson(host, ['host', 'trash'])).length;
  }

  /** Turns back the dates of snapshots by two days. */
  async function makeOlder(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const change = `r.createdAt = new Date(Date.parse(r.createdAt) - ${String(48 * HOUR_MS)}).toISOString()`;
      await edit(`${pool}/snapshots/${small.id}/${name}/snapshot.json`, change);
    }
  }

  /** Changes a JSON file of the pool, while no daemon runs. */
  async function edit(file: string, change: string): Promise<void> {
    await killDaemon(host);
    const program = `const fs=require('fs'), r=JSON.parse(fs.readFileSync(process.argv[1])); ${change}; fs.writeFileSync(process.argv[1], JSON.stringify(r))`;
    await host.run(['node', '-e', program, file]);
  }

  async function restartDaemon(): Promise<void> {
    await killDaemon(host);
    await safeties();
  }
});

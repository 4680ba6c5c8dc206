import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { DaemonClient } from './daemonClient.ts';
import { bootHost, type TestHost } from './machine/machine.ts';
import { daemonPid } from './small/smallWorkspace.ts';

/** Snapshots whose records the daemon holds. */
const count = 500;

/** Writes the records of a workspace and its snapshots, as if they had been made: by another program, in the host. */
const writeRecords = `
  const { mkdirSync, writeFileSync } = require('node:fs');
  const [pool, count] = process.argv.slice(1);
  const id = 'ws-0123456789ab';
  const nameOf = (index) => 'snap-20260304-143045' + (index === 1 ? '' : '-' + index);
  const write = (directory, file, value) => {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(directory + '/' + file, JSON.stringify(value), { mode: 0o600 });
  };
  write(pool + '/workspaces/' + id, 'workspace.json', {
    schema: 1, id, name: 'many', createdAt: '2026-03-04T14:30:45.000Z', head: nameOf(Number(count)), generation: 0, undo: null,
    engine: { kind: 'podman', container: 'forkpoint-many', id: '', runtime: 'runc' },
    spec: { hostname: 'many', address: '10.209.0.99', mac: '02:00:00:00:00:99', command: [], env: {}, user: '',
      workingDirectory: '', shmBytes: 1, volumes: [], published: [] },
    lazy: null,
  });
  for (let index = 1; index <= Number(count); index++) {
    write(pool + '/snapshots/' + id + '/' + nameOf(index), 'snapshot.json', {
      schema: 1, workspace: id, name: nameOf(index), alias: null, note: null, createdAt: '2026-03-04T14:30:45.000Z',
      expiresAt: null, parent: index === 1 ? null : nameOf(index - 1), protected: false, stateful: false,
      statelessReason: null, kind: 'manual', freezeMs: 0, totalMs: 1, memoryBytes: 0, exclusiveBytes: 0,
      changedFiles: { added: 0, changed: 0, deleted: 0, first: [] },
      capture: { kept: [], leftOut: [], listeners: [], outsideConnections: [], volumes: [], nestedSubvolumes: [],
        otherMounts: [] },
      durable: true, parts: ['rootfs'], nested: [], images: [], imageOrigin: null, addresses: [], identity: null,
      bootId: '',
    });
  }`;

/** Prints the resident memory in kB of a Node that has nothing to do. */
const bareNode = `node -e 'setInterval(() => {}, 1e6)' & sleep 2; sed -n 's/^VmRSS:[^0-9]*//p' /proc/$!/status; kill $!`;

describe('an idle daemon', function () {
  this.timeout(120_000);

  let host: TestHost;
  let client: DaemonClient;
  let pid: number;

  before(async () => {
    host = await bootHost({ name: 'daemon-idle', poolSizeBytes: 2 * 1024 ** 3, ifRunning: 'replace' });
    await host.run(['node', '-e', writeRecords, host.description.pool, String(count)]);
    client = await DaemonClient.connect(host);
    pid = (await daemonPid(host)) ?? assert.fail('no daemon runs');
  });

  after(async () => {
    await client.close();
    await host.down();
  });

  it('gives the memory back that much work took, but for what Node and the records need', async () => {
    for (let round = 0; round < 100; round++) await list();
    const atWork = await residentKilobytes();
    const ofNode = Number.parseInt(await host.run(['sh', '-c', bareNode]), 10);
    // What stays is Node's own code that was read when it was first used, the program, and pieces of the C library's heap
    // that lie between what is in use: some 30 MB.
    const limit = ofNode + 45_000;
    const deadline = performance.now() + 50_000;
    while ((await residentKilobytes()) > limit && performance.now() < deadline) await sleep(1000);
    const atRest = await residentKilobytes();
    assert.ok(atRest <= limit, `${atRest} kB at rest, ${atWork} at work, ${ofNode} of Node alone`);
    assert.equal((await list()).length, count);
  });

  it('rests: it wakes for nothing but its timers', async () => {
    // What the work before left to the background, and V8's own threads, may take a while to come to rest.
    const seen: number[] = [];
    while (seen.length < 6 && !seen.some((more) => more <= 4)) {
      const before = await switches();
      await sleep(10_000);
      seen.push((await switches()) - before);
    }
    assert.ok(
      seen.some((more) => more <= 4),
      `${seen.join(', ')} wake-ups in 10 s each`,
    );
  });

  const list = (): Promise<unknown[]> => client.call('snapshots/list', { container: 'many' });

  async function residentKilobytes(): Promise<number> {
    const status = await host.run(['cat', `/proc/${pid}/status`]);
    return Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1]);
  }

  /** How often its threads have waited so far. */
  async function switches(): Promise<number> {
    const all = await host.run(['sh', '-c', `cat /proc/${pid}/task/*/status`]);
    return [...all.matchAll(/^voluntary_ctxt_switches:\s*(\d+)/gm)].reduce(
      (sum, [, more]) => sum + Number(more),
      0,
    );
  }
});

import assert from 'node:assert/strict';
import { requireNoDamage } from './fsckReport.ts';
import type { Order } from './load/history.ts';
import { LoadClient } from './load/loadClient.ts';
import { requireSame } from './load/looks.ts';
import { Traffic } from './load/traffic.ts';
import { bootHost, endHost, type TestHost } from './machine/machine.ts';
import { chooseSeed, randomNumbers } from './random.ts';
import {
  daemonPid,
  endEngineService,
  endOfLog,
  killDaemon,
  makeRootfs,
  startDaemonWith,
  withoutUnit,
} from './small/smallWorkspace.ts';
import { ask, until } from './workspace.ts';

const isLong = process.env['FORKPOINT_LONG'] === '1';
const scale = isLong
  ? { clients: 50, workspaces: 20, forks: 10, minutes: 10, warmUp: 3000, cheap: 10_000 }
  : { clients: 10, workspaces: 4, forks: 2, minutes: 0.75, warmUp: 100, cheap: 2000 };
/** For a load that is being looked into. */
const minutes = Number(process.env['FORKPOINT_LOAD_MINUTES'] ?? scale.minutes);

/** How long a call may take among so many, on a machine that is busy with other things, in milliseconds. */
const deadlineMs = isLong ? 600_000 : 150_000;
/** What the daemon's resident memory may differ by between two moments of rest, in bytes: it grows over its first thousands of operations. */
const MEMORY_SLACK = (isLong ? 64 : 128) * 2 ** 20;
/** How many answers to requests with a key the daemon keeps (dispatcher.ts). */
const ANSWERS_KEPT = 500;
/** What JavaScript may hold more after each operation, in bytes; what is compiled grows a little for long. */
const HEAP_PER_OPERATION = 3 * 1024;
/** What the used part of the pool may differ by, in bytes: btrfs's trees do not shrink as they grew. */
const POOL_SLACK = 4 * 2 ** 20;
/** Six files of the helper's log, which are put aside when they are full (logFile.ts), and CRIU's, in bytes. */
const MOST_LOG_BYTES = 16 * 2 ** 20;
/** How many times the heap is measured while {@link cheapOperations} go on. */
const HEAP_SAMPLES = 11;
const pool = '/var/lib/forkpoint';
const program = ['/bin/sh', '-c', 'while :; do sleep 1; done'];

/** In the daemon: tells at SIGUSR2 what JavaScript holds when all garbage is collected, in bytes. */
const heapTeller = `
const { renameSync, writeFileSync } = require('node:fs');
process.on('SIGUSR2', () => {
  require('node:v8').setFlagsFromString('--expose-gc');
  const collect = require('node:vm').runInNewContext('gc');
  for (let round = 0; round < 3; round++) collect();
  const { heapUsed, external } = process.memoryUsage();
  writeFileSync('/run/heap.new', String(heapUsed + external));
  renameSync('/run/heap.new', '/run/heap');
});`;

/** What a daemon must not hold more and more of. */
interface Holdings {
  readonly memoryBytes: number;
  /** Of the pool, what was deleted being freed. */
  readonly poolBytes: number;
  /** Names of all that is in the pool. */
  readonly poolEntries: number;
  /** Of the helper's directory in memory, without the answers that are kept for an hour. */
  readonly runBytes: number;
  readonly answers: number;
  readonly logBytes: number;
  /** How many of each kind. */
  readonly descriptors: string;
  readonly children: string;
  readonly journal: string;
  readonly trash: string;
}

describe('under load', function () {
  this.timeout(isLong ? 3_600_000 : 300_000);

  let host: TestHost;
  let clients: LoadClient[] = [];
  let traffic: Traffic;
  const random = randomNumbers(chooseSeed());

  before(async () => {
    host = await bootHost({
      name: 'load',
      ifRunning: 'replace',
      ...(isLong ? { poolSizeBytes: 30 * 2 ** 30 } : {}),
    });
    await withoutUnit(host);
    await makeRootfs(host);
    traffic = new Traffic(host, random, scale.forks);
    const names = Array.from({ length: scale.clients }, (_, index) => `client ${String(index + 1)}`);
    // One by one: each starts a program.
    for (const name of names) clients.push(await LoadClient.connect(host, name, deadlineMs));
    for (let index = 0; index < scale.workspaces; index += 1)
      await traffic.make(clientAt(index), {
        name: `load-${String(index)}`,
        rootfs: '/srv/small',
        command: program,
      });
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await endOfLog(host));
  });

  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    clients = [];
    await endHost('load');
  });

  it('every operation of many clients at once does what it would alone, and what is seen meanwhile is true', async () => {
    const end = performance.now() + minutes * 60_000;
    await Promise.all(
      clients.map(async (client) => {
        const others = clients.filter((other) => other !== client);
        while (performance.now() < end) await traffic.step(client, others);
      }),
    );
    console.log(
      `      ${[...traffic.counts]
        .map(([what, count]) => `${what} ${String(count)}`)
        .sort((one, other) => one.localeCompare(other))
        .join(', ')}`,
    );
    await traffic.lookAtAll(clientAt(0));
    await requireModel(traffic.explain());
    const all = await ask(host, 'containers/list', {});
    assert.ok(
      all.every(({ state }) => state === 'running' || state === 'stopped'),
      JSON.stringify(all),
    );
    await requireNoDamage(host);
    for (const place of traffic.places.filter(({ isGone }) => !isGone)) {
      await traffic.change(clientAt(0), place, 'containers/start', {});
      const echo = [
        'podman',
        'exec',
        `forkpoint-${place.name}`,
        '/bin/sh',
        '-c',
        'echo "$1"',
        'sh',
        place.id,
      ];
      assert.equal(await host.run(echo), `${place.id}\n`, `${place.name} does not answer`);
    }
    // What is on the disk is the same as what the daemon had in mind.
    await killDaemon(host);
    for (const client of clients) await client.reconnect();
    await requireModel(traffic.explain());
  });

  it('many operations leave nothing behind: no memory, descriptors, processes, or files', async () => {
    await killDaemon(host);
    await startDaemonWith(host, heapTeller);
    for (const client of clients) await client.reconnect();
    await cheapOperations(scale.warmUp);
    // Of notes with a key, until each answer that is kept takes the place of another.
    await cheapOperations(ANSWERS_KEPT, () => 0.5);
    const before = await holdings();
    assert.equal(before.answers, ANSWERS_KEPT);
    const heap = [await heapBytes()];
    const batch = scale.cheap / (HEAP_SAMPLES - 1);
    while (heap.length < HEAP_SAMPLES) {
      await cheapOperations(batch);
      heap.push(await heapBytes());
    }
    const after = await holdings();
    console.log(`      ${JSON.stringify({ heap, before, after })}`);
    assert.ok(slope(heap) / batch < HEAP_PER_OPERATION, `${String(slope(heap) / batch)} bytes an operation`);
    assert.ok(after.memoryBytes - before.memoryBytes < MEMORY_SLACK);
    assert.ok(after.poolBytes - before.poolBytes < POOL_SLACK);
    assert.ok(after.logBytes < MOST_LOG_BYTES);
    const { memoryBytes, poolBytes, logBytes } = before;
    assert.deepEqual({ ...after, memoryBytes, poolBytes, logBytes }, before);
  });

  if (isLong)
    it('a workspace with 1,000 snapshots lists them all, and each can be asked for', async () => {
      const container = 'many';
      await ask(host, 'containers/create', { name: container, rootfs: '/srv/small', command: program });
      await ask(host, 'containers/stop', { container, timeout: 0 });
      const made: string[] = [];
      for (let index = 0; index < 1000; index += 1) {
        const { snapshot } = await ask(host, 'snapshots/create', {
          container,
          alias: `many-${String(index)}`,
        });
        made.unshift(snapshot.name);
      }
      const listed = await ask(host, 'snapshots/list', { container });
      assert.deepEqual(
        listed.map(({ name }) => name),
        made,
      );
      assert.deepEqual(
        listed.map(({ parent }) => parent),
        [...made.slice(1), null],
      );
      assert.equal((await ask(host, 'snapshots/show', { container, name: 'many-0' })).name, made.at(-1));
      await ask(host, 'snapshots/restore', { container, name: 'many-0', safety: 'none' });
      await requireNoDamage(host);
      const { deletedSnapshots } = await ask(host, 'containers/delete', { container, withSnapshots: true });
      assert.equal(deletedSnapshots.length, 1000);
    });

  /** What the daemon says of each workspace is what the model has. */
  async function requireModel(orders: ReadonlyMap<string, Order>): Promise<void> {
    const present = await ask(host, 'containers/list', {});
    const expected = [...orders].filter(([, { states }]) => states.at(-1)?.exists === true);
    assert.deepEqual(present.map(({ id }) => id as string).sort(), expected.map(([id]) => id).sort());
    for (const [container, { states }] of expected)
      requireSame(
        states.at(-1) ?? states[0],
        await ask(host, 'containers/show', { container }),
        await ask(host, 'snapshots/list', { container }),
      );
  }

  /** Operations that take no time, among them failing ones, repeated ones, and connections that end. */
  async function cheapOperations(count: number, choose = random): Promise<void> {
    let left = count;
    const lane = async (client: LoadClient, number: number): Promise<void> => {
      const container = `load-${String(number % scale.workspaces)}`;
      const alias = `lane-${String(number)}`;
      await client.send('snapshots/create', { container, alias, mode: 'stateless' });
      const one = { container, name: alias };
      while (left > 0) {
        left -= 1;
        const key = `${alias}-${String(left)}-${String(random())}`;
        const choice = choose();
        if (choice < 0.2) await client.send('snapshots/list', { container });
        else if (choice < 0.4) await client.send('snapshots/show', one);
        else if (choice < 0.45) await client.send('containers/show', { container });
        else if (choice < 0.6) await client.send('snapshots/note', { ...one, note: key }, { key });
        else if (choice < 0.7) await client.send('snapshots/expiry', { ...one, expiry: 1 });
        else if (choice < 0.8) await client.send('snapshots/protect', { container, name: 'nothing' });
        else if (choice < 0.9)
          await client.send('snapshots/note', { ...one, note: null }, { cancelAfterMs: 0 });
        else if (choice < 0.96) {
          const made = { container, alias: `${alias}-more` };
          await client.send('snapshots/create', { ...made, mode: 'stateless' }, { key });
          await client.send('snapshots/delete', { container, name: made.alias });
        } else if (choice < 0.98) await client.send('snapshots/preview', one);
        else await client.reconnect();
      }
      await client.send('snapshots/delete', one);
    };
    await Promise.all(clients.slice(0, 4).map(lane));
  }

  async function heapBytes(): Promise<number> {
    const pid = String(await daemonPid(host));
    const script = `rm -f /run/heap; kill -USR2 ${pid}; until [ -e /run/heap ]; do sleep 0.05; done; cat /run/heap`;
    return Number(await host.run(['sh', '-c', script]));
  }

  /** What the daemon holds once it is at rest. */
  async function holdings(): Promise<Holdings> {
    await endEngineService(host);
    const pid = String(await daemonPid(host));
    const list = async (script: string): Promise<string> => (await host.run(['sh', '-c', script])).trim();
    const childrenOf = (): Promise<string> => list(`pgrep -P ${pid} -a || true`);
    const look = async (): Promise<Holdings> => {
      // Before and after: the pipes to a child are among the descriptors.
      const before = await childrenOf();
      return {
        memoryBytes: Number(await list(`awk '/^VmRSS/ { print $2 }' /proc/${pid}/status`)) * 1024,
        poolBytes: await usedBytes(),
        poolEntries: Number(await list(`find ${pool} | wc -l`)),
        runBytes: Number(await list('du -sb --exclude=answers /run/forkpoint | cut -f 1')),
        answers: Number(await list('ls /run/forkpoint/answers | wc -l')),
        logBytes: Number(await list('du -sb /var/log/forkpoint | cut -f 1')),
        descriptors: await list(
          // The log that its standard output was led to is given a number when it is long, and removed after some more.
          `for one in /proc/${pid}/fd/*; do readlink $one; done | sed -E 's/:.*//; s/\\.log(\\.[0-9]+)?( \\(deleted\\))?$/.log/' | sort | uniq -c`,
        ),
        children: `${before}${await childrenOf()}`,
        journal: await list(`ls ${pool}/journal`),
        trash: await list(`ls ${pool}/trash`),
      };
    };
    const isAtRest = ({ children, journal, trash }: Holdings): boolean =>
      `${children}${journal}${trash}` === '';
    let found = await look();
    await until(async () => {
      // The kernel lets go of what was deleted after its next commit, and the daemon waits for that.
      await host.run(['sync', '-f', pool]);
      const last = found;
      found = await look();
      return isAtRest(last) && isAtRest(found) && found.descriptors === last.descriptors;
    }, 120_000);
    return found;
  }

  /** Of the pool. */
  async function usedBytes(): Promise<number> {
    await host.run(['btrfs', 'filesystem', 'sync', pool]);
    const [blocks = 0, free = 0, size = 0] = (await host.run(['stat', '-f', '-c', '%b %f %S', pool]))
      .split(' ')
      .map(Number);
    return (blocks - free) * size;
  }

  function clientAt(index: number): LoadClient {
    const client = clients[index % clients.length];
    assert.ok(client, 'there is no client');
    return client;
  }
});

/** By how much what was measured grows from one time to the next: the slope of the line that is nearest to all (least squares). */
function slope(measured: readonly number[]): number {
  const middle = (measured.length - 1) / 2;
  const weights = measured.map((_, index) => index - middle);
  const sum = (terms: readonly number[]): number => terms.reduce((total, term) => total + term, 0);
  return (
    sum(weights.map((weight, index) => weight * (measured[index] ?? 0))) /
    sum(weights.map((weight) => weight ** 2))
  );
}

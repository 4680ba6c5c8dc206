import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { requireNoDamage } from './fsckReport.ts';
import { bootHost, endHost, type TestHost } from './machine/machine.ts';
import { ends } from './ends.ts';
import { chooseSeed, randomNumbers } from './random.ts';
import {
  asJson,
  breakPodman,
  createArguments,
  endOfLog,
  forkpoint,
  forkpointJson,
  killDaemon,
  logLength,
  logSince,
  mendPodman,
  type Sight,
  SmallWorkspace,
  startDaemonWith,
  whenLogged,
  withoutUnit,
} from './small/smallWorkspace.ts';
import { cutSessions, restartSshd } from './sshd.ts';
import { readBuiltHelper, User, writeSshConfig } from './sshUser.ts';
import { until } from './workspace.ts';

const isLong = process.env['FORKPOINT_LONG'] === '1';
const pool = '/var/lib/forkpoint';

/** Takes all the space that the pool gives, in ever smaller pieces. */
const fillPool = `
n=0 size=$(df --output=avail -B1 ${pool} | tail -n 1)
while [ "$size" -ge 4096 ]; do
  if fallocate -l "$size" ${pool}/filler.$n 2>/dev/null; then n=$((n + 1)); else size=$((size / 2)); fi
done`;

/** What was deleted before makes no room any more afterwards. */
const settlePool = `sync -f ${pool}; btrfs subvolume sync ${pool} >/dev/null; sync -f ${pool}`;

const FailureSchema = z.object({ code: z.string(), args: z.record(z.string(), z.unknown()) });

const UndoSchema = z.object({
  undo: z.object({ safety: z.string(), safetyIsStateful: z.boolean() }).nullable(),
});

const SnapshotsSchema = z.array(
  z.object({
    name: z.string(),
    alias: z.string().nullable(),
    parent: z.string().nullable(),
    isHead: z.boolean(),
  }),
);

describe('a fault of the host', function () {
  this.timeout(isLong ? 3_600_000 : 300_000);

  let host: TestHost;
  let small: SmallWorkspace;
  const random = randomNumbers(chooseSeed());

  before(async () => {
    host = await bootHost({ name: 'faults', ifRunning: 'replace', poolSizeBytes: 3 * 1024 ** 3 });
    await withoutUnit(host);
    await restartSshd(host);
    small = await SmallWorkspace.create(host, 'small');
    await small.mark('target');
    await run(['snapshots', 'create', '-c', 'small', '--alias', 'target', '--mode', 'stateful']);
    await small.mark('now');
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await endOfLog(host));
    await host.run(['sh', '-c', `rm -f ${pool}/filler.* /usr/local/sbin/podman`]);
    // What runs inside may have met the fault, too.
    await run(['snapshots', 'restore', '-c', 'small', '--name', 'target', '--safety', 'none']);
    await small.requireSound('running');
    await small.mark('now');
    await requireNoDamage(host);
  });

  after(() => endHost('faults'));

  const fork = ['containers', 'copy', '-c', 'small', '--snapshot', 'target', '--name', 'fork'];
  const some = (steps: readonly string[]): readonly string[] =>
    steps.filter(() => random() < 1.6 / steps.length);

  /** `isDone` tells by what is there that all was done, and not that nothing was. `choose`: in the short form. */
  const operations: readonly {
    readonly operation: string;
    readonly args: readonly string[];
    readonly prepare: () => Promise<unknown>;
    readonly isDone: () => Promise<boolean>;
    readonly choose: (steps: readonly string[]) => readonly string[];
  }[] = [
    {
      operation: 'snapshots/create',
      args: ['snapshots', 'create', '-c', 'small', '--alias', 'full'],
      prepare: () => Promise.resolve(),
      isDone: async () => (await made()).alias,
      choose: some,
    },
    {
      operation: 'snapshots/restore',
      args: ['snapshots', 'restore', '-c', 'small', '--name', 'target'],
      prepare: () => Promise.resolve(),
      isDone: async () => isMarked('target', 'now'),
      choose: some,
    },
    {
      operation: 'containers/copy',
      args: fork,
      prepare: () => Promise.resolve(),
      isDone: async () => (await made()).fork,
      choose: some,
    },
    {
      operation: 'snapshots/delete',
      args: ['snapshots', 'delete', '-c', 'small', '--name', 'full'],
      prepare: () => run(['snapshots', 'create', '-c', 'small', '--alias', 'full', '--mode', 'stateless']),
      isDone: async () => !(await made()).alias,
      choose: ends,
    },
    {
      operation: 'containers/create',
      args: createArguments('fork'),
      prepare: () => Promise.resolve(),
      isDone: async () => (await made()).fork,
      choose: ends,
    },
    {
      operation: 'containers/delete',
      args: ['containers', 'delete', '-c', 'fork'],
      prepare: () => run(fork),
      isDone: async () => !(await made()).fork,
      choose: ends,
    },
    {
      operation: 'containers/promote',
      args: ['containers', 'promote', '-c', 'fork', '--safety', 'stateless'],
      prepare: () => run(fork),
      isDone: async () => {
        const isPromoted = !(await made()).fork;
        assert.equal(await isMarked('target', 'now'), isPromoted);
        return isPromoted;
      },
      choose: ends,
    },
  ];

  for (const { operation, args, prepare, isDone, choose } of operations) {
    it(`leaves all or nothing of ${operation} when the disk is full from any step on`, async () => {
      await prepare();
      const before = await logLength(host);
      await run(args);
      const log = await logSince(host, before);
      const steps = [...log.matchAll(new RegExp(`#\\d+ ${operation}: (\\S+)$`, 'gm'))].map(
        ([, step]) => step ?? '',
      );
      assert.ok(steps.length > 3, steps.join());
      await removeMade();
      const chosen = isLong ? steps : choose(steps);
      for (const [index, step] of chosen.entries()) {
        // A program that could not write has ended, and would be in no further snapshot.
        if (index > 0)
          await run(['snapshots', 'restore', '-c', 'small', '--name', 'target', '--safety', 'none']);
        await small.mark('now');
        await prepare();
        const result = await whenLogged(host, `${operation}: ${step}\n`, fillPool, () => attempt(args));
        await host.run(['sh', '-c', `rm -f ${pool}/filler.*`]);
        const where = `at "${step}": ${result}`;
        const { state, journal } = await glance();
        assert.notEqual(state, 'frozen', where);
        assert.equal(journal, '', where);
        assert.equal(await isDone(), result === 'done', where);
        await requireNoDamage(host);
        await removeMade();
      }
    });
  }

  it('refuses a snapshot for whose memory there is no room before anything stands still', async () => {
    // What was deleted before must not make room meanwhile. The reserve is 1 GiB, and 64 MiB are for what any snapshot takes.
    let round = 0;
    await until(async () => {
      const fill = `sleep 1; ${settlePool}; more=$(($(df --output=avail -B1 ${pool} | tail -n 1) - 1090 * 1048576))
        [ $more -lt 4194304 ] || { fallocate -l $more ${pool}/filler.${String(round++)}; exit 1; }`;
      return (await host.exec(['sh', '-uc', fill])).exitCode === 0;
    }, 180_000);
    const before = await logLength(host);
    for (const args of [
      ['snapshots', 'create', '-c', 'small'],
      ['snapshots', 'restore', '-c', 'small', '--name', 'target'],
    ])
      assert.equal(await attempt(args), 'pool.full');
    assert.doesNotMatch(await logSince(host, before), /: (?:freeze|kill)$/m);
    const { mark } = await small.requireSound('running');
    assert.equal(mark, 'now');
  });

  it('lets snapshots be deleted from a disk that is full to the last block', async () => {
    await run(['snapshots', 'create', '-c', 'small', '--alias', 'full', '--mode', 'stateless']);
    await run(['snapshots', 'create', '-c', 'small', '--alias', 'child', '--mode', 'stateless']);
    await until(async () => {
      await host.run(['sh', '-uc', `${settlePool}; ${fillPool}`]);
      const more = `${pool}/filler.more`;
      return (await host.exec(['sh', '-c', `echo x > ${more} && sync ${more}`])).exitCode !== 0;
    }, 180_000);
    for (const alias of ['full', 'child']) await run(['snapshots', 'delete', '-c', 'small', '--name', alias]);
    assert.equal((await glance()).journal, '');
    assert.ok((await snapshots()).every(({ alias }) => alias !== 'full' && alias !== 'child'));
  });

  it('gives a snapshot up, and no more, when the container dies in the middle of its dump', async () => {
    for (const step of ['freeze', 'dump']) {
      const pid = await host.run(['podman', 'inspect', '--format', '{{.State.Pid}}', 'forkpoint-small']);
      const args = ['snapshots', 'create', '-c', 'small', '--alias', 'full', '--mode', 'stateful'];
      const result = await whenLogged(host, `snapshots/create: ${step}\n`, `kill -s KILL ${pid.trim()}`, () =>
        attempt(args),
      );
      assert.equal((await made()).alias, result === 'done');
      await removeMade();
      await until(async () => (await glance()).state === 'stopped');
      await run(['containers', 'start', '-c', 'small']);
    }
    const { mark } = await small.look('running');
    assert.equal(mark, 'now');
  });

  it('goes back, or says that it could not, when the engine fails', async () => {
    await breakPodman(host, '*"container restore"*');
    const restore = ['snapshots', 'restore', '-c', 'small', '--name', 'target'];
    assert.ok(['restore.rolledBack', 'restore.stopped'].includes(await attempt(restore)));
    await mendPodman(host);
    await run(['containers', 'start', '-c', 'small']);
    assert.equal((await small.look('running')).mark, 'now');
    await requireNoDamage(host);
    await breakPodman(host, '*');
    assert.notEqual(await attempt(restore), 'done');
    assert.notEqual(await attempt(['containers', 'stop', '-c', 'small']), 'done');
    assert.equal((await forkpoint(host, ['fsck'])).exitCode, 1, 'what can not be looked at is not well');
    await mendPodman(host);
    assert.equal((await look()).mark, 'now');
  });

  it('takes no other process for one of its own that had the same id', async () => {
    const victim = (
      await host.run(['sh', '-c', 'setsid -f sleep 987 </dev/null >/dev/null 2>&1; pgrep -f "sleep 987$"'])
    )
      .trim()
      .split('\n')[0];
    await killDaemon(host);
    const [target] = (await snapshots()).filter((one) => one.alias === 'target');
    await killDaemon(host);
    const lazy = `{"snapshot": "${target?.name ?? ''}", "pid": ${victim ?? ''}, "startTime": "1"}`;
    const record = `${pool}/workspaces/${small.id}/workspace.json`;
    await host.run([
      'python3',
      '-c',
      `import json; r = json.load(open("${record}")); r["lazy"] = ${lazy}; json.dump(r, open("${record}", "w"))`,
    ]);
    // To its record the memory was being read, by a process that is gone: it is restored again (H2).
    await snapshots();
    await until(async () => (await host.run(['cat', record])).includes('"lazy": null'));
    assert.equal((await small.requireSound('running')).mark, 'target');
    await host.run(['kill', victim ?? '']);
  });

  it('keeps the timeline whole when the clock goes back, and loses nothing by it', async () => {
    await killDaemon(host);
    // A day ahead, for the daemon alone: the clock of the host is everybody's.
    const shift =
      'const now = Date.now; Date = class extends Date { constructor(...a) { a.length === 0 ? super(now() + 864e5) : super(...a); } static now() { return now() + 864e5; } };';
    await startDaemonWith(host, shift);
    const create = (alias: string): string[] => [
      'snapshots',
      'create',
      '-c',
      'small',
      '--alias',
      alias,
      '--expiry',
      '0.5',
    ];
    await run(create('ahead'));
    await killDaemon(host);
    await run(create('back'));
    const [back, ahead] = [await named('back'), await named('ahead')];
    assert.ok(ahead.name > back.name, 'the clock did not go back');
    assert.equal(back.parent, ahead.name);
    assert.ok(back.isHead);
    for (const alias of ['ahead', 'back']) {
      await run(['snapshots', 'restore', '-c', 'small', '--name', alias, '--safety', 'none']);
      await small.requireSound('running');
    }
    await requireNoDamage(host);
    for (const alias of ['ahead', 'back']) await run(['snapshots', 'delete', '-c', 'small', '--name', alias]);
  });

  it('H9 leaves the files of a safety snapshot whose memory was not on the disk when the power went, and says so', async () => {
    await small.mark('before the cut');
    await run(['snapshots', 'restore', '-c', 'small', '--name', 'target']);
    const { undo } = UndoSchema.parse(await run(['containers', 'show', '-c', 'small']));
    assert.ok(undo?.safetyIsStateful);
    await small.look('running');
    await killDaemon(host);
    // What a disk has after that: the record of another boot, and images that were never written.
    const directory = `${pool}/snapshots/${small.id}/${undo.safety}`;
    await host.run(['python3', '-', `${directory}/snapshot.json`], {
      input: `import json, sys
record = json.load(open(sys.argv[1]))
record.update(durable=False, bootId='another')
for image in record['images']: image.pop('sha256', None)
json.dump(record, open(sys.argv[1], 'w'))`,
    });
    await host.run([
      'sh',
      '-c',
      `for image in ${directory}/memory/*; do : > "$image"; chmod 644 "$image"; done`,
    ]);
    const shown = UndoSchema.parse(await run(['containers', 'show', '-c', 'small']));
    assert.equal(shown.undo?.safetyIsStateful, false);
    await requireNoDamage(host);
    const safety = z
      .object({ stateful: z.boolean(), statelessReason: z.string(), durable: z.boolean() })
      .parse(await run(['snapshots', 'show', '-c', 'small', '--name', undo.safety]));
    assert.deepEqual(safety, {
      stateful: false,
      statelessReason: 'the host went down before its memory was written to the disk',
      durable: true,
    });
    await run(['snapshots', 'restore', '-c', 'small', '--name', undo.safety, '--safety', 'none']);
    assert.equal((await glance()).mark, 'before the cut');
    await run(['snapshots', 'delete', '-c', 'small', '--name', undo.safety]);
  });

  for (const client of ['ssh2', 'openssh'] as const) {
    it(`that cuts SSH by ${client} at any moment loses no operation and does none twice`, async () => {
      const wanted = isLong ? 200 : 5;
      const before = (await snapshots()).length;
      const directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-faults-'));
      const user = new User();
      user.consents.set('box', true);
      const connection = user.connection('box', {
        client,
        configFile: await writeSshConfig(path.join(directory, 'config'), host),
        helper: await readBuiltHelper(),
      });
      /** How long each kind of call took when nothing was cut, in milliseconds. */
      const usualMs = new Map<string, number>();
      let cuts = 0;
      const met = (): number => user.log.filter((line) => line.includes('is asked again')).length;
      const cutting = async <T>(kind: string, call: () => Promise<T>): Promise<T> => {
        const start = performance.now();
        const usual = usualMs.get(kind);
        // The first of each kind is not cut.
        if (usual === undefined) {
          const result = await call();
          usualMs.set(kind, performance.now() - start);
          return result;
        }
        cuts += 1;
        const cut = sleep(random() * usual).then(async () => {
          await cutSessions(host);
          await until(() => connection.state.kind !== 'connected');
          // As by a click: the pauses between what is tried unasked grow with each cut.
          await connection.connect({ interactive: true });
        });
        const [result] = await Promise.all([call(), cut]);
        return result;
      };
      try {
        await connection.connect({ interactive: true });
        for (let round = 0; met() < wanted; round++) {
          assert.ok(cuts < 5 * wanted, `${String(met())} of ${String(cuts)} cuts met a call under way`);
          const container = 'small';
          const mode = round % 2 === 0 ? 'stateful' : 'stateless';
          const { snapshot } = await cutting(mode, () =>
            connection.request('snapshots/create', { container, mode }),
          );
          const { generation } = await connection.request('containers/show', { container });
          const restored = await cutting('restore', () =>
            connection.request('snapshots/restore', { container, name: 'target', safety: 'none' }),
          );
          assert.equal(restored.workspace.generation, generation + 1, 'restored twice');
          await cutting('delete', () =>
            connection.request('snapshots/delete', { container, name: snapshot.name }),
          );
          const present = await connection.request('snapshots/list', { container });
          assert.equal(present.length, before, 'a snapshot too many or too few');
        }
        console.log(`      ${String(met())} of ${String(cuts)} cuts met a call under way`);
      } finally {
        connection.dispose();
        await rm(directory, { recursive: true });
      }
    });
  }

  /** Runs the command line. Answers `done` or the code of its failure. */
  async function attempt(args: readonly string[]): Promise<string> {
    const { exitCode, stderr } = await forkpoint(host, asJson(args));
    return exitCode === 0 ? 'done' : FailureSchema.parse(JSON.parse(stderr)).code;
  }

  /** What can be seen of the workspace also when its programs have ended. */
  async function glance(): Promise<{ state: string; mark: string; journal: string }> {
    const { state } = z.object({ state: z.string() }).parse(await run(['containers', 'show', '-c', 'small']));
    const mark = await host.run(['cat', `${pool}/workspaces/${small.id}/rootfs/mark`]);
    return { state, mark, journal: await host.run(['ls', `${pool}/journal`]) };
  }

  /** Whether the files of the workspace bear the one mark, and not the other. */
  async function isMarked(mark: string, other: string): Promise<boolean> {
    const found = (await glance()).mark;
    assert.ok([mark, other].includes(found), found);
    return found === mark;
  }

  async function look(): Promise<Sight> {
    await run(['containers', 'start', '-c', 'small']);
    return small.look('running');
  }

  function run(args: readonly string[]): Promise<unknown> {
    return forkpointJson(host, args);
  }

  async function snapshots(): Promise<z.infer<typeof SnapshotsSchema>> {
    return SnapshotsSchema.parse(await run(['snapshots', 'list', '-c', 'small']));
  }

  async function named(alias: string): Promise<z.infer<typeof SnapshotsSchema>[number]> {
    const found = (await snapshots()).find((one) => one.alias === alias);
    assert.ok(found, `there is no "${alias}"`);
    return found;
  }

  /** Whether the snapshot and the fork that the tests make are there. */
  async function made(): Promise<{ alias: boolean; fork: boolean }> {
    const containers = z.array(z.object({ name: z.string() })).parse(await run(['containers', 'list']));
    return {
      alias: (await snapshots()).some((one) => one.alias === 'full'),
      fork: containers.some((one) => one.name === 'fork'),
    };
  }

  /** Safety snapshots too: those of the long form would fill the pool. */
  async function removeMade(): Promise<void> {
    if ((await made()).fork) await run(['containers', 'delete', '-c', 'fork']);
    for (const { name, alias } of await snapshots())
      if (alias !== 'target') await run(['snapshots', 'delete', '-c', 'small', '--name', name]);
  }
});

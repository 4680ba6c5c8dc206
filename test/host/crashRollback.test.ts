import assert from 'node:assert/strict';
import * as z from 'zod';
import { requireNoDamage } from './fsckReport.ts';
import { bootHost, endHost, type TestHost } from './machine/machine.ts';
import {
  endOfLog,
  forkpoint,
  forkpointJson,
  killDaemon,
  mendPodman,
  replacePodman,
  type Sight,
  SmallWorkspace,
  spoilImage,
  withoutUnit,
} from './small/smallWorkspace.ts';

const FailureSchema = z.object({
  code: z.string(),
  args: z.record(z.string(), z.unknown()),
  detail: z.string().nullable(),
});
type Failure = z.infer<typeof FailureSchema>;

const SnapshotSchema = z.object({
  name: z.string(),
  alias: z.string().nullable(),
  kind: z.string(),
  isHead: z.boolean(),
});

/** Stands before Podman: where it is fragile, nothing succeeds any more from the first container that is to be restored on. */
const fragileEngine = `#!/bin/sh
case "$*" in
  "system service"*) exit 125 ;;
  *"container restore"*) mv /run/engine-is-fragile /run/engine-is-broken 2>/dev/null ;;
esac
[ ! -e /run/engine-is-broken ] || { echo "the engine is broken" >&2; exit 125; }
exec /usr/bin/podman "$@"
`;

describe('a restore that fails', function () {
  this.timeout(120_000);

  let host: TestHost;
  let small: SmallWorkspace;
  let snapshots: string;

  before(async () => {
    host = await bootHost({ name: 'rollback', ifRunning: 'replace' });
    await withoutUnit(host);
    small = await SmallWorkspace.create(host, 'small');
    snapshots = `/var/lib/forkpoint/snapshots/${small.id}`;
    await small.mark('good');
    await create('good');
    await small.mark('bad');
    await create('bad');
    await restore('good');
  });

  beforeEach(async () => {
    await small.mark('now');
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await endOfLog(host));
  });

  afterEach(async () => {
    await requireNoDamage(host);
  });

  after(async () => {
    await endHost('rollback');
  });

  describe('when the processes are woken', () => {
    before(async () => {
      await spoilImage(host, `${snapshots}/${(await named('bad')).name}`);
    });

    it('puts files and processes back, as if nothing had been', async () => {
      const before = await small.look('running');
      const failure = await restoreBadly([]);
      assert.equal(failure.code, 'restore.rolledBack');
      assert.equal(failure.args['step'], 'wake');
      const after = await requireRunning('now');
      assert.ok(after.counter > before.counter, `${String(after.counter)} after ${String(before.counter)}`);
      assert.ok((await named('good')).isHead, 'the head has moved');
    });

    it('puts the files back and starts from them when the safety snapshot holds no processes', async () => {
      const failure = await restoreBadly(['--safety', 'stateless']);
      assert.equal(failure.code, 'restore.stopped');
      await requireRunning('now');
    });

    it('puts the files back without a safety snapshot, too', async () => {
      const failure = await restoreBadly(['--safety', 'none']);
      assert.equal(failure.code, 'restore.stopped');
      await requireRunning('now');
    });

    it('leaves a stopped workspace stopped', async () => {
      await forkpointJson(host, ['containers', 'stop', '-c', 'small']);
      const failure = await restoreBadly([]);
      assert.equal(failure.code, 'restore.rolledBack');
      await small.requireSound('stopped');
      await forkpointJson(host, ['containers', 'start', '-c', 'small']);
      await requireRunning('now');
    });

    it('is undone as well by the next daemon when this one is killed on the way back', async () => {
      for (const step of ['undo-settle', 'undo-swap']) {
        await killDaemon(host);
        const { exitCode } = await forkpoint(host, ['snapshots', 'restore', '-c', 'small', '--name', 'bad'], {
          FORKPOINT_CRASH_AT: `restore/${step}`,
        });
        assert.notEqual(exitCode, 0);
        await list();
        await requireRunning('now');
      }
    });

    it('keeps the state before, whatever becomes of the way back', async () => {
      // The engine fails from the first wake on, as one that is being upgraded does.
      await replacePodman(host, fragileEngine);
      const failures: Failure[] = [];
      try {
        for (const safety of ['stateless', 'none']) {
          await host.run(['touch', '/run/engine-is-fragile']);
          failures.push(await restoreBadly(['--safety', safety]));
          await host.run(['rm', '-f', '/run/engine-is-broken']);
          await forkpoint(host, ['containers', 'stop', '-c', 'small']);
          await restore('good', ['--safety', 'none']);
          await small.mark('now');
        }
      } finally {
        await mendPodman(host);
        await host.run(['rm', '-f', '/run/engine-is-broken', '/run/engine-is-fragile']);
      }
      assert.deepEqual(
        failures.map(({ code }) => code),
        ['restore.halfway', 'restore.halfway'],
      );
      const [snapshot, directory] = failures.map(({ args }) => String(args['kept']));
      assert.ok(directory?.startsWith('/var/lib/forkpoint/lost+found/'), directory);
      assert.equal(await host.run(['cat', `${directory}/rootfs/mark`]), 'now');
      await restore(snapshot ?? '', ['--safety', 'none']);
      await requireRunning('now');
    });

    it('hinders no other restore', async () => {
      await restore('good');
      await requireRunning('good');
    });
  });

  describe('because the snapshot is damaged', () => {
    it('is refused before anything is stopped', async () => {
      const image = '"$1"/memory/inventory.img';
      for (const [damage, code] of [
        [`rm ${image}`, 'snapshot.memoryDamaged'],
        [`truncate -s -1 ${image}`, 'snapshot.memoryDamaged'],
        [`printf x | dd of=${image} bs=1 seek=20 conv=notrunc status=none`, 'snapshot.memoryDamaged'],
        ['btrfs -q subvolume delete "$1"/volumes/data', 'snapshot.damaged'],
      ] as const) {
        const { name } = await create('damaged');
        const pid = await initPid();
        await host.run(['sh', '-euc', damage, 'damage', `${snapshots}/${name}`]);
        const failure = await restoreBadly([], 'damaged');
        assert.equal(failure.code, code, damage);
        const forkFailure = await failureOf([
          'containers',
          'copy',
          '--name',
          'fork',
          '--snapshot',
          'damaged',
        ]);
        assert.equal(forkFailure.code, code, damage);
        assert.equal(await initPid(), pid, 'the workspace was stopped');
        await requireRunning('now');
        if (code === 'snapshot.memoryDamaged') {
          // Its files are whole, and that is said.
          await forkpointJson(host, ['snapshots', 'restore', '-c', 'small', '--name', 'damaged', '--cold']);
          await requireRunning('now');
        }
        await forkpointJson(host, ['snapshots', 'delete', '-c', 'small', '--name', 'damaged']);
      }
    });
  });

  async function create(alias: string): Promise<z.infer<typeof SnapshotSchema>> {
    const made = await forkpointJson(host, [
      'snapshots',
      'create',
      '-c',
      'small',
      '--alias',
      alias,
      '--mode',
      'stateful',
    ]);
    return z.object({ snapshot: SnapshotSchema }).parse(made).snapshot;
  }

  async function restore(name: string, options: readonly string[] = []): Promise<void> {
    await forkpointJson(host, ['snapshots', 'restore', '-c', 'small', '--name', name, ...options]);
  }

  async function restoreBadly(options: readonly string[], name = 'bad'): Promise<Failure> {
    return failureOf(['snapshots', 'restore', '--name', name, ...options]);
  }

  async function failureOf(args: readonly string[]): Promise<Failure> {
    const { exitCode, stdout, stderr } = await forkpoint(host, [...args, '-c', 'small', '--json']);
    assert.equal(exitCode, 1, stdout);
    return FailureSchema.parse(JSON.parse(stderr || stdout));
  }

  async function list(): Promise<z.infer<typeof SnapshotSchema>[]> {
    return z.array(SnapshotSchema).parse(await forkpointJson(host, ['snapshots', 'list', '-c', 'small']));
  }

  async function named(alias: string): Promise<z.infer<typeof SnapshotSchema>> {
    const found = (await list()).find((one) => one.alias === alias);
    assert.ok(found, `there is no "${alias}"`);
    return found;
  }

  async function initPid(): Promise<string> {
    return host.run(['podman', 'inspect', '--format', '{{.State.Pid}}', 'forkpoint-small']);
  }

  /** The workspace runs, well, on the files that bear this mark, and nothing is left of the failure. */
  async function requireRunning(mark: string): Promise<Sight> {
    const sight = await small.requireSound('running');
    assert.equal(sight.mark, mark);
    assert.ok(!sight.files.includes('next'), sight.files.join());
    return sight;
  }
});

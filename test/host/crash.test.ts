import assert from 'node:assert/strict';
import * as z from 'zod';
import { requireNoDamage } from './fsckReport.ts';
import { bootHost, endHost, type TestHost } from './machine/machine.ts';
import { ends } from './ends.ts';
import { chooseSeed, randomNumbers } from './random.ts';
import {
  createArguments,
  daemonPid,
  endCommands,
  endOfLog,
  forkpoint,
  forkpointJson,
  killDaemon,
  loggedDaemon,
  logLength,
  logSince,
  makeRootfs,
  mendPodman,
  provideEndCommands,
  replacePodman,
  type Sight,
  SmallWorkspace,
  whenLogged,
  withoutUnit,
} from './small/smallWorkspace.ts';
import { until } from './workspace.ts';

/**
 * Also the moments right before each step, which differ from those after the last one by little, and those after the
 * steps before the journal is opened, which write nothing.
 */
const isLong = process.env['FORKPOINT_LONG'] === '1';

const SnapshotsSchema = z.array(
  z.object({
    name: z.string(),
    alias: z.string().nullable(),
    kind: z.string(),
    isHead: z.boolean(),
    stateful: z.boolean(),
  }),
);
type Snapshots = z.infer<typeof SnapshotsSchema>;

const ContainersSchema = z.array(z.object({ id: z.string(), name: z.string(), state: z.string() }));

/** Processes that a host at rest has, beside those of its workspaces. */
const expectedProcesses = [
  /^\/usr\/bin\/catatonit -P$/,
  /^sshd: /,
  /node \S+\/helper\.cjs daemon$/,
  /^\/usr\/bin\/conmon /,
  /^python3 - /,
  // systemd's, of the virtual machine, for network devices that come and go.
  /^\(udev-worker\)$/,
  // Stays for a minute after the last restore, also without its daemon.
  /^podman system service /,
  // In the background after a delete, for the space that it gave back to be measured: only the kernel works meanwhile.
  /^btrfs subvolume sync /,
  // In the background, too: what a snapshot would give back is measured, and what it changed is counted.
  /^btrfs filesystem du /,
  /^btrfs send /,
  /^perl \S+\/share-pages\.pl /,
  // In the background too, for a safety snapshot to outlive a power cut.
  /^sync -f -- /,
];

/** What the runtime has restore the processes; one that stands before it says that it waits. */
const criu = '/usr/sbin/criu';
const criuWaits = '/run/criu-waits';

/** Where {@link killLoggedDaemon} writes the names of the commands that it killed. */
const endedCommands = '/run/ended-commands';

/** Kills, a while later, the daemon that the log has last, the one that has just logged something, and its commands with it. */
const killLoggedDaemon = (delayMs: number): string =>
  `daemon=${loggedDaemon}; ` +
  `python3 ${endCommands} "$daemon" > ${endedCommands} & sleep ${String(delayMs / 1000)}; kill -s KILL "$daemon"; wait`;

/** Names in a workspace's directory while nothing is under way. */
const expectedFiles = ['criu.conf', 'rootfs', 'volumes', 'work', 'workspace.json'];

/**
 * Unmounts the pool, where nothing runs in it, and mounts it again: what comes after reads all from the disk. Says so when the
 * kernel had let go of the file system, which a mount elsewhere would keep. A loop device goes with its last user (loop(4)).
 */
const remountPool = `
pool=/var/lib/forkpoint
[ -z "$(podman ps --quiet)" ] || exit 0
device=$(findmnt -no SOURCE $pool) uuid=$(findmnt -no UUID $pool)
exec 3< "$device"
until umount $pool; do sleep 0.05; done
[ -e "/sys/fs/btrfs/$uuid" ] || echo unmounted
mount -t btrfs -o nodev,noatime "$device" $pool`;

/** A crash: where the daemon kills itself, and what is expected then. */
interface Crash {
  readonly point: string;
  /** Where the daemon that recovers from it is to kill itself, as `OPERATION/POINT`; empty for nowhere. */
  readonly next: string;
  /** Whether the next start finishes what was begun, rather than undo it. */
  readonly isFinished: boolean;
}

const fork = ['containers', 'copy', '-c', 'small', '--snapshot', 'target', '--name', 'other'];

describe('a crash of the daemon', function () {
  this.timeout(600_000);

  let host: TestHost;
  let small: SmallWorkspace;
  /** Where the daemon that runs, or the one that is started next, kills itself. */
  let armedFor = '';
  /** Whether the next crash takes the commands of the daemon with it, as the end of its cgroup or of the host would. */
  let takesCommands = false;
  /** Whether the pool is unmounted and mounted before the next start. */
  let takesPool = false;
  /** How often that was read from the disk alone. */
  let remounts = 0;
  /** Other processes of the host, before anything was killed. */
  let processesBefore: readonly string[] = [];

  before(async () => {
    host = await bootHost({ name: 'crash', ifRunning: 'replace' });
    await withoutUnit(host);
    await provideEndCommands(host);
    small = await SmallWorkspace.create(host, 'small');
    await small.mark('target');
    await run(['snapshots', 'create', '-c', 'small', '--alias', 'target']);
    await small.mark('cold');
    await run(['snapshots', 'create', '-c', 'small', '--alias', 'cold', '--mode', 'stateless']);
    processesBefore = (await small.look('running')).others;
  });

  beforeEach(async () => {
    await run(['containers', 'start', '-c', 'small']);
  });

  afterEach(async () => {
    await requireNoDamage(host);
  });

  after(async () => {
    await endHost('crash');
  });

  it('after any step of a snapshot leaves all of it or nothing, and the workspace running', async () => {
    const create = (alias: string): string[] => ['snapshots', 'create', '-c', 'small', '--alias', alias];
    const steps = await stepsOf('create', 'small', () => run(create('whole')));
    await eachCrash('create', steps, 'record', async ({ point, next, isFinished }) => {
      const alias = point.replace(/[^a-z-]/g, '-');
      await crash(`create/${point}`, next, create(alias));
      const snapshots = await listSnapshots();
      const made = snapshots.find((one) => one.alias === alias);
      assert.equal(made !== undefined, isFinished, `"${alias}" is ${made ? '' : 'not '}listed`);
      if (made) assert.ok(made.isHead, 'it is not the head');
      await requireSound('running', snapshots);
    });
    await requireRestorable((one) => one.alias === 'record');
  });

  it('after any step of a snapshot of a stopped workspace leaves all of it or nothing', async () => {
    const remountsBefore = remounts;
    const create = (alias: string): string[] => ['snapshots', 'create', '-c', 'small', '--alias', alias];
    await run(['containers', 'stop', '-c', 'small']);
    const steps = await stepsOf('create', 'small', () => run(create('whole-at-rest')));
    await eachCrash('create', steps, 'record', async ({ point, next, isFinished }) => {
      const alias = `at-rest-${point.replace(/[^a-z-]/g, '-')}`;
      await crash(`create/${point}`, next, create(alias));
      const snapshots = await listSnapshots();
      const made = snapshots.find((one) => one.alias === alias);
      assert.equal(made !== undefined, isFinished, `"${alias}" is ${made ? '' : 'not '}listed`);
      if (made) assert.ok(made.isHead, 'it is not the head');
      await requireSound('stopped', snapshots);
    });
    assert.ok(remounts > remountsBefore, 'the pool was never unmounted');
  });

  it('after any step of a restore leaves the state before or the restored one, and the workspace running', async () => {
    const restore = ['snapshots', 'restore', '-c', 'small', '--name', 'target'];
    const steps = await stepsOf('restore', 'small', () => run(restore));
    await eachCrash('restore', steps, 'decide', async ({ point, next, isFinished }) => {
      await small.mark('before');
      await crash(`restore/${point}`, next, restore);
      const sight = await requireSound('running', await listSnapshots());
      assert.equal(sight.mark, isFinished ? 'target' : 'before');
    });
    await requireRestorable((one) => one.kind === 'safety');
    await deleteSafetySnapshots();
  });

  it('after any step of a restore of files alone does the same, and the workspace starts from them', async () => {
    const restore = ['snapshots', 'restore', '-c', 'small', '--name', 'cold', '--safety', 'stateless'];
    const steps = await stepsOf('restore', 'small', () => run(restore));
    await eachCrash('restore', steps, 'decide', async ({ point, next, isFinished }) => {
      await small.mark('before');
      await crash(`restore/${point}`, next, restore);
      const sight = await requireSound('running', await listSnapshots());
      assert.equal(sight.mark, isFinished ? 'cold' : 'before');
    });
    await deleteSafetySnapshots();
  });

  it('after any step of a restore of a stopped workspace leaves it stopped or restored', async () => {
    const remountsBefore = remounts;
    const restore = ['snapshots', 'restore', '-c', 'small', '--name', 'target'];
    const stop = async (): Promise<void> => {
      await run(['containers', 'stop', '-c', 'small']);
      await small.mark('before');
    };
    await stop();
    const steps = await stepsOf('restore', 'small', () => run(restore));
    await eachCrash('restore', steps, 'decide', async ({ point, next, isFinished }) => {
      await stop();
      await crash(`restore/${point}`, next, restore);
      const sight = await requireSound(isFinished ? 'running' : 'stopped', await listSnapshots());
      assert.equal(sight.mark, isFinished ? 'target' : 'before');
    });
    assert.ok(remounts > remountsBefore, 'the pool was never unmounted');
    await deleteSafetySnapshots();
  });

  /** What is left to be finished by a crash at a point: made anew for each crash, and looked at after the second recovery. */
  const recoveries: readonly {
    readonly recovery: string;
    readonly point: string;
    readonly args: readonly string[];
    readonly prepare?: () => Promise<unknown>;
    readonly requireFinished: () => Promise<void>;
  }[] = [
    {
      recovery: 'recover-restore',
      point: 'restore/kill',
      args: ['snapshots', 'restore', '-c', 'small', '--name', 'target'],
      prepare: () => small.mark('before'),
      requireFinished: async () => {
        const sight = await requireSound('running', await listSnapshots());
        assert.equal(sight.mark, 'target');
        await deleteSafetySnapshots();
      },
    },
    {
      recovery: 'recover-delete',
      point: 'delete/journal',
      args: ['snapshots', 'delete', '-c', 'small', '--name', 'gone'],
      prepare: () => run(['snapshots', 'create', '-c', 'small', '--alias', 'gone', '--mode', 'stateless']),
      requireFinished: async () => {
        const snapshots = await listSnapshots();
        assert.ok(snapshots.every(({ alias }) => alias !== 'gone'));
        await requireSound('running', snapshots);
      },
    },
    {
      recovery: 'recover-copy',
      point: 'copy/decide',
      args: fork,
      requireFinished: async () => {
        await requireOther(true);
        await run(['containers', 'delete', '-c', 'other']);
      },
    },
    {
      recovery: 'recover-delete-workspace',
      point: 'delete-workspace/journal',
      args: ['containers', 'delete', '-c', 'other'],
      prepare: () => run(fork),
      requireFinished: () => requireOther(false),
    },
    {
      recovery: 'recover-promote',
      point: 'promote/kill',
      args: ['containers', 'promote', '-c', 'other', '--safety', 'stateless'],
      prepare: async () => {
        await run(fork);
        await new SmallWorkspace(host, 'other', await idOf('other')).mark('fork');
      },
      requireFinished: async () => {
        await requireOther(false);
        const { trouble, mark } = await small.look('running');
        assert.deepEqual([trouble, mark], ['', 'fork']);
        // What runs in it is bound to no address of a fork any more.
        await run(['snapshots', 'restore', '-c', 'small', '--name', 'target', '--safety', 'none']);
        await deleteSafetySnapshots();
      },
    },
    {
      recovery: 'recover-create',
      point: 'create/record',
      args: ['snapshots', 'create', '-c', 'small', '--alias', 'made'],
      requireFinished: async () => {
        const snapshots = await listSnapshots();
        assert.equal(snapshots.find(({ alias }) => alias === 'made')?.isHead, true);
        await requireSound('running', snapshots);
        await run(['snapshots', 'delete', '-c', 'small', '--name', 'made']);
      },
    },
    {
      recovery: 'undo-create',
      point: 'create/record:before',
      args: ['snapshots', 'create', '-c', 'small', '--alias', 'made'],
      requireFinished: async () => {
        const snapshots = await listSnapshots();
        assert.ok(snapshots.every(({ alias }) => alias !== 'made'));
        await requireSound('running', snapshots);
      },
    },
    {
      recovery: 'undo-restore',
      point: 'restore/decide:before',
      args: ['snapshots', 'restore', '-c', 'small', '--name', 'target'],
      prepare: () => small.mark('before'),
      requireFinished: async () => {
        const snapshots = await listSnapshots();
        assert.ok(snapshots.every(({ kind }) => kind !== 'safety'));
        assert.equal((await requireSound('running', snapshots)).mark, 'before');
      },
    },
    {
      recovery: 'undo-copy',
      point: 'copy/decide:before',
      args: fork,
      requireFinished: () => requireOther(false),
    },
    {
      recovery: 'undo-create-workspace',
      point: 'create-workspace/record:before',
      args: createArguments('other'),
      prepare: () => makeRootfs(host),
      requireFinished: () => requireOther(false),
    },
    {
      recovery: 'undo-promote',
      point: 'promote/adopt',
      args: ['containers', 'promote', '-c', 'other', '--safety', 'stateless'],
      prepare: async () => {
        await small.mark('before');
        await run(fork);
        await new SmallWorkspace(host, 'other', await idOf('other')).mark('fork');
      },
      requireFinished: async () => {
        await requireOther(true);
        const other = new SmallWorkspace(host, 'other', await idOf('other'));
        assert.equal((await other.look('running')).mark, 'fork');
        await run(['containers', 'delete', '-c', 'other', '--with-snapshots']);
        assert.equal((await requireSound('running', await listSnapshots())).mark, 'before');
      },
    },
  ];

  for (const { recovery, point, args, prepare, requireFinished } of recoveries) {
    it(`after the steps of ${recovery} is recovered from too`, async () => {
      await prepare?.();
      await crash(point, '', args);
      const steps = await stepsOf(recovery, '\\S+', listContainers);
      await requireFinished();
      await eachCrash(recovery, isLong ? steps : ends(steps), steps[0] ?? '', async (second) => {
        await prepare?.();
        await crash(point, `${recovery}/${second.point}`, args);
        await crash(`${recovery}/${second.point}`, '', ['containers', 'list']);
        await requireFinished();
      });
    });
  }

  it('after any step of deleting a snapshot deletes it whole or not at all', async () => {
    const make = (alias: string): Promise<unknown> =>
      run(['snapshots', 'create', '-c', 'small', '--alias', alias, '--mode', 'stateless']);
    const remove = (alias: string): string[] => ['snapshots', 'delete', '-c', 'small', '--name', alias];
    await make('gone');
    const steps = await stepsOf('delete', 'small', () => run(remove('gone')));
    await eachCrash('delete', steps, 'journal', async ({ point, isFinished }) => {
      await make('gone');
      await make('child');
      // The daemon that recovers has to delete, too.
      await crash(`delete/${point}`, '', remove('gone'));
      const snapshots = await listSnapshots();
      assert.equal(
        snapshots.some((one) => one.alias === 'gone'),
        !isFinished,
      );
      await requireSound('running', snapshots);
      await run(remove('child'));
      if (!isFinished) await run(remove('gone'));
    });
  });

  it('after any step of creating or deleting a workspace leaves all of it or nothing', async () => {
    await makeRootfs(host);
    const remove = ['containers', 'delete', '-c', 'other', '--with-snapshots'];
    const creating = await stepsOf('create-workspace', 'other', () => run(createArguments('other')));
    const deleting = await stepsOf('delete-workspace', 'other', () => run(remove));
    await eachCrash('create-workspace', creating, 'record', async ({ point, next, isFinished }) => {
      await crash(`create-workspace/${point}`, next, createArguments('other'));
      await requireOther(isFinished);
      if (isFinished) await run(remove);
    });
    await eachCrash('delete-workspace', deleting, 'journal', async ({ point, next, isFinished }) => {
      if (!(await listContainers()).some((one) => one.name === 'other')) {
        await run(createArguments('other'));
      }
      await crash(`delete-workspace/${point}`, next, remove);
      await requireOther(!isFinished);
    });
  });

  it('after any step of a fork leaves all of it or nothing', async () => {
    const remove = ['containers', 'delete', '-c', 'other'];
    const steps = await stepsOf('copy', 'other', () => run(fork));
    await run(remove);
    await eachCrash('copy', steps, 'decide', async ({ point, next, isFinished }) => {
      await crash(`copy/${point}`, next, fork);
      await requireOther(isFinished);
      if (isFinished) await run(remove);
    });
  });

  it('after any step of a promotion leaves both as they were, or the fork in the place of its original', async () => {
    const promote = ['containers', 'promote', '-c', 'other'];
    await run(fork);
    const steps = await stepsOf('promote', 'other', () => run(promote));
    // The restore of the original lies between "adopt" and "kill"; its own steps are enumerated above.
    await eachCrash('promote', steps, 'kill:before', async ({ point, next, isFinished }) => {
      const isThere = (await listContainers()).some((one) => one.name === 'other');
      if (!isThere) await run(fork);
      const other = new SmallWorkspace(host, 'other', await idOf('other'));
      await small.mark('before');
      await other.mark('fork');
      await crash(`promote/${point}`, next, promote);
      const names = (await listContainers()).map((one) => one.name);
      assert.deepEqual(names, isFinished ? ['small'] : ['other', 'small']);
      for (const one of isFinished ? [small] : [small, other]) {
        const { engine, frozen, advances, trouble, mark, journal, trash } = await one.look('running');
        assert.deepEqual(
          { engine, frozen, advances, trouble, mark, journal, trash },
          {
            ...{ engine: 'running', frozen: 'THAWED', advances: true, trouble: '', journal: [], trash: [] },
            mark: one === other || isFinished ? 'fork' : 'before',
          },
        );
      }
    });
    // What runs in it is bound to no address of a fork any more.
    await run(['snapshots', 'restore', '-c', 'small', '--name', 'target', '--safety', 'none']);
    await deleteSafetySnapshots();
    await requireSound('running', await listSnapshots());
  });

  it('after any step of an expiry leaves the snapshot to expire at the next start', async () => {
    await makeDue();
    const steps = await stepsOf('expire', 'small', letExpire);
    await run(['snapshots', 'recover', '-c', 'small', '--name', 'due']);
    await run(['snapshots', 'delete', '-c', 'small', '--name', 'due']);
    await eachCrash('expire', isLong ? steps : ends(steps), 'move', async ({ point }) => {
      await makeDue();
      await crashAtStart(`expire/${point}`);
      await letExpire();
      await requireNoDamage(host);
      await run(['snapshots', 'recover', '-c', 'small', '--name', 'due']);
      await run(['snapshots', 'delete', '-c', 'small', '--name', 'due']);
      await requireSound('running', await listSnapshots());
    });
  });

  it('after any step of taking back what has expired leaves it in the timeline or in the trash', async () => {
    const recover = ['snapshots', 'recover', '-c', 'small', '--name', 'due'];
    const remove = ['snapshots', 'delete', '-c', 'small', '--name', 'due'];
    await makeDue();
    await letExpire();
    const steps = await stepsOf('recover-expired', 'small', () => run(recover));
    await run(remove);
    await eachCrash('recover-expired', steps, 'move', async ({ point, isFinished }) => {
      await makeDue();
      await letExpire();
      await crash(`recover-expired/${point}`, '', recover);
      assert.equal(
        (await listSnapshots()).some(({ alias }) => alias === 'due'),
        isFinished,
      );
      assert.equal(await isInTrash(), !isFinished);
      await requireNoDamage(host);
      if (!isFinished) await run(recover);
      await run(remove);
      await requireSound('running', await listSnapshots());
    });
  });

  it('at random moments of a dump, of waking, a start or a stop leaves nothing half-done', async () => {
    const create = ['snapshots', 'create', '-c', 'small'];
    const start = ['containers', 'start', '-c', 'small'];
    const stop = ['containers', 'stop', '-c', 'small'];
    const restore = ['snapshots', 'restore', '-c', 'small', '--name', 'target', '--safety', 'none'];
    const works = [
      ['snapshots/create: dump', create],
      ['snapshots/restore: wake', restore],
      ['containers/stop: stop', stop],
      ['containers/start: start', start],
    ] as const;
    const random = randomNumbers(chooseSeed());
    const failures: unknown[] = [];
    for (let round = 0; round < (isLong ? 20 : 2); round++) {
      for (const [step, args] of works) {
        const delayMs = Math.round(random() * 400);
        await collect(failures, `${step}, ${String(delayMs)} ms later`, async () => {
          await run(args === start ? stop : start);
          await whenLogged(host, step, killLoggedDaemon(delayMs), () => forkpoint(host, args));
          const snapshots = await listSnapshots();
          await removeBareNamespaces();
          if (args === create && (await host.run(['cat', endedCommands])).includes('criu')) await wakeAnew();
          const { state } = (await listContainers()).find((one) => one.name === 'small') ?? {};
          if (args === create || args === restore) assert.equal(state, 'running');
          await requireSound(state === 'running' ? 'running' : 'stopped', snapshots);
        });
      }
    }
    await run(start);
    await requireSound('running', await listSnapshots());
    reportAll(failures);
  });

  /** Where Podman was killed between making a network namespace and giving it anything, nothing tells whose it is. */
  async function removeBareNamespaces(): Promise<void> {
    const script =
      'for file in /run/netns/netns-*; do [ ! -e $file ] || [ $(nsenter --net=$file ip -oneline link | wc -l) -gt 1 ] || { umount $file && rm $file; }; done';
    await host.run(['sh', '-c', script]);
  }

  describe('H13 while a command of its own is at work', () => {
    const waits = '/run/command-waits';

    /** Kills the daemon while a command waits within what `args` ask for, and answers what its successor logs. */
    async function killWhileWaiting(args: readonly string[]): Promise<string> {
      const pid = String(await daemonPid(host));
      const offset = await logLength(host);
      const kill = `until [ -e ${waits} ]; do sleep 0.01; done; rm ${waits}; kill -s KILL ${pid}`;
      await Promise.all([forkpoint(host, args), host.run(['sh', '-c', kill])]);
      await listSnapshots();
      return logSince(host, offset);
    }

    it('has its successor wait for one of the engine, which does what it was told', async () => {
      // It goes on a while after the successor has begun, which takes seconds on an emulated machine.
      await replacePodman(
        host,
        `#!/bin/sh
begun() { grep -c 'daemon .* started' /var/log/forkpoint/helper.log; }
case "$*" in "stop "*) before=$(begun); touch ${waits}; until [ "$(begun)" -gt "$before" ]; do sleep 0.1; done; sleep 3;; esac
exec /usr/bin/podman "$@"
`,
      );
      try {
        const log = await killWhileWaiting(['containers', 'stop', '-c', 'small']);
        assert.match(log, /podman of an earlier daemon is still at work, process \d+/);
        const { state } = (await listContainers()).find((one) => one.name === 'small') ?? {};
        assert.equal(state, 'stopped');
      } finally {
        await mendPodman(host);
      }
      await requireSound('stopped', await listSnapshots());
    });

    it('has its successor end any other, and undo what it was for', async () => {
      const btrfs = '/usr/local/sbin/btrfs';
      await run(['containers', 'stop', '-c', 'small']);
      const before = await listSnapshots();
      const wrapper = `#!/bin/sh
/usr/bin/btrfs "$@"
case "$*" in *"subvolume snapshot"*) touch ${waits}; sleep 543;; esac
`;
      await host.run(['sh', '-c', `cat > ${btrfs}; chmod 755 ${btrfs}`], { input: wrapper });
      try {
        const log = await killWhileWaiting(['snapshots', 'create', '-c', 'small']);
        assert.match(log, /btrfs of an earlier daemon is still at work, process \d+/);
      } finally {
        await host.run(['rm', btrfs]);
      }
      assert.deepEqual(await listSnapshots(), before);
      await requireSound('stopped', before);
    });
  });

  it('with its commands, while the runtime has the files mounted for CRIU, keeps them whole', async () => {
    const wrapper = `#!/bin/sh
if grep -q criu-root /proc/mounts; then touch ${criuWaits}; sleep 60; fi
exec ${criu}.real "$@"
`;
    await host.run(['mv', criu, `${criu}.real`]);
    await host.run(['sh', '-c', `cat > ${criu}; chmod 755 ${criu}`], { input: wrapper });
    const pid = (await daemonPid(host)) ?? 0;
    try {
      const kill = `until [ -e ${criuWaits} ]; do sleep 0.01; done; kill -s KILL ${String(pid)}`;
      await Promise.all([
        forkpoint(host, ['snapshots', 'restore', '-c', 'small', '--name', 'target', '--safety', 'none']),
        host.run(['python3', endCommands, String(pid)]),
        host.run(['sh', '-c', kill]),
      ]);
    } finally {
      await host.run(['mv', `${criu}.real`, criu]);
    }
    const sight = await requireSound('running', await listSnapshots());
    assert.equal(sight.mark, 'target');
    assert.doesNotMatch(await host.run(['cat', '/proc/mounts']), /criu-root/);
  });

  /** A program that CRIU was dumping when it was killed may have noticed (H14), and does not go on where it was. */
  async function wakeAnew(): Promise<void> {
    const { frozen, tables, journal, trash } = await small.look('stopped');
    assert.notEqual(frozen, 'FROZEN');
    assert.deepEqual([tables, journal, trash], [[], [], []]);
    await run(['snapshots', 'restore', '-c', 'small', '--name', 'target', '--safety', 'none']);
  }

  /** Runs something that works, and reads from the log which steps it took. */
  async function stepsOf(
    operation: string,
    subject: string,
    work: () => Promise<unknown>,
  ): Promise<string[]> {
    const offset = await logLength(host);
    await work();
    const log = await logSince(host, offset);
    const line = new RegExp(`^\\S+ info +${operation} ${subject}: ([a-z-]+), [\\d.]+ ms$`, 'gm');
    const steps = [...log.matchAll(line)].map(([, step]) => step ?? '');
    assert.ok(steps.length > 0, `${operation} took no steps:\n${log}`);
    return steps;
  }

  /** Calls `check` for each moment at which the daemon may be killed, and reports all failures together. */
  async function eachCrash(
    operation: string,
    steps: readonly string[],
    /** From the end of this step on, or from right before it as `STEP:before`, what was begun is finished. */
    decisive: string,
    check: (crash: Crash) => Promise<void>,
  ): Promise<void> {
    const first = isLong ? 0 : Math.max(0, steps.indexOf('journal') - 1);
    const at = steps.indexOf(decisive.replace(':before', ''));
    const crashes = steps.flatMap((step, index) => {
      if (index < first) return [];
      const points = isLong || index === 0 ? [`${step}:before`, step] : [step];
      return points.map((point) => ({
        point,
        isFinished: point === decisive || point === steps[at] || index > at,
      }));
    });
    const failures: unknown[] = [];
    for (const [index, { point, isFinished }] of crashes.entries()) {
      const following = crashes[index + 1]?.point;
      const next = following === undefined ? '' : `${operation}/${following}`;
      takesCommands = index % 2 === 1;
      takesPool = isLong || index % 5 === 4;
      const title = `${operation}/${point}${takesCommands ? ', with its commands' : ''}`;
      await collect(failures, title, () => check({ point, next, isFinished }));
    }
    takesCommands = takesPool = false;
    await arm('');
    reportAll(failures);
  }

  /** Has the daemon kill itself at `point` of what `args` ask for. The one that recovers is told to do so at `next`. */
  async function crash(point: string, next: string, args: readonly string[]): Promise<void> {
    await arm(point);
    // One that runs already may be gone before it can be looked for.
    const daemon = takesCommands ? ((await daemonPid(host)) ?? point) : null;
    const [{ exitCode, stdout }] = await Promise.all([
      forkpoint(host, args, { FORKPOINT_CRASH_AT: point }),
      daemon === null ? null : host.run(['python3', endCommands, String(daemon)]),
    ]);
    assert.notEqual(exitCode, 0, `the daemon did not end: ${stdout}`);
    assert.equal(await daemonPid(host), null, 'the daemon still runs');
    if (takesPool && (await host.run(['sh', '-euc', remountPool])).includes('unmounted')) remounts++;
    armedFor = next;
  }

  /** Has a daemon kill itself at `point` of what it does by itself when it starts. */
  async function crashAtStart(point: string): Promise<void> {
    await arm(point);
    await Promise.all([
      // Answered before that, or not.
      forkpoint(host, ['containers', 'list'], { FORKPOINT_CRASH_AT: point }),
      takesCommands ? host.run(['python3', endCommands, point]) : null,
    ]);
    await until(async () => (await daemonPid(host)) === null);
    armedFor = '';
  }

  /** Makes a snapshot that is to expire at once, which is seen at the next start. */
  async function makeDue(): Promise<void> {
    await run([
      ...['snapshots', 'create', '-c', 'small', '--alias', 'due', '--mode', 'stateless'],
      ...['--expiry', '0.000001'],
    ]);
  }

  async function letExpire(): Promise<void> {
    await killDaemon(host);
    await until(isInTrash);
    assert.ok((await listSnapshots()).every(({ alias }) => alias !== 'due'));
  }

  async function isInTrash(): Promise<boolean> {
    const trash = z.array(z.object({ alias: z.string().nullable() })).parse(await run(['host', 'trash']));
    return trash.some(({ alias }) => alias === 'due');
  }

  /** A daemon reads at its start where it is to kill itself. */
  async function arm(point: string): Promise<void> {
    if (armedFor === point) return;
    await killDaemon(host);
    armedFor = point;
  }

  /** Runs the command line; a daemon that this call starts is armed. */
  async function run(args: readonly string[]): Promise<unknown> {
    return await forkpointJson(host, args, armedFor === '' ? {} : { FORKPOINT_CRASH_AT: armedFor });
  }

  async function listSnapshots(): Promise<Snapshots> {
    return SnapshotsSchema.parse(await run(['snapshots', 'list', '-c', 'small']));
  }

  async function idOf(name: string): Promise<string> {
    return (await listContainers()).find((one) => one.name === name)?.id ?? '';
  }

  async function listContainers(): Promise<z.infer<typeof ContainersSchema>> {
    return ContainersSchema.parse(await run(['containers', 'list']));
  }

  /** The workspace is whole, nothing else is left, and what is on the disk is what is listed. */
  async function requireSound(wanted: 'running' | 'stopped', snapshots: Snapshots): Promise<Sight> {
    const sight = await small.requireSound(wanted);
    requireNothingElse(sight, wanted === 'running' ? 1 : 0);
    assert.deepEqual(sight.files, expectedFiles);
    const partsOf = (place: string): string[] => [`${place}/rootfs`, `${place}/volumes/data`];
    assert.deepEqual(
      sight.subvolumes,
      [
        ...partsOf(`workspaces/${small.id}`),
        ...snapshots.flatMap(({ name }) => partsOf(`snapshots/${small.id}/${name}`)),
      ].sort(),
    );
    return sight;
  }

  /** No process, container or network namespace without a workspace. */
  function requireNothingElse(sight: Sight, running: number): void {
    assert.deepEqual(
      sight.others.filter(
        (one) => !processesBefore.includes(one) && !expectedProcesses.some((pattern) => pattern.test(one)),
      ),
      [],
    );
    assert.equal(sight.namespaces, running, 'named network namespaces');
  }

  /** The second workspace is there, running and listed, or nothing of it is. */
  async function requireOther(isThere: boolean): Promise<void> {
    const listed = (await listContainers()).filter((one) => one.name === 'other');
    assert.deepEqual(
      listed.map((one) => one.state),
      isThere ? ['running'] : [],
    );
    const sight = await small.look('running');
    assert.equal(sight.allContainers, isThere ? 2 : 1, 'containers of the engine');
    assert.equal(sight.workspaces, isThere ? 2 : 1, 'directories of workspaces');
    assert.equal(sight.subvolumes.filter((one) => one.startsWith('workspaces/')).length, isThere ? 4 : 2);
    assert.deepEqual([sight.journal, sight.trash], [[], []]);
    if (!isThere) requireNothingElse(sight, 1);
  }

  /** The newest of such snapshots is as good as one that no crash came near to. */
  async function requireRestorable(isSuch: (snapshot: Snapshots[number]) => boolean): Promise<void> {
    const found = (await listSnapshots()).find(isSuch);
    assert.ok(found, 'there is no such snapshot');
    await run(['snapshots', 'restore', '-c', 'small', '--name', found.name, '--safety', 'none']);
    await requireSound('running', await listSnapshots());
  }

  async function deleteSafetySnapshots(): Promise<void> {
    for (const { name } of (await listSnapshots()).filter((one) => one.kind === 'safety')) {
      await run(['snapshots', 'delete', '-c', 'small', '--name', name]);
    }
  }

  async function collect(failures: unknown[], title: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      failures.push(`--- ${title}: ${problem}\n${await endOfLog(host)}`);
    }
  }
});

function reportAll(failures: readonly unknown[]): void {
  assert.ok(failures.length === 0, `${String(failures.length)} failed\n${failures.join('\n')}`);
}

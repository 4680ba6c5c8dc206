import assert from 'node:assert/strict';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { RUNTIME_ROOT } from '../../src/helper/engines/runtimeRoot.ts';
import { SmallWorkspace, createArguments, forkpoint, forkpointJson } from '../host/small/smallWorkspace.ts';
import { requireNoDamage } from '../host/fsckReport.ts';
import { chooseSeed, randomNumbers } from '../host/random.ts';
import { bootHost, endHost } from '../host/machine/machine.ts';
import { VmHost } from '../host/vm/vmHost.ts';

const SnapshotsSchema = z.array(
  z.object({ name: z.string(), alias: z.string().nullable(), kind: z.string(), durable: z.boolean() }),
);
type Snapshots = z.infer<typeof SnapshotsSchema>;
const ContainersSchema = z.array(z.object({ id: z.string(), name: z.string() }));

/** More rounds, which take as much longer. */
const isLong = process.env['FORKPOINT_LONG'] === '1';
const cuts = Array.from({ length: isLong ? 5 : 1 }, (_, index) => String(index + 1));

const copy = ['containers', 'copy', '-c', 'small', '--snapshot', 'target', '--name'];

const name = 'power';

/** Memory of a process, in MiB: enough to be copied ahead, and to be restored lazily. */
const heldMib = 512;
/** How long a process that rewrites its memory may stand still, in times of a bare dump. */
const MOST_FROZEN = 0.3;
const pool = '/var/lib/forkpoint';
const IdSchema = z.object({ id: z.string() });
const CreatedSchema = z.object({
  snapshot: z.object({ name: z.string(), freezeMs: z.number(), memoryBytes: z.number() }),
  timing: z.array(z.object({ step: z.string(), ms: z.number() })),
});

describe('a whole machine', function () {
  let host: VmHost;
  let small: SmallWorkspace;
  let random: () => number;

  before(async () => {
    random = randomNumbers(chooseSeed());
    const booted = await bootHost({ name, machine: 'vm', ifRunning: 'replace' });
    assert.ok(booted instanceof VmHost);
    host = booted;
    small = await SmallWorkspace.create(host, 'small');
    await small.mark('target');
  });

  after(async () => {
    await endHost(name);
  });

  it('runs the helper as a unit of systemd, on cgroup v2, with no work-around', async () => {
    assert.equal(await host.run(['systemctl', 'is-active', 'forkpoint.service']), 'active\n');
    assert.equal(await host.run(['systemctl', 'is-enabled', 'forkpoint.service']), 'enabled\n');
    assert.equal(
      await host.run(['stat', '--file-system', '--format', '%T', '/sys/fs/cgroup']),
      'cgroup2fs\n',
    );
    assert.equal(await host.run(['cat', '/sys/module/apparmor/parameters/enabled']), 'Y\n');
    const { findings } = z
      .object({ findings: z.array(z.object({ level: z.string(), message: z.string() })) })
      .parse(await forkpointJson(host, ['host', 'info']));
    assert.deepEqual(
      findings.filter(({ level }) => level === 'error'),
      [],
    );
  });

  it('snapshots, restores and forks, and nothing is left behind', async () => {
    await create('target');
    for (let round = 1; round <= (isLong ? 10 : 1); round++) {
      await small.mark(`wreck ${String(round)}`);
      await restore('target');
      const sight = await small.requireSound('running');
      assert.equal(sight.mark, 'target');
    }
    await forkpointJson(host, [...copy, 'whole']);
    const fork = new SmallWorkspace(host, 'whole', await idOf('whole'));
    const { engine, programs, advances, trouble, mark } = await fork.look('running');
    assert.deepEqual(
      { engine, programs: programs.length, advances, trouble, mark },
      { engine: 'running', programs: 4, advances: true, trouble: '', mark: 'target' },
    );
    await forkpointJson(host, ['containers', 'delete', '-c', 'whole']);
  });

  it('copies memory ahead, so that a process that changes it all the time stands still for a moment only', async () => {
    const command = ['/usr/bin/python3', '/app/hold.py', String(heldMib)];
    const made = await forkpointJson(host, createArguments('held', command));
    const { id } = IdSchema.parse(made);
    const rootfs = `${pool}/workspaces/${id}/rootfs`;
    const inside = (script: string): Promise<string> => host.run(['sh', '-c', `cd ${rootfs}; ${script}`]);
    const check = async (word: string): Promise<void> => {
      await inside(`echo ${word} > check.new; mv check.new check`);
      await inside(
        `n=0; until grep -q ${word} checked; do n=$((n+1)); [ $n -lt 1200 ] || exit 1; sleep 0.1; done`,
      );
      assert.equal(await inside('cat checked'), `same ${word}\n`);
    };
    await inside('until [ -s beats ]; do sleep 0.2; done; : > churn; until [ -s stall ]; do sleep 0.2; done');
    const pid = (await host.run(['pgrep', '--full', '^/usr/bin/python3 /app/hold.py'])).trim();
    assert.match(await host.run(['cat', `/proc/${pid}/smaps_rollup`]), /^AnonHugePages: +0 kB$/m);

    const bareMs = await dumpBare('held', id);
    await inside('rm churn; sleep 1; : > churn; sleep 2');
    const takeTimed = async (): Promise<{ name: string; ratio: number }> => {
      const args = ['snapshots', 'create', '-c', 'held', '--mode', 'stateful'];
      const { snapshot, timing } = CreatedSchema.parse(await forkpointJson(host, args));
      const { freezeMs, memoryBytes } = snapshot;
      const ratio = freezeMs / bareMs;
      const stallMs = (await inside('cat stall')).trim();
      console.log(
        `      frozen for ${String(freezeMs)} ms, ${ratio.toFixed(2)} x a bare dump; longest stall ${stallMs} ms; ${JSON.stringify(timing)}`,
      );
      assert.ok(memoryBytes > heldMib * 2 ** 20, 'the images do not hold all of the memory');
      return { name: snapshot.name, ratio };
    };
    let snapshot = await takeTimed();
    if (snapshot.ratio > MOST_FROZEN) {
      // What else runs beside an emulated machine can disturb one of them.
      await forkpointJson(host, ['snapshots', 'delete', '-c', 'held', '--name', snapshot.name]);
      snapshot = await takeTimed();
    }
    assert.ok(
      snapshot.ratio <= MOST_FROZEN,
      `frozen for ${String(snapshot.ratio)} times the ${String(bareMs)} ms of a bare dump`,
    );

    const directory = `${pool}/snapshots/${id}/${snapshot.name}`;
    assert.deepEqual(
      (await host.run(['ls', directory])).split('\n').filter((entry) => /pre-dump/.test(entry)),
      [],
    );
    assert.doesNotMatch(await host.run(['ls', `${directory}/memory`]), /parent|joined/);
    await inside('rm churn');
    await check('before');
    await forkpointJson(host, [
      'snapshots',
      'restore',
      '-c',
      'held',
      '--name',
      snapshot.name,
      '--safety',
      'none',
    ]);
    await inside('rm churn');
    await check('after');

    // Nothing of one that was cut short is left, and the process has noticed nothing.
    const underWay = forkpoint(host, ['snapshots', 'create', '-c', 'held']);
    await inside(`until ls ${path.dirname(directory)}/*/pre-dumps/1/* >/dev/null 2>&1; do sleep 0.02; done`);
    await host.run(['systemctl', 'kill', '--signal', 'KILL', '--kill-whom', 'main', 'forkpoint.service']);
    await underWay;
    assert.deepEqual(
      z
        .array(z.object({ name: z.string() }))
        .parse(await forkpointJson(host, ['snapshots', 'list', '-c', 'held'])),
      [{ name: snapshot.name }],
    );
    await check('later');
    await requireNoDamage(host);
    await forkpointJson(host, ['containers', 'delete', '-c', 'held', '--with-snapshots']);
  });

  for (const cut of cuts) {
    it(`H9, H16: has all or nothing of a snapshot in the middle of which the power went, and one that was done is whole (${cut})`, async () => {
      const [whole, halfway] = [`whole-${cut}`, `cut-${cut}`];
      const { where } = await cutDuring(['snapshots', 'create', '-c', 'small', '--alias'], [whole, halfway]);
      const { mark } = await small.requireSound('running');
      assert.equal(mark, 'before', where);
      const made = (await snapshots()).find(({ alias }) => alias === halfway);
      if (made !== undefined) await restore(made.name);
      assert.equal((await snapshots()).find(({ alias }) => alias === whole)?.durable, true);
      await restore(whole, ['--safety', 'none']);
      await small.requireSound('running');
    });

    it(`has all or nothing of a restore in the middle of which the power went (${cut})`, async () => {
      const { where } = await cutDuring(
        ['snapshots', 'restore', '-c', 'small', '--name'],
        ['target', 'target'],
      );
      const { mark } = await small.requireSound('running');
      assert.ok(['target', 'before'].includes(mark), `"${mark}"; ${where}`);
      await restore('target');
      await small.requireSound('running');
    });

    it(`has all or nothing of a fork in the middle of which the power went, and one that was done is whole (${cut})`, async () => {
      const { where } = await cutDuring(copy, [`whole-${cut}`, `cut-${cut}`]);
      const { mark } = await small.requireSound('running');
      assert.equal(mark, 'before', where);
      const forks = (await containers()).map((one) => one.name).filter((one) => one !== 'small');
      assert.ok(forks.includes(`whole-${cut}`), `${forks.join()}; ${where}`);
      for (const made of forks) {
        await forkpointJson(host, ['containers', 'start', '-c', made]);
        const fork = new SmallWorkspace(host, made, await idOf(made));
        assert.equal((await fork.look('running')).mark, 'target', `${made}; ${where}`);
        await forkpointJson(host, ['containers', 'delete', '-c', made, '--with-snapshots']);
      }
    });
  }

  /** How long the runtime takes by itself to dump a container and let it run on, in milliseconds; the second time. */
  async function dumpBare(workspace: string, id: string): Promise<number> {
    const container = `forkpoint-${workspace}`;
    const facts = await host.run([
      ...['podman', 'container', 'inspect', '--format', '{{.Id}} {{.OCIRuntime}}', container],
    ]);
    const [containerId = '', runtime = ''] = facts.trim().split(' ');
    const root = z.enum(['runc', 'crun']).parse(runtime);
    // Forkpoint's own options name its script, which waits for it; it writes them anew for each of its dumps.
    const script = `cd ${pool} && echo network-lock nftables > workspaces/${id}/criu.conf && for round in 1 2; do
      rm -rf bare && mkdir bare && before=$(date +%s%N)
      ${runtime} --root ${RUNTIME_ROOT[root]} checkpoint --leave-running --tcp-established --ext-unix-sk --file-locks --image-path bare --work-path bare ${containerId} >&2
      echo $((($(date +%s%N) - before) / 1000000))
    done; rm -rf bare`;
    return Number((await host.run(['sh', '-ec', script])).trim().split('\n').at(-1));
  }

  /**
   * Does something twice, and cuts the power at a random moment of the second time. Gives when that was, once the machine
   * is up again, the checker is content and the workspace was started.
   */
  async function cutDuring(
    what: readonly string[],
    [first, second]: readonly [string, string],
  ): Promise<{ readonly where: string }> {
    await small.mark('target');
    const started = performance.now();
    await forkpointJson(host, [...what, first]);
    const lasted = performance.now() - started;
    await small.mark('before');
    // What no program has synced is gone with the power, whatever is under way.
    await host.run(['sync', '--file-system', pool]);
    const before = await snapshots();
    // Neither before it has begun nor after it is done.
    const cutAfterMs = (0.05 + 0.9 * random()) * lasted;
    // Its answer is lost with the machine.
    const underWay = forkpoint(host, [...what, second]).catch(() => undefined);
    await sleep(cutAfterMs);
    await host.cutPower();
    await underWay;
    await bootAgain();
    const where = `the power went ${cutAfterMs.toFixed(0)} ms into ${lasted.toFixed(0)} ms`;
    const names = (await snapshots()).map((one) => one.name);
    for (const one of before) assert.ok(names.includes(one.name), `${one.name} is gone; ${where}`);
    await requireNoDamage(host);
    await forkpointJson(host, ['containers', 'start', '-c', 'small']);
    return { where };
  }

  /** Until the helper has recovered: it listens to nobody before that. */
  async function bootAgain(): Promise<void> {
    await host.boot();
    for (let attempt = 1; ; attempt++) {
      const { exitCode, stderr } = await forkpoint(host, ['containers', 'list']);
      if (exitCode === 0) return;
      assert.ok(attempt < 5, stderr);
    }
  }

  async function create(alias: string): Promise<void> {
    await forkpointJson(host, [
      ...['snapshots', 'create', '-c', 'small', '--alias', alias, '--mode', 'stateful'],
    ]);
  }

  async function restore(which: string, options: readonly string[] = []): Promise<void> {
    await forkpointJson(host, ['snapshots', 'restore', '-c', 'small', '--name', which, ...options]);
  }

  async function containers(): Promise<z.infer<typeof ContainersSchema>> {
    return ContainersSchema.parse(await forkpointJson(host, ['containers', 'list']));
  }

  async function idOf(which: string): Promise<string> {
    const id = (await containers()).find((one) => one.name === which)?.id;
    assert.ok(id !== undefined, `there is no ${which}`);
    return id;
  }

  async function snapshots(): Promise<Snapshots> {
    const listed = await forkpointJson(host, ['snapshots', 'list', '-c', 'small']);
    const all = z.array(z.object({ name: z.string() })).parse(listed);
    return SnapshotsSchema.parse(
      await Promise.all(
        all.map((one) => forkpointJson(host, ['snapshots', 'show', '-c', 'small', '--name', one.name])),
      ),
    );
  }
});

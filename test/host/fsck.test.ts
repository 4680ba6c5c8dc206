import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as z from 'zod';
import { freezerOf } from './freezer.ts';
import { bootHost, endHost, enterOptions, type TestHost } from './machine/machine.ts';
import {
  endOfLog,
  forkpoint,
  forkpointJson,
  killDaemon,
  ownFile,
  SmallWorkspace,
  withoutUnit,
} from './small/smallWorkspace.ts';
import { fsck, requireNoDamage, type FsckReport } from './fsckReport.ts';
import { until } from './workspace.ts';

const pool = '/var/lib/forkpoint';
const engineStorage = '/var/lib/containers/storage';

/** Damage of one kind: what is done, in the words of a shell, and what fsck is to say of it. */
interface Damage {
  readonly kind: string;
  /** The beginning of what it is about. */
  readonly subject: string;
  readonly script: string;
  /** The kind has no repair; this script takes the damage away again. */
  readonly byHand?: string;
}

const SnapshotSchema = z.object({
  name: z.string(),
  alias: z.string().nullable(),
  parent: z.string().nullable(),
  stateful: z.boolean(),
  statelessReason: z.string().nullable(),
  durable: z.boolean(),
});
type Snapshot = z.infer<typeof SnapshotSchema>;

describe('forkpoint fsck', function () {
  this.timeout(180_000);

  let host: TestHost;
  let small: SmallWorkspace;
  let workspace: string;
  let snapshots: string;
  const children: ChildProcess[] = [];

  before(async () => {
    host = await bootHost({ name: 'fsck-test', ifRunning: 'replace' });
    await withoutUnit(host);
    small = await SmallWorkspace.create(host, 'small');
    workspace = `${pool}/workspaces/${small.id}`;
    snapshots = `${pool}/snapshots/${small.id}`;
    await create('good', 'stateful');
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await endOfLog(host));
  });

  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    await endHost('fsck-test');
  });

  it('finds nothing wrong with a host that works, with a daemon and without', async () => {
    const { workspaces, snapshots: looked } = await requireNoDamage(host);
    assert.deepEqual([workspaces, looked], [1, 1]);
    await killDaemon(host);
    await requireNoDamage(host);
  });

  it('takes nothing for damage that is under way', async () => {
    const state = { isDone: false };
    const work = (async () => {
      await create('busy', 'stateful');
      await run(['snapshots', 'restore', '-c', 'small', '--name', 'busy']);
      await run(['containers', 'copy', '-c', 'small', '--snapshot', 'busy', '--name', 'other']);
      await run(['containers', 'delete', '-c', 'other']);
    })().finally(() => (state.isDone = true));
    do await requireNoDamage(host);
    while (!state.isDone);
    await work;
  });

  it('finds and repairs damage to snapshots, and keeps all that can be kept', async () => {
    const aliases = [
      ...['half', 'unreadable', 'files', 'missing', 'truncated', 'altered', 'writable', 'misplaced'],
      ...['orphaned', 'circle-1', 'circle-2', 'twice', 'expired'],
    ];
    for (const alias of aliases) await create(alias, isOfMemory(alias) ? 'stateful' : 'stateless');
    const all = await list();
    const of = (alias: string): Snapshot => find(all, alias);
    const place = (alias: string): string => `${snapshots}/${of(alias).name}`;
    const subject = (alias: string): string => `small/${of(alias).name}`;
    const edit = (alias: string, change: string): string => editJson(`${place(alias)}/snapshot.json`, change);
    await requireRepair([
      { kind: 'snapshot.halfMade', subject: subject('half'), script: `rm ${place('half')}/snapshot.json` },
      {
        kind: 'snapshot.recordUnreadable',
        subject: subject('unreadable'),
        script: `echo '{' > ${place('unreadable')}/snapshot.json`,
      },
      {
        kind: 'snapshot.filesMissing',
        subject: subject('files'),
        script: `btrfs -q subvolume delete ${place('files')}/rootfs`,
      },
      {
        kind: 'snapshot.memoryDamaged',
        subject: subject('missing'),
        script: `rm ${place('missing')}/memory/inventory.img`,
      },
      {
        kind: 'snapshot.memoryDamaged',
        subject: subject('truncated'),
        script: `for file in ${place('truncated')}/memory/pages-*.img; do truncate -s -1 "$file"; done`,
      },
      {
        kind: 'snapshot.memoryDamaged',
        subject: subject('altered'),
        script: `printf '\\0' | dd of=${place('altered')}/memory/pstree.img bs=1 seek=20 conv=notrunc status=none`,
      },
      {
        kind: 'snapshot.writable',
        subject: subject('writable'),
        script: `btrfs property set -ts ${place('writable')}/volumes/data ro false`,
      },
      {
        kind: 'snapshot.misplaced',
        subject: subject('misplaced'),
        script: edit('misplaced', `record["name"] = "${of('good').name}"`),
      },
      {
        kind: 'snapshot.parentMissing',
        subject: subject('orphaned'),
        script: edit('orphaned', 'record["parent"] = "snap-20200101-000000"'),
      },
      {
        kind: 'snapshot.parentCycle',
        subject: subject('circle-1'),
        script: edit('circle-1', `record["parent"] = "${of('circle-2').name}"`),
      },
      {
        kind: 'snapshot.aliasTwice',
        subject: subject('twice'),
        script: edit('twice', 'record["alias"] = "good"'),
      },
      {
        kind: 'expired.unreadable',
        subject: `expired/${small.id}/${of('expired').name}`,
        script: `mkdir -m 700 -p ${pool}/expired/${small.id} && mv ${place('expired')} ${pool}/expired/${small.id}`,
      },
      {
        kind: 'workspace.headMissing',
        subject: 'small',
        script: editJson(`${workspace}/workspace.json`, 'record["head"] = "snap-20200101-000000"'),
      },
      {
        kind: 'workspace.undoMissing',
        subject: 'small',
        script: editJson(`${workspace}/workspace.json`, 'record["undo"]["safety"] = "snap-20200101-000000"'),
      },
    ]);
    const after = await list();
    for (const alias of ['half', 'unreadable', 'files', 'expired'])
      assert.ok(!after.some((one) => one.alias === alias), `"${alias}" is listed still`);
    for (const alias of ['missing', 'truncated', 'altered']) {
      const { stateful, statelessReason } = find(after, alias);
      assert.deepEqual([stateful, /memory was damaged/.test(statelessReason ?? '')], [false, true]);
    }
    assert.equal(find(after, 'orphaned').parent, null);
    assert.equal(find(after, 'circle-1').parent, null);
    // What could be an only copy is somewhere still, and a person is told where and why.
    const kept = await host.run(['find', `${pool}/lost+found`, '-maxdepth', '5']);
    for (const alias of ['half', 'unreadable', 'expired'])
      assert.match(kept, new RegExp(`/${of(alias).name}/rootfs`));
    assert.match(kept, new RegExp(`/${of('altered').name}/memory`));
    assert.match(await host.run(['sh', '-c', `cat ${pool}/lost+found/*/reasons.txt`]), /snapshot\.json/);
    for (const alias of ['altered', 'writable', 'misplaced', 'good']) {
      await run(['snapshots', 'restore', '-c', 'small', '--name', alias, '--safety', 'none']);
      await small.requireSound('running');
    }
  });

  it('finds and repairs what is where nobody knows of it', async () => {
    const lost = 'ws-0123456789ab';
    await requireRepair([
      {
        kind: 'workspace.recordMissing',
        subject: `workspaces/${lost}`,
        script: `mkdir -m 700 ${pool}/workspaces/${lost} && btrfs -q subvolume create ${pool}/workspaces/${lost}/rootfs`,
      },
      {
        kind: 'workspace.recordUnreadable',
        subject: 'workspaces/ws-0123456789ad/workspace.json',
        script: `mkdir -m 700 ${pool}/workspaces/ws-0123456789ad && cd ${pool}/workspaces/ws-0123456789ad && umask 077 && echo nonsense > workspace.json`,
        byHand: `rm -r ${pool}/workspaces/ws-0123456789ad`,
      },
      {
        kind: 'snapshot.orphan',
        subject: 'snapshots/ws-0123456789ac',
        script: `mkdir -m 700 -p ${pool}/snapshots/ws-0123456789ac/snap-20260101-000000 && chmod 700 ${pool}/snapshots/ws-0123456789ac`,
      },
      {
        kind: 'entry.unknown',
        subject: `workspaces/${small.id}/volumes/old`,
        script: `btrfs -q subvolume create ${workspace}/volumes/old`,
      },
      {
        kind: 'workspace.leftovers',
        subject: 'small/next',
        script: `mkdir -m 700 ${workspace}/next && btrfs -q subvolume snapshot ${workspace}/rootfs ${workspace}/next/rootfs`,
      },
      {
        kind: 'journal.unreadable',
        subject: 'journal/',
        script: `umask 077; echo '{"operation":"conjure"}' > ${pool}/journal/${lost}.json`,
      },
      {
        kind: 'trash.full',
        subject: 'trash/old',
        script: `mkdir -m 700 ${pool}/trash/old && btrfs -q subvolume create ${pool}/trash/old/content && btrfs -q subvolume create ${pool}/trash/old/content/inner`,
      },
      {
        kind: 'mode.open',
        subject: `${engineStorage}/db.sql`,
        script: `chmod 755 ${engineStorage}; chmod 644 ${engineStorage}/db.sql`,
      },
      {
        kind: 'mode.open',
        subject: `${snapshots}/${find(await list(), 'good').name}/memory`,
        script: `chmod 755 ${snapshots}/${find(await list(), 'good').name}/memory`,
      },
      {
        kind: 'mode.open',
        subject: `${workspace}/criu.conf`,
        script: `chown nobody ${workspace}/criu.conf`,
      },
      {
        kind: 'mount.left',
        subject: `${workspace}/volumes/data`,
        script: `mount --bind ${workspace}/rootfs ${workspace}/volumes/data`,
        byHand: `umount ${workspace}/volumes/data`,
      },
    ]);
    const kept = await host.run(['find', `${pool}/lost+found`, '-maxdepth', '5']);
    for (const name of [`workspaces/${lost}/rootfs`, 'volumes/old', 'trash/old/content'])
      assert.match(kept, new RegExp(name));
    await small.requireSound('running');
  });

  it('tells a person of what it must not touch', async () => {
    const inside = '--rootfs /srv/small /bin/sleep 1000';
    await host.run(['tee', '/srv/lazy-pages.sh'], { input: 'read -r line\n' });
    await startInHost(['sh', '/srv/lazy-pages.sh', `${snapshots}/gone/memory`]);
    await until(async () => (await host.exec(['pgrep', '-f', '^sh /srv/lazy-pages'])).exitCode === 0);
    await requireRepair([
      {
        kind: 'container.orphanRuns',
        subject: 'stray',
        script: `podman run -d --name stray --network none --label forkpoint.workspace=ws-0123456789ab ${inside}`,
        byHand: 'podman rm --force --time 0 stray',
      },
      {
        kind: 'process.lazyPages',
        subject: 'process ',
        script: ':',
        byHand: "pkill -f '^sh /srv/lazy-pages'",
      },
    ]);
  });

  it('tells of live files that are gone, and a restore puts files in their place, as it says', async () => {
    await run(['containers', 'stop', '-c', 'small', '--timeout', '0']);
    await requireRepair(
      ['rootfs', 'volumes/data'].map((part) => ({
        kind: 'workspace.filesMissing',
        subject: 'small',
        script: `btrfs -q subvolume delete ${workspace}/${part}`,
        byHand: 'forkpoint snapshots restore -c small --name good --safety none',
      })),
    );
    await small.requireSound('running');
  });

  it('tells of a disk that has altered pages of memory, which no restore wakes or takes anything for', async () => {
    await create('rotten', 'stateful');
    const { name } = find(await list(), 'rotten');
    await until(async () => find(await list(), 'rotten').durable);
    await small.mark('now');
    await flipPages(name);
    const restore = ['snapshots', 'restore', '-c', 'small', '--name', 'rotten'];
    const { exitCode, stderr } = await forkpoint(host, [...restore, '--json']);
    assert.equal(exitCode, 1);
    assert.match(stderr, /"code":"(restore\.rolledBack|snapshot\.damaged)"/);
    assert.equal((await small.requireSound('running')).mark, 'now');
    await requireRepair([
      {
        kind: 'pool.diskErrors',
        subject: pool,
        script: ':',
        byHand: `btrfs device stats -z ${pool}`,
      },
    ]);
    // It was the disk and nothing else.
    await flipPages(name);
    await run(restore);
    await small.requireSound('running');
    await run(['snapshots', 'delete', '-c', 'small', '--name', 'rotten']);
  });

  it('tells of a pool that can only be read', async () => {
    await run(['containers', 'stop', '-c', 'small', '--timeout', '0']);
    await requireRepair([
      {
        kind: 'pool.readOnly',
        subject: pool,
        script: `sync -f ${pool}; mount -o remount,ro ${pool}`,
        byHand: `mount -o remount,rw ${pool}`,
      },
    ]);
    await run(['containers', 'start', '-c', 'small']);
    await small.requireSound('running');
  });

  it('finds and repairs what stands still or holds back', async () => {
    await forkpointJson(host, ['containers', 'start', '-c', 'small']);
    const pid = await host.run(['podman', 'inspect', '--format', '{{.State.Pid}}', 'forkpoint-small']);
    const netns = `nsenter --net=/proc/${pid.trim()}/ns/net`;
    await startInHost(['env', 'FORKPOINT_DAEMON=1-1', 'sleep', '999']);
    await startInHost([
      'sh',
      `${pool}/assets/watchdog.sh`,
      `${workspace}/work`,
      '/dev/null',
      '1',
      '0',
      '900',
      '1',
    ]);
    await until(async () => (await host.exec(['pgrep', '-f', 'sleep 999'])).exitCode === 0);
    const { file, freeze } = await freezerOf(host, 'forkpoint-small');
    await requireRepair([
      { kind: 'process.left', subject: 'process ', script: 'pgrep -f "sleep 999"' },
      { kind: 'process.left', subject: 'process ', script: 'pgrep -f watchdog.sh' },
      {
        kind: 'workspace.trafficHeld',
        subject: 'small',
        script: `${netns} nft add table inet CRIU-1234`,
      },
      {
        kind: 'workspace.trafficHeld',
        subject: 'small',
        script: `${netns} nft add table inet forkpoint_restore`,
      },
      {
        kind: 'container.orphan',
        subject: 'stray',
        script: `podman create --name stray --label forkpoint.workspace=ws-0123456789ab --rootfs ${workspace}/rootfs true`,
      },
      { kind: 'workspace.frozen', subject: 'small', script: `echo ${freeze} > ${file}` },
    ]);
    assert.notEqual((await host.exec(['podman', 'container', 'exists', 'stray'])).exitCode, 0);
    await small.requireSound('running');
  });

  it('has an operation that was cut short finished or undone', async () => {
    await killDaemon(host);
    const args = ['snapshots', 'create', '-c', 'small', '--alias', 'cut'];
    const { exitCode } = await forkpoint(host, args, { FORKPOINT_CRASH_AT: 'create/sync' });
    assert.notEqual(exitCode, 0);
    const { report } = await fsck(host);
    assert.deepEqual(kindsOf(report), ['journal.left small'.replace('small', small.id)]);
    await requireRepaired();
    assert.ok(!(await list()).some((one) => one.alias === 'cut'));
    await small.requireSound('running');
  });

  it('says what it means and what is to be done, and refuses what it does not know', async () => {
    await host.run(['chmod', '755', snapshots]);
    const { stdout, exitCode } = await forkpoint(host, ['fsck']);
    assert.equal(exitCode, 1);
    assert.match(stdout, /mode\.open\n {2}Others on this host may read/);
    assert.match(stdout, /1 problem: .*"forkpoint fsck --repair" mends them/);
    const repaired = await forkpoint(host, ['fsck', '--repair']);
    assert.equal(repaired.exitCode, 0, repaired.stdout);
    assert.match(repaired.stdout, /Repaired:\nWHAT .*\n.*mode\.open/);
    assert.equal((await forkpoint(host, ['fsck', '--mend'])).exitCode, 2);
    const asUser = await host.exec(['setpriv', '--reuid=65534', '--clear-groups', 'forkpoint', 'fsck']);
    assert.match(asUser.stderr, /host\.needsRoot/);
  });

  /** Does all the damage with no daemon about, expects each to be found, to be repaired, and nothing to be left. */
  async function requireRepair(damages: readonly Damage[]): Promise<void> {
    // What is deleted still would be damage by itself: nobody goes on with it.
    await until(async () => (await host.run(['ls', `${pool}/trash`])) === '');
    await killDaemon(host);
    const lasting = damages.filter(({ byHand }) => byHand !== undefined);
    try {
      for (const { script } of damages) await host.run(['sh', '-euc', script]);
      const { exitCode, report } = await fsck(host);
      assert.equal(exitCode, 1);
      const missed = damages.filter(
        ({ kind, subject }) =>
          !report.problems.some((one) => one.kind === kind && one.subject.startsWith(subject)),
      );
      assert.deepEqual(missed, [], JSON.stringify(report, null, 1));
      const unexpected = report.problems.filter((one) => !damages.some(({ kind }) => kind === one.kind));
      assert.deepEqual(unexpected, []);
      await requireRepaired(lasting);
    } finally {
      for (const { byHand = '' } of lasting) await host.run(['sh', '-euc', byHand]);
    }
    if (lasting.length > 0) await requireNoDamage(host);
  }

  /** Repairs; what a person must do is found still, and nothing else. */
  async function requireRepaired(byHand: readonly Damage[] = []): Promise<void> {
    const { exitCode, report } = await fsck(host, ['--repair']);
    assert.deepEqual(
      report.problems.map(({ kind, repair }) => `${kind}: ${repair ?? 'by hand'}`).sort(),
      byHand.map(({ kind }) => `${kind}: by hand`).sort(),
      JSON.stringify(report, null, 1),
    );
    assert.equal(exitCode, byHand.length === 0 ? 0 : 1);
  }

  async function flipPages(snapshot: string): Promise<void> {
    const device = (await host.run(['findmnt', '-no', 'SOURCE', pool])).trim();
    const script = readFileSync(ownFile('flipPages.py'), 'utf8');
    await host.run(['python3', '-', `${snapshots}/${snapshot}/memory`, device], { input: script });
  }

  async function startInHost(command: readonly [string, ...string[]]): Promise<void> {
    const [program, ...args] = await host.enterArguments(command);
    children.push(
      spawn(program, args, {
        cwd: enterOptions.cwd,
        env: enterOptions.env,
        stdio: ['pipe', 'ignore', 'ignore'],
      }),
    );
  }

  function run(args: readonly string[]): Promise<unknown> {
    return forkpointJson(host, args);
  }

  async function create(alias: string, mode: 'stateful' | 'stateless'): Promise<void> {
    await run(['snapshots', 'create', '-c', 'small', '--alias', alias, '--mode', mode]);
  }

  async function list(): Promise<Snapshot[]> {
    return z.array(SnapshotSchema).parse(await run(['snapshots', 'list', '-c', 'small']));
  }
});

function isOfMemory(alias: string): boolean {
  return ['missing', 'truncated', 'altered'].includes(alias);
}

function find(all: readonly Snapshot[], alias: string): Snapshot {
  const found = all.find((one) => one.alias === alias);
  assert.ok(found, `there is no "${alias}"`);
  return found;
}

function kindsOf(report: FsckReport): string[] {
  return report.problems.map(({ kind, subject }) => `${kind} ${subject}`);
}

/** A shell command that changes a JSON file by a line of Python, in which it is `record`. */
function editJson(file: string, change: string): string {
  const program = `import json; record = json.load(open("${file}")); ${change}; open("${file}", "w").write(json.dumps(record))`;
  return `python3 -c '${program}'`;
}

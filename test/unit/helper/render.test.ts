import * as assert from 'node:assert/strict';
import { ForkSchema, operations, type Fork, type Result } from '../../../src/protocol/operations.ts';
import {
  SnapshotSchema,
  SnapshotSummarySchema,
  type Snapshot,
  type SnapshotSummary,
} from '../../../src/protocol/snapshot.ts';
import { WorkspaceSchema, type Workspace } from '../../../src/protocol/workspace.ts';
import { render } from '../../../src/helper/doors/cli/render.ts';

const now = Date.parse('2026-03-04T15:00:00Z');

/** A stateful snapshot of half an hour ago, changed as the test wants. */
function snapshot(changes: Partial<Record<keyof Snapshot, unknown>> = {}): Snapshot {
  return SnapshotSchema.parse({
    name: 'snap-20260304-143000',
    alias: 'before-migration',
    note: null,
    createdAt: '2026-03-04T14:30:00Z',
    expiresAt: '2026-03-11T14:30:00Z',
    parent: null,
    isHead: true,
    protected: false,
    stateful: true,
    statelessReason: null,
    kind: 'manual',
    freezeMs: 182.4,
    totalMs: 1234.5,
    memoryBytes: 36 * 1024 ** 2,
    exclusiveBytes: null,
    changedFiles: { added: 1, changed: 2, deleted: 0, first: [{ path: '/etc/a\u202eb', change: 'added' }] },
    capture: {
      kept: [{ pid: 7, name: 'postgres', memoryBytes: 1024 ** 2 }],
      leftOut: [{ pid: 0, name: 'ba\u001b[31msh', memoryBytes: 0, reason: 'started by exec' }],
      listeners: [{ protocol: 'tcp', address: '0.0.0.0:5432' }],
      outsideConnections: [{ local: '10.0.0.2:5000', peer: '192.0.2.1:443' }],
      volumes: [{ name: 'data', path: '/var/lib/data' }],
      nestedSubvolumes: ['/srv/nested'],
      otherMounts: [{ path: '/mnt', type: 'tmpfs', reason: 'not a subvolume' }],
    },
    durable: true,
    ...changes,
  });
}

/** A fork of half an hour's work, changed as the test wants. */
function fork(name: string, changes: Partial<Record<keyof Fork, unknown>> = {}): Fork {
  return ForkSchema.parse({
    name,
    ok: true,
    workspace: workspace({ name }),
    error: null,
    stateful: true,
    origin: {
      workspace: 'ws-000000000001',
      name: 'shop',
      snapshot: 'snap-20260304-143000',
      forkIndex: 1,
      at: '2026-03-04T14:59:00Z',
    },
    hookFailure: null,
    totalMs: 640,
    timing: [],
    ...changes,
  });
}

function workspace(changes: Partial<Record<keyof Workspace, unknown>> = {}): Workspace {
  return WorkspaceSchema.parse({
    id: 'ws-000000000002',
    name: 'shop',
    createdAt: '2026-03-04T14:00:00Z',
    state: 'running',
    head: null,
    headAlias: null,
    headCreatedAt: null,
    snapshotCount: 0,
    generation: 0,
    engine: { kind: 'podman', container: 'forkpoint-shop', id: 'c0ffee' },
    address: '10.88.0.7',
    hostname: 'shop',
    command: [],
    published: [{ hostPort: 49152, containerPort: 8080 }],
    volumes: [],
    rootfs: '/pool/rootfs',
    undo: null,
    operation: null,
    ...changes,
  });
}

describe('what the command line shows', () => {
  it('of a list of snapshots: the head, ages, what they hold, sizes, changes', () => {
    const list = [
      snapshot({
        name: 'snap-20260304-145900',
        alias: null,
        createdAt: '2026-03-04T14:59:00Z',
        expiresAt: null,
        isHead: false,
        protected: true,
        stateful: false,
        kind: 'safety',
        memoryBytes: 0,
        changedFiles: null,
      }),
      snapshot(),
    ].map((each) => SnapshotSummarySchema.parse({ ...each, forks: [] }));
    assert.equal(
      render('snapshots/list', list, now),
      [
        '   NAME                  ALIAS             CREATED         KIND               HOLDS      MEMORY    FILES CHANGED  EXPIRES',
        '   snap-20260304-145900                    1 minute ago    safety, protected  files                               never',
        '●  snap-20260304-143000  before-migration  30 minutes ago  manual             processes  36.0 MiB  3              in 7 days',
      ].join('\n'),
    );
  });

  it('of one snapshot: all of it, with the capture report', () => {
    const text = render('snapshots/show', snapshot(), now);
    for (const line of [
      /^Name +snap-20260304-143000 ● head$/m,
      /^Created +2026-03-0\d \d\d:\d\d:00 [+-]\d\d:\d\d \(30 minutes ago\)$/m,
      /^Holds +files and processes \(36\.0 MiB of memory\), frozen for 182 ms$/m,
      /^Changed +1 files added, 2 changed, 0 deleted$/m,
      /^ {2}added {2}\/etc\/a\\u\{202e\}b$/m,
      /^Kept 1 process:\n {2}7 postgres \(1\.0 MiB\)$/m,
      /^Left out 1 process:\n {2}0 ba\\u\{1b\}\[31msh: started by exec$/m,
      /^Listening:\n {2}tcp 0\.0\.0\.0:5432$/m,
      /^Connections to the outside, which a restore closes:\n {2}10\.0\.0\.2:5000 -> 192\.0\.2\.1:443$/m,
      /^Volumes included:\n {2}data at \/var\/lib\/data$/m,
      /^Nested subvolumes included:\n {2}\/srv\/nested$/m,
      /^Mounts not included:\n {2}\/mnt \(tmpfs\): not a subvolume$/m,
    ]) {
      assert.match(text, line);
    }
  });

  it('of a workspace that something happened to while nobody waited: what, and what to do', () => {
    const args = { workspace: 'shop', name: 'snap-1', safety: 'none' };
    const pool = { path: '/pool', totalBytes: 1, freeBytes: 1, reserveBytes: 0, isLow: false };
    const setback = {
      ...{ code: 'restore.memoryLost', args, detail: 'page 7\u001b[31m is lost' },
      at: '2026-03-04T14:59:00Z',
    };
    for (const text of [
      render('containers/list', [workspace({ setback })], now),
      render('containers/show', { ...workspace({ setback }), pool, diskBytes: null }, now),
    ]) {
      assert.match(text, /\n\nforkpoint: The memory of snapshot "snap-1" could not be read in full /);
      assert.match(text, /\n {2}page 7\\u\{1b\}\[31m is lost\nHint: Restore the safety snapshot/);
    }
    assert.doesNotMatch(render('containers/list', [workspace()], now), /forkpoint:/);
  });

  it('of a snapshot whose changes are not told: why', () => {
    const told = (parent: string | null): string =>
      render('snapshots/show', snapshot({ parent, changedFiles: null }), now);
    assert.match(told(null), /^Changed +nothing to compare with$/m);
    assert.match(told('snap-20260304-142000'), /^Changed +not counted yet$/m);
  });

  it('of a snapshot that lacks the processes of a running workspace: the reason', () => {
    const taken = snapshot({ stateful: false, memoryBytes: 0, statelessReason: 'process 12 uses io_uring' });
    const text = render('snapshots/create', { snapshot: taken, timing: [] }, now);
    assert.match(text, /files alone, without the processes: process 12 uses io_uring/);
    assert.match(text, /Left out 1 process/);
  });

  it('of a preview: what would be lost, and what is not known', () => {
    const preview: Result<'snapshots/preview'> = operations['snapshots/preview'].result.parse({
      snapshot: 'snap-20260304-143000',
      files: null,
      started: Array.from({ length: 12 }, (_, index) => ({
        pid: index,
        name: `job${String(index)}`,
        memoryBytes: 0,
      })),
      ended: [],
      outsideConnections: [{ local: 'a', peer: 'b' }],
      safety: { choice: 'ask', reason: 'it holds 3 GiB', memoryBytes: 3 * 1024 ** 3 },
    });
    const text = render('snapshots/preview', preview, now);
    assert.match(text, /files: not known/);
    assert.match(text, /12 processes started since: job0 \(0\), .*job9 \(9\) and 2 more/);
    assert.match(text, /0 processes ended since/);
    assert.match(text, /1 connection to the outside would close/);
    assert.match(text, /can't hold the processes without being asked: it holds 3 GiB \(3\.0 GiB\)/);
  });

  it('of a fork: what became of it', () => {
    const changes: Result<'containers/changes'> = operations['containers/changes'].result.parse({
      since: 'snap-20260304-143000',
      files: { added: 1, changed: 0, deleted: 0, first: [{ path: '/srv/a', change: 'added' }] },
      started: [{ pid: 7, name: 'job', memoryBytes: 0 }],
      ended: [],
    });
    const text = render('containers/changes', changes, now);
    assert.match(text, /^Since "snap-20260304-143000":/);
    assert.match(text, /added {2}\/srv\/a/);
    assert.match(text, /1 process started since: job \(7\)/);
  });

  it('of forks: each with its address and ports, and why one could not be made or its hook failed', () => {
    const error = { code: 'port.taken', args: { port: 8081 }, detail: null };
    const forks = [
      fork('try-1'),
      fork('try-2', { ok: false, workspace: null, error }),
      fork('try-3', { stateful: false, hookFailure: 'exit 3: no \u001b[31mtoken' }),
    ];
    const [table, ...rest] = render('containers/copy', forks, now).split('\n\n').slice(1);
    assert.equal(
      table,
      [
        'FORK   STATE    BEGAN               ADDRESS    PORTS                    TOOK',
        'try-1  running  with its processes  10.88.0.7  127.0.0.1:49152 -> 8080  640 ms',
        'try-2  failed                                                           640 ms',
        'try-3  running  from its files      10.88.0.7  127.0.0.1:49152 -> 8080  640 ms',
      ].join('\n'),
    );
    assert.match(render('containers/copy', forks, now), /^Forked "shop" from "snap-20260304-143000"\.\n/);
    assert.match(rest.join('\n'), /^forkpoint: .*8081.* \(port\.taken\)\n/);
    assert.match(rest.join('\n'), /on-fork failed in "try-3": exit 3: no \\u\{1b\}\[31mtoken$/);
  });

  it('of a promotion: what took whose place, and how to take it back', () => {
    const promotion: Result<'containers/promote'> = operations['containers/promote'].result.parse({
      workspace: workspace(),
      promoted: 'snap-20260304-150000',
      safety: 'snap-20260304-145959',
      fork: { id: 'ws-000000000002', name: 'try-2' },
      adopted: [],
      stateful: true,
      downMs: 310,
      totalMs: 1520,
      timing: [],
    });
    assert.equal(
      render('containers/promote', promotion, now),
      [
        '"try-2" took the place of "shop" in 1.5 s (down for 310 ms).',
        'Its processes go on.',
        'Its last state and its snapshots are in the timeline of "shop", at "snap-20260304-150000".',
        'The state before is in "snap-20260304-145959": "forkpoint snapshots restore -c shop --name snap-20260304-145959" brings it back.',
      ].join('\n'),
    );
    const cold = { ...promotion, stateful: false, safety: null };
    assert.match(render('containers/promote', cold, now), /started from its files\.\n.*\n.*was not kept\.$/);
  });

  it('of a timeline as a tree: side branches set in, forks below the snapshot that they began as', () => {
    const at = (minute: number, parent: number | null, changes: object = {}): SnapshotSummary =>
      SnapshotSummarySchema.parse({
        ...snapshot({
          name: `snap-20260304-14${String(minute)}00`,
          createdAt: `2026-03-04T14:${String(minute)}:00Z`,
          parent: parent === null ? null : `snap-20260304-14${String(parent)}00`,
          alias: null,
          isHead: false,
        }),
        forks: [],
        ...changes,
      });
    const forks = ['try-1', 'try-2'].map((name, index) => ({
      id: `ws-00000000000${String(index)}`,
      name,
      state: index === 0 ? 'running' : 'stopped',
    }));
    // 10 is the beginning; 20 led to 30, was restored, and led to 40, the head. The parent of 50 is gone.
    const list = [
      at(50, 45, { kind: 'safety', stateful: false }),
      at(40, 20, { isHead: true }),
      at(30, 20),
      at(20, 10, { alias: 'before-migration', forks }),
      at(10, null),
    ];
    assert.equal(
      render('snapshots/list', list, now, { tree: true }),
      [
        '○ snap-20260304-141000, 50 minutes ago, processes',
        '○ snap-20260304-142000 (before-migration), 40 minutes ago, processes',
        '├╴fork "try-1", running',
        '├╴fork "try-2", stopped',
        '│ ○ snap-20260304-143000, 30 minutes ago, processes',
        '● snap-20260304-144000, 20 minutes ago, processes',
        '○ snap-20260304-145000, 10 minutes ago, files, safety',
      ].join('\n'),
    );
  });

  it('of empty lists: what to do', () => {
    assert.match(render('containers/list', [], now), /forkpoint containers create/);
    assert.match(render('snapshots/list', [], now), /forkpoint snapshots create/);
  });
});

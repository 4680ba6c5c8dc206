import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import type { Finding, Report } from '../../../src/helper/fsck/fsck.ts';
import { findingTexts, type Found } from '../../../src/helper/fsck/finding.ts';
import { LostAndFound } from '../../../src/helper/catalogue/lostAndFound.ts';
import { lookAtPool, type PoolLook } from '../../../src/helper/fsck/poolScan.ts';
import type { PoolView } from '../../../src/helper/fsck/poolFiles.ts';
import { Layout } from '../../../src/helper/catalogue/layout.ts';
import { renderReport } from '../../../src/helper/doors/cli/fsckReport.ts';
import { SnapshotNameSchema } from '../../../src/protocol/names.ts';
import { id, snapshotRecord, workspaceRecord } from './poolRecords.ts';

const names = ['snap-20260101-000000', 'snap-20260102-000000', 'snap-20260103-000000'] as const;
const [first, second, third] = names.map((name) => SnapshotNameSchema.parse(name)) as [
  ReturnType<typeof SnapshotNameSchema.parse>,
  ReturnType<typeof SnapshotNameSchema.parse>,
  ReturnType<typeof SnapshotNameSchema.parse>,
];

describe('fsck, of a pool', () => {
  let root: string;
  let layout: Layout;
  let view: PoolView;
  const writable = new Set<string>();

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'forkpoint-fsck-'));
    layout = new Layout(root);
    writable.clear();
    view = {
      layout,
      lost: new LostAndFound(layout, new Date('2026-02-03T04:05:06Z')),
      owner: process.getuid?.() ?? 0,
      bootId: 'boot',
      // What are subvolumes in a pool are directories here, which no test of a unit could make.
      isSubvolume: (directory) =>
        Promise.resolve(/\/(?:rootfs|volumes\/[^/]+|nested\/\d+)$/.test(directory) && existsSync(directory)),
      isReadOnly: (directory) => !writable.has(directory),
      makeReadOnly: (directory) => {
        writable.delete(directory);
        return Promise.resolve();
      },
    };
    for (const part of ['rootfs', 'volumes/data']) make(layout.livePart(id, part));
    put(layout.workspaceRecord(id), workspaceRecord);
    names.forEach((name, index) => makeSnapshot(name, names[index - 1] ?? null));
  });

  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  function make(directory: string): void {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  function put(file: string, content: unknown): void {
    make(path.dirname(file));
    writeFileSync(file, JSON.stringify(content), { mode: 0o600 });
  }

  function makeSnapshot(name: string, parent: string | null): void {
    const directory = path.join(layout.snapshotsOf(id), name);
    for (const part of ['rootfs', 'volumes/data', 'memory', 'nested']) make(path.join(directory, part));
    writeFileSync(path.join(directory, 'memory/a.img'), 'image', { mode: 0o600 });
    put(path.join(directory, 'snapshot.json'), snapshotRecord(name, parent));
  }

  function edit(name: typeof first, change: Record<string, unknown>): void {
    put(layout.snapshotRecord(id, name), { ...read(layout.snapshotRecord(id, name)), ...change });
  }

  function read(file: string): Record<string, unknown> {
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  }

  function keys(look: PoolLook): string[] {
    return look.found.map(({ kind, subject }) => `${kind} ${subject}`);
  }

  /** Finds exactly that, repairs it, and finds nothing. */
  async function requireRepair(...expected: string[]): Promise<void> {
    assert.deepEqual(keys(await lookAtPool(view)).sort(), expected.sort());
    for (let round = 0; round < 3; round++) {
      const mendable = (await lookAtPool(view)).found.filter(({ mend }) => mend !== null);
      for (const { mend } of mendable) await mend?.();
    }
    assert.deepEqual(keys(await lookAtPool(view)), []);
  }

  it('finds nothing in one that is whole', async () => {
    const look = await lookAtPool(view);
    assert.deepEqual(keys(look), []);
    assert.deepEqual([look.workspaces.length, look.snapshots], [1, 3]);
  });

  it('joins a timeline again whose middle has lost its files, and keeps what is left of that', async () => {
    rmSync(layout.snapshotPart(id, second, 'volumes/data'), { recursive: true });
    await requireRepair(`snapshot.filesMissing web/${second}`);
    assert.equal(read(layout.snapshotRecord(id, third))['parent'], first);
    const kept = path.join(layout.lostAndFound(), '20260203-040506', 'snapshots', id, second);
    assert.ok(existsSync(path.join(kept, 'rootfs')));
  });

  it('moves the head with a snapshot that it was at', async () => {
    rmSync(layout.snapshotPart(id, third, 'rootfs'), { recursive: true });
    await requireRepair(`snapshot.filesMissing web/${third}`);
    assert.equal(read(layout.workspaceRecord(id))['head'], second);
  });

  it('cuts a circle at its oldest, and tells of it once', async () => {
    edit(first, { parent: third });
    await requireRepair(`snapshot.parentCycle web/${first}`);
    assert.deepEqual(
      [first, second, third].map((name) => read(layout.snapshotRecord(id, name))['parent']),
      [null, first, second],
    );
  });

  it('follows no circle that a snapshot only leads into', async () => {
    edit(first, { parent: second });
    await requireRepair(`snapshot.parentCycle web/${first}`);
  });

  it('keeps what a later version has written into a record that it changes', async () => {
    edit(second, { parent: 'snap-20250101-000000' });
    await requireRepair(`snapshot.parentMissing web/${second}`);
    assert.equal(read(layout.snapshotRecord(id, second))['added'], 'by a later version');
  });

  it('makes a snapshot of files of one whose memory is damaged, and keeps the images', async () => {
    writeFileSync(path.join(layout.memory(id, first), 'a.img'), 'images');
    await requireRepair(`snapshot.memoryDamaged web/${first}`);
    const { stateful, images, memoryBytes } = read(layout.snapshotRecord(id, first));
    assert.deepEqual([stateful, images, memoryBytes], [false, [], 0]);
    const lost = path.join(layout.lostAndFound(), '20260203-040506');
    assert.ok(existsSync(path.join(lost, 'snapshots', id, first, 'memory/a.img')));
    assert.match(readFileSync(path.join(lost, 'reasons.txt'), 'utf8'), /a\.img" has 6 of 5 bytes/);
  });

  it('trusts memory that was not written to the disk until the host has gone down', async () => {
    edit(first, { durable: false });
    assert.deepEqual(keys(await lookAtPool(view)), []);
    edit(first, { bootId: 'an earlier one' });
    await requireRepair(`snapshot.memoryDamaged web/${first}`);
  });

  it('sees hashes, where there are some', async () => {
    edit(first, { images: [{ name: 'a.img', bytes: 5, sha256: '0'.repeat(64) }] });
    await requireRepair(`snapshot.memoryDamaged web/${first}`);
  });

  it('makes files read-only again', async () => {
    writable.add(layout.snapshotPart(id, first, 'rootfs'));
    await requireRepair(`snapshot.writable web/${first}`);
  });

  it('leaves a workspace alone whose record can not be read, and its snapshots', async () => {
    writeFileSync(layout.workspaceRecord(id), '{');
    const look = await lookAtPool(view);
    assert.deepEqual(keys(look), [`workspace.recordUnreadable workspaces/${id}/workspace.json`]);
    assert.equal(look.found[0]?.mend, null);
  });

  it('has no repair for live files that are gone', async () => {
    rmSync(layout.livePart(id, 'rootfs'), { recursive: true });
    const look = await lookAtPool(view);
    assert.deepEqual(keys(look), ['workspace.filesMissing web']);
    assert.equal(look.found[0]?.mend, null);
  });

  it('puts aside twice what has one name', async () => {
    for (const content of ['one', 'two']) {
      put(path.join(layout.journal(), `${id}.json`), content);
      await requireRepair(`journal.unreadable journal/${id}.json`);
    }
    const lost = path.join(layout.lostAndFound(), '20260203-040506', 'journal');
    assert.deepEqual(
      [`${id}.json`, `${id}.json.2`].map((name) => readFileSync(path.join(lost, name), 'utf8')),
      ['"one"', '"two"'],
    );
  });

  it('takes what a write that was cut short has left for nothing', async () => {
    const journal = path.join(layout.journal(), `${id}.json`);
    make(layout.journal());
    for (const file of [layout.workspaceRecord(id), layout.snapshotRecord(id, first), journal])
      for (const ending of ['draft', 'tmp']) writeFileSync(`${file}.${ending}`, '{', { mode: 0o600 });
    assert.deepEqual(keys(await lookAtPool(view)), []);
  });

  it('takes rights from others, and leaves what is inside workspaces as it is', async () => {
    chmodSync(layout.memory(id, first), 0o750);
    chmodSync(path.join(layout.memory(id, first), 'a.img'), 0o604);
    chmodSync(layout.livePart(id, 'rootfs'), 0o755);
    await requireRepair(
      `mode.open ${layout.memory(id, first)}`,
      `mode.open ${path.join(layout.memory(id, first), 'a.img')}`,
    );
  });

  it('says of every kind that no repair is for what a person can do', () => {
    for (const [kind, { means, repair, advice }] of Object.entries(findingTexts)) {
      assert.ok(means.endsWith('.'), kind);
      assert.equal(repair === null, advice !== '', kind);
    }
  });
});

describe('the report of fsck', () => {
  const empty: Report = {
    workspaces: 1,
    snapshots: 2,
    repaired: [],
    problems: [],
    busy: [],
    lostAndFound: null,
  };

  function finding(kind: Found['kind'], failure: string | null = null): Finding {
    return { kind, subject: 'web/\u001b[2J', problem: 'it is so', ...findingTexts[kind], failure };
  }

  it('is one line where all is well', () => {
    assert.equal(renderReport(empty), 'No problems: 1 workspace and 2 snapshots looked at.\n');
  });

  it('tells what was found, what each kind means, and what becomes of it', () => {
    const text = renderReport({
      ...empty,
      problems: [finding('snapshot.halfMade'), finding('snapshot.halfMade'), finding('mount.left')],
      busy: [id],
      lostAndFound: '/pool/lost+found',
    });
    assert.equal(text.split('It is in no list').length, 2, 'a kind is explained once');
    assert.match(text, /--repair: Moves it to lost\+found/);
    assert.match(text, /By hand: Unmount it/);
    assert.match(text, /3 problems: .*mends 2 of them\.\nNot judged.*ws-0123456789ab\.\n\/pool\/lost\+found/);
    assert.ok(!text.includes('\u001b'), 'a name reaches the terminal as it is');
  });

  it('tells what was repaired, what is still there, and why', () => {
    const text = renderReport({
      ...empty,
      repaired: [finding('snapshot.writable')],
      problems: [finding('trash.full', 'the disk is full')],
    });
    assert.match(
      text,
      /^Repaired:\n.*\n.*snapshot\.writable\n\nStill there:\n.*\n.*the repair failed: the disk is full/,
    );
    assert.ok(!text.includes('--repair" mends'));
  });
});

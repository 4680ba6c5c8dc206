import { chmod, mkdir, stat } from 'node:fs/promises';
import * as path from 'node:path';
import { SnapshotNameSchema, WorkspaceIdSchema } from '../../protocol/names.ts';
import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';
import { JournalEntrySchema, type JournalEntry } from '../catalogue/journal.ts';
import { ROOTFS, volumePart } from '../catalogue/layout.ts';
import { ExpiredNoteSchema, SnapshotRecordSchema, WorkspaceRecordSchema } from '../catalogue/records.ts';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { examineImages } from '../checkpoint/images.ts';
import { exists } from '../subvolumes/btrfs.ts';
import type { Found, FindingKind } from './finding.ts';
import { examineLineage } from './lineage.ts';
import { examineModes } from './modes.ts';
import { changeRecord, namesIn, readRecordFile, type PoolView } from './poolFiles.ts';

/** What one look at the pool has seen. */
export interface PoolLook {
  readonly found: readonly Found[];
  readonly workspaces: readonly WorkspaceRecord[];
  /** The operations that the journal speaks of, and when each was written down, in milliseconds since 1970. */
  readonly journal: readonly { readonly entry: JournalEntry; readonly writtenMs: number }[];
  /** How many snapshots were looked at. */
  readonly snapshots: number;
}

/** Names in the directory of a workspace beside its subvolumes. */
const WORKSPACE_FILES = ['criu.conf', 'lazy-pages.status', 'volumes', 'work', 'workspace.json', ROOTFS];

/** Names in the directory of a snapshot. One that was taken back after its expiry keeps the note of that. */
const SNAPSHOT_FILES = ['expired.json', 'memory', 'nested', 'snapshot.json', 'volumes', ROOTFS];

/** Looks at everything in the pool, and changes nothing. */
export async function lookAtPool(view: PoolView): Promise<PoolLook> {
  const journal = await readJournal(view);
  const workspaces = await readWorkspaces(view);
  const found = [...journal.found, ...workspaces.found];
  let snapshots = 0;
  for (const workspace of workspaces.records) {
    const timeline = await readTimeline(view, workspace);
    snapshots += timeline.records.length;
    found.push(...(await examineWorkspace(view, workspace)), ...timeline.found);
    found.push(...examineLineage(view, workspace, timeline.records));
  }
  found.push(...(await examineOrphans(view, workspaces.directories, journal.entries)));
  found.push(...(await examineExpired(view, workspaces.directories)));
  found.push(...(await examineModes(view)));
  return { found, workspaces: workspaces.records, journal: journal.entries, snapshots };
}

/** Something that is moved to lost+found as it is. */
function stray(
  view: PoolView,
  kind: FindingKind,
  place: string,
  problem: string,
  workspace: WorkspaceId | null,
  subject = path.relative(view.layout.root, place),
): Found {
  const mend = async (): Promise<void> => {
    await view.lost.take(place, problem);
  };
  return { kind, subject, problem, workspace, mend };
}

async function readJournal(
  view: PoolView,
): Promise<{ found: Found[]; entries: { entry: JournalEntry; writtenMs: number }[] }> {
  const directory = view.layout.journal();
  const found: Found[] = [];
  const entries: { entry: JournalEntry; writtenMs: number }[] = [];
  for (const name of await namesIn(directory)) {
    const file = path.join(directory, name);
    // A write that was cut short: the journal has what was there before it.
    if (name.endsWith('.json.tmp') || name.endsWith('.json.draft')) continue;
    const read = await readRecordFile(file, JournalEntrySchema);
    const stats = await stat(file).catch(() => null);
    if (read.kind === 'read' && stats !== null)
      entries.push({ entry: read.record, writtenMs: stats.mtimeMs });
    else if (read.kind === 'unreadable')
      found.push(stray(view, 'journal.unreadable', file, `it can't be read: ${read.problem}`, null));
  }
  return { found, entries };
}

/** `directories`: ids of all that have a directory, readable or not. */
async function readWorkspaces(
  view: PoolView,
): Promise<{ found: Found[]; records: WorkspaceRecord[]; directories: Set<string> }> {
  const { layout } = view;
  const found: Found[] = [];
  const records: WorkspaceRecord[] = [];
  const directories = new Set<string>();
  for (const name of await namesIn(layout.workspaces())) {
    const id = WorkspaceIdSchema.safeParse(name);
    const place = path.join(layout.workspaces(), name);
    if (!id.success) {
      found.push(stray(view, 'entry.unknown', place, 'it is no workspace', null));
      continue;
    }
    directories.add(name);
    const read = await readRecordFile(layout.workspaceRecord(id.data), WorkspaceRecordSchema);
    if (read.kind === 'read') records.push({ ...read.record, id: id.data });
    else if (read.kind === 'missing') {
      found.push(stray(view, 'workspace.recordMissing', place, 'it has no workspace.json', id.data));
    } else {
      found.push({
        kind: 'workspace.recordUnreadable',
        subject: path.relative(layout.root, layout.workspaceRecord(id.data)),
        problem: `it can't be read: ${read.problem}`,
        workspace: id.data,
        mend: null,
      });
    }
  }
  return { found, records, directories };
}

async function examineWorkspace(view: PoolView, workspace: WorkspaceRecord): Promise<Found[]> {
  const { layout } = view;
  const { id } = workspace;
  const found: Found[] = [];
  const volumes = workspace.spec.volumes.map(({ name }) => name);
  for (const part of [ROOTFS, ...volumes.map(volumePart)]) {
    if (await view.isSubvolume(layout.livePart(id, part))) continue;
    const problem = `its live files "${part}" are gone`;
    found.push({
      kind: 'workspace.filesMissing',
      subject: workspace.name,
      problem,
      workspace: id,
      mend: null,
    });
  }
  for (const name of await namesIn(layout.workspace(id))) {
    const place = path.join(layout.workspace(id), name);
    if (name === 'next') {
      const problem = 'no restore is under way';
      found.push(stray(view, 'workspace.leftovers', place, problem, id, `${workspace.name}/next`));
    } else if (!isKnown(WORKSPACE_FILES, name)) {
      found.push(stray(view, 'entry.unknown', place, 'it is no part of the workspace', id));
    }
  }
  for (const name of await namesIn(path.join(layout.workspace(id), 'volumes'))) {
    if (volumes.includes(name)) continue;
    const place = layout.livePart(id, volumePart(name));
    found.push(stray(view, 'entry.unknown', place, 'it is no volume of the workspace', id));
  }
  return found;
}

function isKnown(names: readonly string[], name: string): boolean {
  // Files are written under temporary names first (durableFile.ts), and ones that can't be read are put aside.
  return names.includes(name.replace(/\.(?:draft|tmp|unreadable)$/, ''));
}

async function readTimeline(
  view: PoolView,
  workspace: WorkspaceRecord,
): Promise<{ found: Found[]; records: SnapshotRecord[] }> {
  const { layout } = view;
  const { id } = workspace;
  const found: Found[] = [];
  const records: SnapshotRecord[] = [];
  for (const entry of await namesIn(layout.snapshotsOf(id))) {
    const name = SnapshotNameSchema.safeParse(entry);
    const place = path.join(layout.snapshotsOf(id), entry);
    if (!name.success) {
      found.push(stray(view, 'entry.unknown', place, 'it is no snapshot', id));
      continue;
    }
    const subject = `${workspace.name}/${name.data}`;
    const read = await readRecordFile(layout.snapshotRecord(id, name.data), SnapshotRecordSchema);
    if (read.kind === 'missing') {
      found.push(stray(view, 'snapshot.halfMade', place, 'it has no snapshot.json', id, subject));
    } else if (read.kind === 'unreadable') {
      const problem = `its record can't be read: ${read.problem}`;
      found.push(stray(view, 'snapshot.recordUnreadable', place, problem, id, subject));
    } else {
      const { record } = read;
      if (record.workspace !== id || record.name !== name.data) {
        found.push({
          kind: 'snapshot.misplaced',
          subject,
          problem: `its record says ${record.workspace}/${record.name}`,
          workspace: id,
          mend: () =>
            changeRecord(layout.snapshotRecord(id, name.data), () => ({ workspace: id, name: name.data })),
        });
      }
      const own = { ...record, workspace: id, name: name.data };
      const damage = await examineSnapshot(view, workspace, own);
      found.push(...damage);
      records.push(own);
    }
  }
  return { found, records };
}

async function examineSnapshot(
  view: PoolView,
  workspace: WorkspaceRecord,
  record: SnapshotRecord,
): Promise<Found[]> {
  const { layout } = view;
  const { id } = workspace;
  const { name } = record;
  const subject = `${workspace.name}/${name}`;
  const directory = layout.snapshot(id, name);
  const subvolumes = [
    ...record.parts.map((part) => ({ place: layout.snapshotPart(id, name, part), part })),
    ...record.nested.map((one, index) => ({
      place: path.join(directory, 'nested', String(index)),
      part: `${one.part}/${one.path}`,
    })),
  ];
  const found: Found[] = [];
  for (const { place, part } of subvolumes) {
    if (!(await view.isSubvolume(place))) {
      const problem = `its files "${part}" are gone`;
      // Moved as a whole: one that lacks a part can't be restored, and what it still holds may be the only copy.
      const mend = async (): Promise<void> => {
        await joinChildren(view, record);
        await view.lost.take(directory, problem);
      };
      return [{ kind: 'snapshot.filesMissing', subject, problem, workspace: id, mend }];
    }
    if (view.isReadOnly(place)) continue;
    found.push({
      kind: 'snapshot.writable',
      subject,
      problem: `its files "${part}" are not read-only`,
      workspace: id,
      mend: () => view.makeReadOnly(place),
    });
  }
  found.push(...(await examineStrays(view, workspace, record, directory)));
  if (!record.stateful) return found;
  const images = layout.memory(id, name);
  const problems = await examineImages(images, record.images);
  if (!record.durable && record.bootId !== view.bootId)
    problems.push('the host went down before its memory was written to the disk');
  const [first] = problems;
  if (first === undefined) return found;
  const more = problems.length > 1 ? ` (and ${String(problems.length - 1)} more)` : '';
  found.push({
    kind: 'snapshot.memoryDamaged',
    subject,
    problem: `${first}${more}`,
    workspace: id,
    mend: () => dropMemory(view, record, first),
  });
  return found;
}

/** Subvolumes in the directory of a snapshot that its record does not speak of. */
async function examineStrays(
  view: PoolView,
  workspace: WorkspaceRecord,
  record: SnapshotRecord,
  directory: string,
): Promise<Found[]> {
  const expected = new Set([
    ...record.parts,
    ...record.nested.map((_, index) => path.join('nested', String(index))),
  ]);
  const names = (await namesIn(directory)).filter((name) => !isKnown(SNAPSHOT_FILES, name));
  for (const below of ['volumes', 'nested'])
    names.push(...(await namesIn(path.join(directory, below))).map((name) => path.join(below, name)));
  return names
    .filter((name) => !expected.has(name))
    .map((name) =>
      stray(view, 'entry.unknown', path.join(directory, name), 'it is no part of the snapshot', workspace.id),
    );
}

/** Joins what descends from a snapshot that is about to go to what that came from. */
async function joinChildren(view: PoolView, { workspace, name, parent }: SnapshotRecord): Promise<void> {
  const { layout } = view;
  const rejoin = (field: string) => (record: Readonly<Record<string, unknown>>) =>
    record[field] === name ? { [field]: parent } : {};
  for (const entry of await namesIn(layout.snapshotsOf(workspace))) {
    const child = SnapshotNameSchema.safeParse(entry);
    if (child.success && child.data !== name)
      await changeRecord(layout.snapshotRecord(workspace, child.data), rejoin('parent'));
  }
  await changeRecord(layout.workspaceRecord(workspace), rejoin('head'));
}

/** Makes a snapshot whose images are damaged one of files alone. */
async function dropMemory(view: PoolView, record: SnapshotRecord, problem: string): Promise<void> {
  const { workspace, name } = record;
  const images = view.layout.memory(workspace, name);
  await changeRecord(view.layout.snapshotRecord(workspace, name), () => ({
    stateful: false,
    statelessReason: `its memory was damaged: ${problem}`,
    images: [],
    memoryBytes: 0,
    exclusiveBytes: null,
    imageOrigin: null,
  }));
  await changeRecord(view.layout.workspaceRecord(workspace), ({ undo }) =>
    typeof undo === 'object' && undo !== null && 'safety' in undo && undo.safety === name
      ? { undo: { ...undo, safetyIsStateful: false } }
      : {},
  );
  await view.lost.take(images, problem);
  await mkdir(images, { recursive: true, mode: 0o700 });
  await chmod(images, 0o700);
}

/** Timelines of workspaces that do not exist, and journal entries of which nothing else is left are no damage by themselves. */
async function examineOrphans(
  view: PoolView,
  workspaces: ReadonlySet<string>,
  journal: readonly { entry: JournalEntry }[],
): Promise<Found[]> {
  const { layout } = view;
  const found: Found[] = [];
  for (const name of await namesIn(layout.snapshots())) {
    if (workspaces.has(name)) continue;
    const id = WorkspaceIdSchema.safeParse(name);
    const place = path.join(layout.snapshots(), name);
    if (!id.success) {
      found.push(stray(view, 'entry.unknown', place, 'it is no timeline of a workspace', null));
      continue;
    }
    if (journal.some(({ entry }) => entry.workspace === id.data)) continue;
    const names: SnapshotName[] = (await namesIn(place)).flatMap((one) => {
      const parsed = SnapshotNameSchema.safeParse(one);
      return parsed.success ? [parsed.data] : [];
    });
    // The directory of a timeline outlives its last snapshot.
    if (names.length === 0) continue;
    const problem = `${String(names.length)} snapshots of a workspace that does not exist`;
    found.push(stray(view, 'snapshot.orphan', place, problem, id.data));
  }
  return found;
}

async function examineExpired(view: PoolView, workspaces: ReadonlySet<string>): Promise<Found[]> {
  const { layout } = view;
  const found: Found[] = [];
  for (const owner of await namesIn(layout.expired())) {
    const id = WorkspaceIdSchema.safeParse(owner);
    const place = path.join(layout.expired(), owner);
    if (!id.success) {
      found.push(stray(view, 'entry.unknown', place, 'it is no timeline of a workspace', null));
      continue;
    }
    for (const entry of await namesIn(place)) {
      const directory = path.join(place, entry);
      const [record, note] = await Promise.all([
        readRecordFile(path.join(directory, 'snapshot.json'), SnapshotRecordSchema),
        readRecordFile(path.join(directory, 'expired.json'), ExpiredNoteSchema),
      ]);
      const problem = !workspaces.has(owner)
        ? 'its workspace does not exist'
        : record.kind !== 'read'
          ? 'its snapshot.json is missing or unreadable'
          : note.kind !== 'read'
            ? 'its expired.json is missing or unreadable'
            : !(await exists(path.join(directory, ROOTFS)))
              ? 'its files are gone'
              : null;
      if (problem !== null) found.push(stray(view, 'expired.unreadable', directory, problem, id.data));
    }
  }
  return found;
}

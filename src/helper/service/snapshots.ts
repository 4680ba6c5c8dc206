import { ForkpointError } from '../../protocol/errors.ts';
import type { ForkReference, Snapshot } from '../../protocol/snapshot.ts';
import type { Params, Result } from '../../protocol/operations.ts';
import type { JournalEntry } from '../catalogue/journal.ts';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { forgetSizesNear, measureAfterDelete } from './background.ts';
import type { Parts } from './parts.ts';
import { presentWorkspaces } from './presentWorkspace.ts';
import type { Call } from './services.ts';
import { DAY_MS, presentSnapshot, summarizeSnapshot } from './snapshotRecord.ts';
import { Steps } from './steps.ts';

export async function listSnapshots(
  parts: Parts,
  params: Params<'snapshots/list'>,
): Promise<Result<'snapshots/list'>> {
  const workspace = parts.catalogue.workspace(params.container);
  const forks = await forksOf(parts, workspace);
  return parts.catalogue
    .snapshotsOf(workspace.id)
    .map((record) => summarizeSnapshot(workspace, record, forks.get(record.name) ?? []));
}

/** The workspaces that began as snapshots of this one, by the name of the snapshot. */
async function forksOf(parts: Parts, workspace: WorkspaceRecord): Promise<Map<string, ForkReference[]>> {
  const found = new Map<string, ForkReference[]>();
  const forks = parts.catalogue.allWorkspaces().filter(({ origin }) => origin?.workspace === workspace.id);
  // Most workspaces have none, and then the engine need not be asked.
  const presented = forks.length === 0 ? [] : await presentWorkspaces(parts, forks);
  for (const { id, name, state, origin } of presented) {
    if (origin === null) continue;
    found.set(origin.snapshot, [...(found.get(origin.snapshot) ?? []), { id, name, state }]);
  }
  return found;
}

export function showSnapshot(parts: Parts, params: Params<'snapshots/show'>): Snapshot {
  const workspace = parts.catalogue.workspace(params.container);
  return presentSnapshot(workspace, parts.catalogue.snapshot(workspace, params.name));
}

export function setAlias(parts: Parts, params: Params<'snapshots/alias'>, call: Call): Promise<Snapshot> {
  return edit(parts, params, call, (workspace, record) => {
    const holder = parts.catalogue
      .snapshotsOf(workspace.id)
      .find((one) => one.alias !== null && one.alias === params.alias);
    if (holder && holder.name !== record.name)
      throw new ForkpointError('alias.taken', { alias: String(params.alias), name: holder.name });
    return { alias: params.alias };
  });
}

export function setNote(parts: Parts, params: Params<'snapshots/note'>, call: Call): Promise<Snapshot> {
  return edit(parts, params, call, () => ({ note: params.note === '' ? null : params.note }));
}

export function setExpiry(parts: Parts, params: Params<'snapshots/expiry'>, call: Call): Promise<Snapshot> {
  return edit(parts, params, call, () => ({
    expiresAt:
      params.expiry === null ? null : new Date(parts.now().getTime() + params.expiry * DAY_MS).toISOString(),
  }));
}

export function setProtection(
  parts: Parts,
  params: Params<'snapshots/protect'>,
  isProtected: boolean,
  call: Call,
): Promise<Snapshot> {
  return edit(parts, params, call, () => ({ protected: isProtected }));
}

function edit(
  parts: Parts,
  params: { container: string; name: string },
  call: Call,
  change: (workspace: WorkspaceRecord, record: SnapshotRecord) => Partial<SnapshotRecord>,
): Promise<Snapshot> {
  const { id } = parts.catalogue.workspace(params.container);
  return parts.turns.take(id, call.signal, async () => {
    const workspace = parts.catalogue.workspace(id);
    const record = parts.catalogue.snapshot(workspace, params.name);
    const changed = await parts.catalogue.saveSnapshot({ ...record, ...change(workspace, record) });
    parts.events.changed({ workspace: id, created: null });
    return presentSnapshot(workspace, changed);
  });
}

/** Deletes a snapshot. Its children are joined to its parent first, so the timeline stays whole at every moment. */
export function deleteSnapshot(
  parts: Parts,
  params: Params<'snapshots/delete'>,
  call: Call,
): Promise<Result<'snapshots/delete'>> {
  const { id } = parts.catalogue.workspace(params.container);
  return parts.turns.take(id, call.signal, async () => {
    const workspace = parts.catalogue.workspace(id);
    const record = parts.catalogue.snapshot(workspace, params.name);
    if (record.protected)
      throw new ForkpointError('snapshot.protected', { name: record.alias ?? record.name });
    requireUnpinned(parts, [record]);
    const steps = new Steps('delete', workspace.name, call, parts.log);
    await beginDelete(parts, record, steps);
    return { name: record.name, alias: record.alias, timing: steps.timing };
  });
}

/** Takes back a snapshot that was taken for something which came to nothing; for those who have the workspace's turn. */
export async function removeSnapshotInTurn(
  parts: Parts,
  record: SnapshotRecord,
  call: Pick<Call, 'progress' | 'signal'>,
): Promise<void> {
  const steps = new Steps('delete', parts.catalogue.workspace(record.workspace).name, call, parts.log);
  // Also where that has been cancelled.
  steps.passPointOfNoReturn();
  await beginDelete(parts, record, steps);
}

async function beginDelete(parts: Parts, record: SnapshotRecord, steps: Steps): Promise<void> {
  const entry: JournalEntry = {
    operation: 'delete-snapshot',
    workspace: record.workspace,
    snapshot: record.name,
    startedAt: parts.now().toISOString(),
  };
  await steps.run('journal', () => parts.journal.write(entry));
  await completeDelete(parts, entry, steps);
}

/** The steps of a delete, each of which may have been done before a crash. */
export async function completeDelete(
  parts: Parts,
  entry: Extract<JournalEntry, { operation: 'delete-snapshot' }>,
  steps: Steps,
): Promise<void> {
  const { workspace: id, snapshot: name } = entry;
  steps.passPointOfNoReturn();
  await steps.run('lineage', () => leaveLineage(parts, id, name));
  parts.catalogue.forgetSnapshot(id, name);
  // One rename takes it off the list. Its nested subvolumes are snapshots like the rest.
  await steps.run('trash', () => parts.trash.move(parts.layout.snapshot(id, name), { nestedMayGo: true }));
  await steps.run('close', () => parts.journal.close(entry));
  parts.events.changed({ workspace: id, created: null });
  parts.trash.emptySoon();
  if (parts.catalogue.hasWorkspace(id)) measureAfterDelete(parts, parts.catalogue.workspace(id));
}

/** Joins children, head and undo of a snapshot that is about to go to what remains. */
export async function leaveLineage(
  parts: Parts,
  id: WorkspaceRecord['id'],
  name: SnapshotRecord['name'],
): Promise<void> {
  const all = parts.catalogue.snapshotsOf(id);
  const leaving = all.find((one) => one.name === name);
  if (!leaving) return;
  for (const child of all) {
    if (child.parent === name) await parts.catalogue.saveSnapshot({ ...child, parent: leaving.parent });
  }
  await forgetSizesNear(parts, leaving);
  const workspace = parts.catalogue.workspace(id);
  if (workspace.head === name || workspace.undo?.safety === name) {
    await parts.catalogue.saveWorkspace({
      ...workspace,
      head: workspace.head === name ? leaving.parent : workspace.head,
      undo: workspace.undo?.safety === name ? null : workspace.undo,
    });
  }
}

/** Rejected with `snapshot.inUse` while a lazy restore, of a fork maybe, still reads the images of one of them (H2). */
export function requireUnpinned(parts: Parts, records: readonly SnapshotRecord[]): void {
  for (const record of records) {
    const reader = readerOf(parts, record);
    if (reader === undefined) continue;
    throw new ForkpointError('snapshot.inUse', {
      name: record.alias ?? record.name,
      reason: `the workspace "${reader.name}" still reads its memory from it`,
    });
  }
}

/** The workspace that still reads its memory from a snapshot. */
export function readerOf(parts: Parts, { workspace: id, name }: SnapshotRecord): WorkspaceRecord | undefined {
  return parts.catalogue
    .allWorkspaces()
    .find((one) => one.lazy?.snapshot === name && (one.lazy.source ?? one.id) === id);
}

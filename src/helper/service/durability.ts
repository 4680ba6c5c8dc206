import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { bootId } from '../host/processes.ts';
import { countChangesLater, current, measureLater } from './background.ts';
import type { Parts } from './parts.ts';
import { shareMemoryLater } from './shareMemory.ts';
import { asDurable } from './snapshotRecord.ts';

/**
 * Whatever a snapshot lacks that nobody waits for. First that its memory is on the disk, where a restore or forks from now did
 * not wait for that: until then a power cut leaves of it no more than its files (H9).
 */
export function completeLater(parts: Parts, workspace: WorkspaceRecord, record: SnapshotRecord): void {
  makeDurableLater(parts, record);
  if (record.changedFiles === null) countChangesLater(parts, workspace, record);
  if (record.exclusiveBytes === null) measureLater(parts, workspace);
  shareMemoryLater(parts, workspace, record);
}

/** Not awaited: the images of a large snapshot take seconds to write, and what was woken runs already. */
export function makeDurableLater(parts: Parts, record: SnapshotRecord): void {
  if (isPending(record))
    parts.later(`write ${record.workspace}/${record.name} to the disk`, async () => {
      await parts.subvolumes.sync(parts.layout.root);
      await noteDurable(parts, record);
    });
}

/** For when the daemon ends in order, perhaps with its host: after another boot nobody could tell what was written. */
export async function makeAllDurable(parts: Parts): Promise<void> {
  const pending = parts.catalogue
    .allWorkspaces()
    .flatMap(({ id }) => parts.catalogue.snapshotsOf(id))
    .filter(isPending);
  if (pending.length === 0) return;
  await parts.subvolumes.sync(parts.layout.root);
  for (const record of pending) await noteDurable(parts, record);
}

function isPending(record: SnapshotRecord): boolean {
  return !record.durable && record.bootId === bootId();
}

/** In the workspace's turn, as it is by now; does nothing where it was deleted or written meanwhile. */
function noteDurable(parts: Parts, { workspace: id, name }: SnapshotRecord): Promise<void> {
  return parts.turns.take(id, new AbortController().signal, async () => {
    const record = current(parts, { id }, name);
    if (!record || !isPending(record)) return;
    const durable = await parts.catalogue.saveSnapshot(await asDurable(parts, record));
    shareMemoryLater(parts, parts.catalogue.workspace(id), durable);
  });
}

import { ForkpointError } from '../../protocol/errors.ts';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import type { Parts } from './parts.ts';
import { noteSetback } from './setback.ts';

/** A lazy restore, as the workspace's record has it. */
export type LazyRestoreRecord = NonNullable<WorkspaceRecord['lazy']>;

/** Waits until a lazy restore has read all its pages: a dump before that would leave out what was not read yet (H1). */
export async function waitForLazyRestore(
  parts: Parts,
  workspace: WorkspaceRecord,
  signal: AbortSignal,
): Promise<void> {
  const { lazy } = workspace;
  if (lazy === null) return;
  const isWhole = await parts.lazyPages.ended(workspace.id, lazy, signal);
  if (isWhole) {
    await forget(parts, workspace.id, lazy.pid);
  } else {
    // Its supervisor restores it again when this turn ends.
    throw new ForkpointError('workspace.isRestoredAgain', { workspace: workspace.name });
  }
}

/**
 * Watches a lazy restore to its end; where it ends badly, `restoreAgain` is called (H2). The record speaks of it until then,
 * so that nothing is done with the wreck, and a later daemon knows if this one ends meanwhile.
 */
export function superviseLazyRestore(
  parts: Parts,
  workspace: WorkspaceRecord,
  restoreAgain: (failed: LazyRestoreRecord) => Promise<void>,
): void {
  const { lazy } = workspace;
  if (lazy === null) return;
  parts.meanwhile(`read the memory of ${workspace.name}`, async () => {
    if (await parts.lazyPages.ended(workspace.id, lazy)) {
      // In its turn, like every change of the record.
      await parts.turns.take(workspace.id, new AbortController().signal, () =>
        forget(parts, workspace.id, lazy.pid),
      );
      return;
    }
    if (!parts.catalogue.hasWorkspace(workspace.id)) return;
    logFailure(parts, workspace);
    try {
      await restoreAgain(lazy);
    } catch (error) {
      await parts.turns.take(workspace.id, new AbortController().signal, () =>
        abandon(parts, workspace, lazy, ForkpointError.from(error)),
      );
      throw error;
    }
  });
}

/** What could not be restored again is left as it is, free for whatever its user does next, and they are told. */
async function abandon(
  parts: Parts,
  { id, generation }: WorkspaceRecord,
  lazy: LazyRestoreRecord,
  failure: ForkpointError,
): Promise<void> {
  if (!parts.catalogue.hasWorkspace(id)) return;
  // Somebody has restored it meanwhile.
  if (failure.code === 'operation.cancelled' || parts.catalogue.workspace(id).generation !== generation)
    return;
  const { name, undo } = await giveUpLazyRestore(parts, id);
  await noteSetback(
    parts,
    id,
    // That says itself what became of the files.
    failure.code === 'restore.halfway'
      ? failure
      : new ForkpointError(
          'restore.memoryLost',
          { workspace: name, name: lazy.snapshot, safety: undo?.safety ?? 'none' },
          { detail: [failure.message, failure.detail].filter(Boolean).join('\n'), cause: failure },
        ),
  );
}

/** Ends what still reads memory for a restore that has failed. Answers the workspace, which no longer speaks of it. */
export async function giveUpLazyRestore(parts: Parts, id: WorkspaceId): Promise<WorkspaceRecord> {
  const { lazy, ...record } = parts.catalogue.workspace(id);
  if (lazy !== null) await parts.lazyPages.cancel(lazy);
  return parts.catalogue.saveWorkspace({ ...record, lazy: null });
}

/** Says that a lazy restore failed. */
export function logFailure(parts: Parts, workspace: WorkspaceRecord): void {
  parts.log.error(
    `the memory of ${workspace.name} could not be read in full; its processes were ended, and it is restored again`,
  );
}

async function forget(parts: Parts, id: WorkspaceId, pid: number): Promise<void> {
  if (!parts.catalogue.hasWorkspace(id)) return;
  const record = parts.catalogue.workspace(id);
  if (record.lazy?.pid === pid) await parts.catalogue.saveWorkspace({ ...record, lazy: null });
}

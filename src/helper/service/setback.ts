import type { ForkpointError } from '../../protocol/errors.ts';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import type { Parts } from './parts.ts';

/** Keeps the failure of something that nobody waits for, so that the workspace's user is told of it. */
export async function noteSetback(parts: Parts, id: WorkspaceId, failure: ForkpointError): Promise<void> {
  await parts.catalogue.saveWorkspace({
    ...parts.catalogue.workspace(id),
    setback: { ...failure.toData(), at: parts.now().toISOString() },
  });
  parts.events.changed({ workspace: id, created: null });
}

/** The workspace without what was told of it: its user goes on. */
export async function clearSetback(parts: Parts, id: WorkspaceId): Promise<WorkspaceRecord> {
  // As it is by now: a lazy restore may have been waited for meanwhile, and be over.
  const record = parts.catalogue.workspace(id);
  return record.setback === null ? record : parts.catalogue.saveWorkspace({ ...record, setback: null });
}

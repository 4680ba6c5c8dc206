import { mkdir } from 'node:fs/promises';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { failureText } from '../host/failureText.ts';
import { bootId } from '../host/processes.ts';
import type { Parts } from './parts.ts';

/** Why a snapshot holds files alone after the power went. */
const REASON = 'the host went down before its memory was written to the disk';

/**
 * Makes snapshots of files alone of those whose memory was not on the disk when the host went down (H9): after a power cut
 * their images may be empty or cut short. Their files are on the disk since the subvolumes were snapshotted.
 */
export async function forgetLostMemory(parts: Parts, workspace: WorkspaceRecord): Promise<void> {
  for (const snapshot of parts.catalogue.snapshotsOf(workspace.id)) {
    if (snapshot.durable || snapshot.bootId === bootId()) continue;
    try {
      await forgetMemory(parts, snapshot);
    } catch (error) {
      // A restore refuses its memory until then; it is tried again at the next start.
      parts.log.error(`${snapshot.workspace}/${snapshot.name}, of which ${REASON}: ${failureText(error)}`);
    }
  }
}

/** In this order each step may be repeated: the record says first that there is no memory. */
async function forgetMemory(parts: Parts, snapshot: SnapshotRecord): Promise<void> {
  if (snapshot.stateful) await forgetImages(parts, snapshot);
  const images = parts.layout.memory(snapshot.workspace, snapshot.name);
  await parts.trash.move(images, { nestedMayGo: true });
  await mkdir(images, { recursive: true, mode: 0o700 });
  const workspace = parts.catalogue.workspace(snapshot.workspace);
  await parts.catalogue.saveSnapshot({
    ...parts.catalogue.snapshot(workspace, snapshot.name),
    durable: true,
  });
}

async function forgetImages(parts: Parts, snapshot: SnapshotRecord): Promise<void> {
  parts.log.warn(`${snapshot.workspace}/${snapshot.name} holds files alone from now on: ${REASON}`);
  const workspace = parts.catalogue.workspace(snapshot.workspace);
  if (workspace.undo?.safety === snapshot.name)
    await parts.catalogue.saveWorkspace({
      ...workspace,
      undo: { ...workspace.undo, safetyIsStateful: false },
    });
  await parts.catalogue.saveSnapshot({
    ...snapshot,
    stateful: false,
    statelessReason: REASON,
    images: [],
    imageOrigin: null,
    memoryBytes: 0,
    exclusiveBytes: null,
  });
}

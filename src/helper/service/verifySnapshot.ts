import { ForkpointError } from '../../protocol/errors.ts';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { examineImages } from '../checkpoint/images.ts';
import { incompatibility } from '../checkpoint/imageOrigin.ts';
import { bootId } from '../host/processes.ts';
import { isSubvolume } from '../subvolumes/btrfs.ts';
import { filesOf } from './background.ts';
import { partsOf } from './freeze.ts';
import type { Parts } from './parts.ts';

/**
 * Checks that a snapshot can be restored, before anything is stopped: its subvolumes are there, its images whole, and
 * they fit this kernel, CRIU and processor. Rejected with `snapshot.damaged`, `snapshot.memoryDamaged` or
 * `snapshot.incompatible`.
 */
export async function verifySnapshot(
  parts: Parts,
  workspace: WorkspaceRecord,
  snapshot: SnapshotRecord,
  isStateful: boolean,
): Promise<void> {
  const damaged = (problem: string): ForkpointError =>
    new ForkpointError('snapshot.damaged', { name: snapshot.name, problem });
  const memoryDamaged = (problem: string): ForkpointError =>
    new ForkpointError('snapshot.memoryDamaged', { name: snapshot.name, problem });
  for (const part of partsOf(workspace)) {
    if (!snapshot.parts.includes(part)) throw damaged(`it has no "${part}"`);
  }
  for (const { directory, base } of filesOf(parts, workspace, snapshot)) {
    if (!(await isSubvolume(directory))) throw damaged(`the files of ${base} are missing`);
  }
  if (!isStateful) return;
  if (!snapshot.durable && snapshot.bootId !== bootId()) {
    throw memoryDamaged('the host went down before it was written to the disk');
  }
  const images = parts.layout.memory(snapshot.workspace, snapshot.name);
  const [imageProblem] = await examineImages(images, snapshot.images);
  if (imageProblem !== undefined) throw memoryDamaged(imageProblem);
  const origin = snapshot.imageOrigin;
  const problem = origin && incompatibility(origin, await parts.imageOrigin(workspace.engine.runtime));
  if (problem !== null) throw new ForkpointError('snapshot.incompatible', { name: snapshot.name, problem });
}

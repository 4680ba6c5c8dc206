import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { compareSubvolumes, mergeChanges } from '../subvolumes/sendStream.ts';
import type { FileChanges } from '../../protocol/snapshot.ts';
import * as path from 'node:path';
import { nestedDirectory } from './freeze.ts';
import type { Parts } from './parts.ts';

/** The snapshot's files against those of another of the same workspace, all parts that both have. */
export async function changesBetween(
  parts: Parts,
  workspace: WorkspaceRecord,
  from: SnapshotRecord,
  to: SnapshotRecord,
  signal?: AbortSignal,
): Promise<FileChanges> {
  const pairs = filesOf(parts, workspace, to).flatMap((file) => {
    const before = filesOf(parts, workspace, from).find((one) => one.base === file.base);
    return before ? [{ from: before.directory, to: file.directory, base: file.base }] : [];
  });
  return mergeChanges(
    await Promise.all(pairs.map((pair) => compareSubvolumes(pair.from, pair.to, pair.base, signal))),
  );
}

/** The subvolumes of a snapshot, with the path in the workspace that each stands for, ended by "/". */
export function filesOf(
  parts: Parts,
  workspace: WorkspaceRecord,
  snapshot: SnapshotRecord,
): { directory: string; base: string }[] {
  const base = (part: string): string => {
    const volume = workspace.spec.volumes.find((one) => part === `volumes/${one.name}`);
    return volume ? `${volume.path}/` : '/';
  };
  return [
    ...snapshot.parts.map((part) => ({
      directory: parts.layout.snapshotPart(snapshot.workspace, snapshot.name, part),
      base: base(part),
    })),
    ...snapshot.nested.map((one, index) => ({
      directory: nestedDirectory(parts, snapshot, index),
      base: path.join(base(one.part), one.path, '/'),
    })),
  ];
}

/** Counts the files that differ from the parent, off the request path; never inside the freeze. */
export function countChangesLater(parts: Parts, workspace: WorkspaceRecord, record: SnapshotRecord): void {
  const { parent } = record;
  if (parent === null) return;
  parts.later(`count the changes of ${workspace.id}/${record.name}`, async () => {
    const before = current(parts, workspace, parent);
    if (!before || !current(parts, workspace, record.name)) return;
    const changedFiles = await changesBetween(parts, workspace, before, record);
    await update(parts, workspace, record.name, { changedFiles });
  });
}

/** Measures what {@link measureLater} does, once the kernel has let go of what was just deleted: it counts as shared until then. */
export function measureAfterDelete(parts: Parts, workspace: WorkspaceRecord): void {
  parts.meanwhile(`await the deletion of snapshots of ${workspace.id}`, async () => {
    await parts.trash.emptied();
    try {
      await parts.subvolumes.waitForDeleted(parts.layout.root);
    } finally {
      measureLater(parts, workspace);
    }
  });
}

/**
 * Estimates what deleting each snapshot of the workspace would free where that is not known, off the request path: seconds
 * for large trees (H53). Their parents are measured again: what the workspace has changed since is their own.
 */
export function measureLater(parts: Parts, workspace: WorkspaceRecord): void {
  parts.later(`measure the snapshots of ${workspace.id}`, async () => {
    const all = parts.catalogue.snapshotsOf(workspace.id);
    const unknown = all.filter((one) => one.exclusiveBytes === null);
    const parents = all.filter((one) => unknown.some(({ parent }) => parent === one.name));
    for (const { name } of new Set([...unknown, ...parents])) {
      const record = current(parts, workspace, name);
      if (!record) continue;
      let counted: number;
      try {
        // Memory is its own as long as it was not compared, and need not be counted.
        counted = await parts.subvolumes.exclusiveBytes([
          ...filesOf(parts, workspace, record).map(({ directory }) => directory),
          ...(record.pagesCompared ? [parts.layout.memory(record.workspace, name)] : []),
        ]);
      } catch (error) {
        // It was deleted meanwhile, which is no reason to leave the others.
        if (current(parts, workspace, name) === undefined) continue;
        throw error;
      }
      const exclusiveBytes = counted + (record.pagesCompared ? 0 : record.memoryBytes);
      await update(parts, workspace, name, { exclusiveBytes });
    }
  });
}

/**
 * Forgets what deleting those would free that share most with a snapshot that is about to go: its parent, and the other
 * children of that. What only it shared with one of them is that one's own from then on. To be measured again.
 */
export async function forgetSizesNear(
  parts: Parts,
  { workspace, name, parent }: Pick<SnapshotRecord, 'workspace' | 'name' | 'parent'>,
): Promise<void> {
  for (const one of parts.catalogue.snapshotsOf(workspace)) {
    if (one.name !== name && (one.name === parent || one.parent === parent) && one.exclusiveBytes !== null)
      await parts.catalogue.saveSnapshot({ ...one, exclusiveBytes: null });
  }
}

/** The snapshot as it is by now; undefined once it is gone. */
export function current(
  parts: Parts,
  { id }: Pick<WorkspaceRecord, 'id'>,
  name: string,
): SnapshotRecord | undefined {
  return parts.catalogue.snapshotsOf(id).find((snapshot) => snapshot.name === name);
}

/** Under the workspace's turn: a delete or an edit must not be overwritten. */
export async function update(
  parts: Parts,
  workspace: WorkspaceRecord,
  name: string,
  change: Partial<SnapshotRecord>,
): Promise<void> {
  await parts.turns.take(workspace.id, new AbortController().signal, async () => {
    const record = current(parts, workspace, name);
    if (record) await parts.catalogue.saveSnapshot({ ...record, ...change });
  });
  parts.events.changed({ workspace: workspace.id, created: null });
}

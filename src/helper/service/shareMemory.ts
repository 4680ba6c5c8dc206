import { setTimeout as sleep } from 'node:timers/promises';
import type { SnapshotName } from '../../protocol/names.ts';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { exists } from '../subvolumes/btrfs.ts';
import { current, measureLater, update } from './background.ts';
import type { Parts } from './parts.ts';
import { requireSpace } from './space.ts';

/** Snapshots whose images are smaller are left alone, in bytes: what they have in common is not worth the work. */
const SHARED_FROM_BYTES = 64 * 1024 * 1024;

/** Nothing must have been under way for that long, in milliseconds: one operation often follows another. */
const QUIET_MS = 3_000;
/** How often that is looked at while something is to be done, in milliseconds. */
const LOOK_MS = 1_000;

/**
 * Lets the snapshot share the disk blocks of the memory pages that it has in common with an earlier one, when nothing else
 * is under way. Its images stay as whole as they were, for lazy restores too. It holds no turn: a snapshot that is deleted
 * meanwhile is left.
 */
export function shareMemoryLater(parts: Parts, workspace: WorkspaceRecord, record: SnapshotRecord): void {
  if (!isWorthSharing(record) || record.pagesCompared) return;
  const { name } = record;
  parts.eventually(`share the memory of ${workspace.id}/${name}`, async (signal) => {
    const gone = new Set<SnapshotName>();
    for (;;) {
      await untilQuiet(parts, signal);
      const snapshot = current(parts, workspace, name);
      if (!snapshot || snapshot.pagesCompared) return;
      const earlier = earlierSnapshot(parts, snapshot, gone);
      const shared = earlier === null ? 0 : await share(parts, earlier, snapshot, signal);
      if (shared !== null) {
        await update(parts, workspace, name, { pagesCompared: true });
        if (earlier !== null && shared > 0) await measureAgain(parts, [earlier, snapshot]);
        return;
      }
      if (earlier !== null) gone.add(earlier.name);
    }
  });
}

function isWorthSharing({ stateful, durable, memoryBytes }: SnapshotRecord): boolean {
  return stateful && durable && memoryBytes >= SHARED_FROM_BYTES;
}

/** The one whose memory is most alike: that which it descends from, through forks too, or else the one before it. */
function earlierSnapshot(
  parts: Parts,
  snapshot: SnapshotRecord,
  gone: ReadonlySet<SnapshotName>,
): SnapshotRecord | null {
  const isCandidate = (one: SnapshotRecord): boolean => isWorthSharing(one) && !gone.has(one.name);
  const all = parts.catalogue.snapshotsOf(snapshot.workspace);
  const seen = new Set<SnapshotName>([snapshot.name]);
  for (let name = snapshot.parent; name !== null && !seen.has(name);) {
    seen.add(name);
    const ancestor = all.find((one) => one.name === name);
    if (ancestor && isCandidate(ancestor)) return ancestor;
    name = ancestor?.parent ?? null;
  }
  const { origin } = parts.catalogue.workspace(snapshot.workspace);
  const source =
    origin && parts.catalogue.snapshotsOf(origin.workspace).find((one) => one.name === origin.snapshot);
  const before = all.find((one) => one.createdAt < snapshot.createdAt && isCandidate(one));
  return source && isCandidate(source) ? source : (before ?? null);
}

/** Answers how many bytes are shared, or null when the earlier one is not there any more: there may be another to share with. */
async function share(
  parts: Parts,
  earlier: SnapshotRecord,
  later: SnapshotRecord,
  signal: AbortSignal,
): Promise<number | null> {
  const { layout, pageSharing, log } = parts;
  const from = layout.memory(earlier.workspace, earlier.name);
  const to = layout.memory(later.workspace, later.name);
  const pause = async (): Promise<void> => {
    await untilQuiet(parts, signal);
    await requireSpace(layout.root, 0);
  };
  const images = later.images.map((image) => image.name);
  try {
    const bytes = await pageSharing.share(from, to, images, pause, signal);
    if (bytes === 0) return (await exists(from)) ? 0 : null;
    log.info(
      `snapshot ${later.name} of ${later.workspace} shares ${String(Math.round(bytes / 2 ** 20))} MiB of its memory with ${earlier.name}`,
    );
    return bytes;
  } catch (error) {
    if (!(await exists(to))) return 0;
    if (!(await exists(from))) return null;
    throw error;
  }
}

/** What deleting each of them would free is another number from then on. */
async function measureAgain(parts: Parts, snapshots: readonly SnapshotRecord[]): Promise<void> {
  for (const { workspace: id, name } of snapshots) {
    const workspace = parts.catalogue.allWorkspaces().find((one) => one.id === id);
    if (!workspace) continue;
    await update(parts, workspace, name, { exclusiveBytes: null });
    measureLater(parts, workspace);
  }
}

/**
 * Waits until no operation has been under way for a while, and no lazy restore reads images: both are to have the disk and
 * the processors to themselves. Rejected when `signal` aborts.
 */
async function untilQuiet(parts: Parts, signal: AbortSignal): Promise<void> {
  const isQuiet = (): boolean =>
    parts.turns.idleMs >= QUIET_MS && parts.catalogue.allWorkspaces().every(({ lazy }) => lazy === null);
  while (!isQuiet()) await sleep(LOOK_MS, undefined, { signal });
  signal.throwIfAborted();
}

import { writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { closeOutsideConnections } from '../checkpoint/connections.ts';
import { withCriuLog } from '../checkpoint/criuLog.ts';
import { prepareWork } from '../checkpoint/dump.ts';
import { LAZY_FROM_BYTES } from '../checkpoint/lazyPages.ts';
import { foreignAddresses, writeForeignAddresses } from '../checkpoint/foreignAddresses.ts';
import { writeOptionFile } from '../checkpoint/optionFile.ts';
import { Cgroup } from '../engines/cgroup.ts';
import type { ContainerFacts, PlacedContainer } from '../engines/engine.ts';
import { isProfileLoaded } from '../engines/appArmor.ts';
import { configurationOf, linkImages } from '../engines/podman.ts';
import { poll } from '../host/poll.ts';
import { isRunning } from '../host/processes.ts';
import { exists } from '../subvolumes/btrfs.ts';
import { containerPaths } from './container.ts';
import { nestedDirectory } from './freeze.ts';
import { giveUpLazyRestore, logFailure } from './lazyRestore.ts';
import type { Parts } from './parts.ts';
import type { Steps } from './steps.ts';

/**
 * Clones the files of a snapshot, nested subvolumes included (H4).
 * @param placeOf where each part goes; nothing may be there
 */
export async function cloneFiles(
  parts: Parts,
  from: SnapshotRecord,
  placeOf: (part: string) => string,
): Promise<void> {
  await Promise.all(from.parts.map((part) => clonePart(parts, from, part, placeOf(part))));
}

/** Clones one part of a snapshot. */
export async function clonePart(
  parts: Parts,
  from: SnapshotRecord,
  part: string,
  place: string,
): Promise<void> {
  const nested = from.nested.flatMap((one, index) =>
    one.part === part ? [{ from: nestedDirectory(parts, from, index), path: one.path }] : [],
  );
  await parts.subvolumes.assemble(parts.layout.snapshotPart(from.workspace, from.name, part), place, nested);
}

/** The engine's container, made again where the engine has lost it (H16), and ready to be restored into. */
export async function ensureContainer(parts: Parts, workspace: WorkspaceRecord): Promise<ContainerFacts> {
  // Not quickly: an engine that does not answer must be met before anything is stopped.
  const facts = await parts.engine.facts(workspace);
  if (facts.state === 'running') return facts;
  if (facts.state === 'missing') {
    const engineId = await parts.engine.create(workspace, containerPaths(parts, workspace));
    await parts.catalogue.saveWorkspace({ ...workspace, engine: { ...workspace.engine, id: engineId } });
  }
  const made = facts.state === 'missing' ? await parts.engine.facts(workspace) : facts;
  return ensureReady(parts, workspace, made);
}

/**
 * The container, which does not run, ready to be restored into; its files are in their place.
 * @param sibling a workspace whose container was made from the same specification
 */
export async function ensureReady(
  parts: Parts,
  workspace: WorkspaceRecord,
  facts: ContainerFacts,
  sibling: WorkspaceRecord | null = null,
): Promise<ContainerFacts> {
  if (facts.state === 'missing') return ensureContainer(parts, workspace);
  const isUnderProfile = await isProfileLoaded(facts.appArmorProfile);
  if (isUnderProfile && (await exists(configurationOf(facts)))) return facts;
  const placed = (record: WorkspaceRecord): PlacedContainer => ({
    record,
    directory: parts.layout.workspace(record.id),
  });
  const isLikeSibling =
    isUnderProfile &&
    sibling !== null &&
    (await parts.engine.prepareLike(placed(workspace), placed(sibling)));
  if (!isLikeSibling) await parts.engine.prepareForRestore(workspace);
  return facts;
}

/** How long a process that was killed may take to be gone, with much memory or on a busy host, in milliseconds. */
const ENDING_MS = 2_000;

/** What is to run after a restore. */
interface Wanted {
  /** The processes go on from the snapshot's memory; otherwise the workspace begins from its files. */
  readonly isStateful: boolean;
  /** Otherwise it stays stopped. */
  readonly start: boolean;
}

/**
 * Wakes the processes of a snapshot from their images, or starts the workspace from its files. The snapshot may be
 * another workspace's: its addresses are then walled in (H21).
 */
export async function wake(
  parts: Parts,
  workspace: WorkspaceRecord,
  from: SnapshotRecord,
  wanted: Wanted,
  container: ContainerFacts,
  steps: Steps,
  options: { readonly isLazy: boolean },
): Promise<WorkspaceRecord['lazy']> {
  if (!wanted.start) return null;
  // The record may be from before the container was made again.
  const current = { ...workspace, engine: { ...workspace.engine, id: container.id } };
  const work = parts.layout.work(workspace.id);
  const action = await prepareWork(work, parts.assets.action);
  const optionFile = parts.layout.optionFile(workspace.id);
  if (!wanted.isStateful) {
    await writeOptionFile(optionFile, { kind: 'dump', action });
    await steps.run('start', () => parts.engine.start(current));
    return null;
  }
  // Its host's name, as the kernel tells it, is in the images too.
  await writeFile(path.join(work, 'hostname'), `${workspace.spec.hostname}\n`, { mode: 0o600 });
  await writeForeignAddresses(work, foreignAddresses(from.addresses, workspace.spec.address));
  const images = parts.layout.memory(from.workspace, from.name);
  await linkImages(container.checkpointDirectory, images);
  const { isLazy } = options;
  const directory = path.dirname(container.checkpointDirectory);
  const lazy = isLazy
    ? await steps.run('lazy', () =>
        startLazyPages(parts, workspace, from, { images, work: directory, containerId: container.id }),
      )
    : null;
  const log = parts.criuLog(workspace.id);
  await writeOptionFile(optionFile, { kind: 'restore', action, isLazy, log });
  try {
    await withCriuLog(
      log,
      path.join(directory, 'restore.log'),
      () => steps.run('wake', () => parts.engine.restore(current)),
      (failure, errors) => {
        const detail = [failure.detail, ...errors].filter(Boolean).join('\n');
        return new ForkpointError(failure.code, failure.args, { detail, cause: failure });
      },
    );
  } finally {
    // Left as it is, it would turn the next dump into a page server (H3).
    await writeOptionFile(optionFile, { kind: 'dump', action });
  }
  return lazy;
}

/**
 * Wakes as {@link wake} does, lazily where that pays. A lazy wake that fails is tried again eagerly: its pages may be all
 * that was wrong (H2).
 * @param renewFiles puts other clones of the snapshot's files in their place: some of the processes may have run, and
 * written, without their memory
 */
export async function wakeLazily(
  parts: Parts,
  workspace: WorkspaceRecord,
  from: SnapshotRecord,
  wanted: Wanted,
  container: ContainerFacts,
  steps: Steps,
  renewFiles: () => Promise<void>,
): Promise<WorkspaceRecord['lazy']> {
  const isLazy = wanted.start && wanted.isStateful && from.memoryBytes >= LAZY_FROM_BYTES;
  try {
    return await wake(parts, workspace, from, wanted, container, steps, { isLazy });
  } catch (error) {
    if (!isLazy) throw error;
    logFailure(parts, workspace);
    await giveUpLazyRestore(parts, workspace.id);
    await steps.run('settle', async () => settle(parts, workspace, await parts.engine.facts(workspace)));
    await renewFiles();
    return wake(parts, workspace, from, wanted, container, steps, { isLazy: false });
  }
}

/** Ends what runs of a workspace, `before` or since, and waits until the engine has cleaned up after it (H15). */
export async function settle(
  parts: Parts,
  workspace: WorkspaceRecord,
  before: ContainerFacts,
): Promise<void> {
  const now = before.pid === 0 ? await parts.engine.facts(workspace) : before;
  const left = now.pid === 0 ? Cgroup.findThroughAnyMember(now.id) : Cgroup.find(now.pid, now.id);
  await left?.killAll();
  await parts.engine.settled(workspace, now);
}

/** Recorded before the processes run: after a crash the next dump must know that it has to wait (H1). */
async function startLazyPages(
  parts: Parts,
  workspace: WorkspaceRecord,
  from: SnapshotRecord,
  options: { images: string; work: string; containerId: string },
): Promise<WorkspaceRecord['lazy']> {
  const started = await parts.lazyPages.start(workspace.id, options);
  const lazy = { snapshot: from.name, source: from.workspace, ...started };
  await parts.catalogue.saveWorkspace({ ...parts.catalogue.workspace(workspace.id), lazy });
  return lazy;
}

/** Closes the connections to the outside of a workspace that was just woken, and lets traffic out (H22). */
export async function closeConnections(
  parts: Parts,
  { id }: WorkspaceRecord,
  { pid }: ContainerFacts,
): Promise<void> {
  // It may have ended by itself: a program that runs for a moment only.
  if (pid === 0) return;
  try {
    const isDone = await exists(path.join(parts.layout.work(id), 'connections.closed'));
    await closeOutsideConnections(parts.run, pid, isDone);
  } catch (error) {
    // Its connections ended with it. Where a broken lazy restore has killed it, the supervisor restores again (H2). One that
    // is ending has no namespaces any more before it is gone (do_exit in kernel/exit.c).
    if (!(await poll(() => !isRunning(pid), { everyMs: 5, timeoutMs: ENDING_MS }))) throw error;
  }
}

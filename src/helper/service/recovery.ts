import { readdir } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import { SnapshotNameSchema } from '../../protocol/names.ts';
import type { JournalEntry } from '../catalogue/journal.ts';
import { ROOTFS } from '../catalogue/layout.ts';
import { HELD } from '../catalogue/trash.ts';
import { prepareWork } from '../checkpoint/dump.ts';
import { writeOptionFile } from '../checkpoint/optionFile.ts';
import { Cgroup } from '../engines/cgroup.ts';
import type { ContainerStates } from '../engines/engine.ts';
import { failureText } from '../host/failureText.ts';
import { takeOverCommands } from '../host/leftCommands.ts';
import { exists } from '../subvolumes/btrfs.ts';
import { countChangesLater, measureLater } from './background.ts';
import { undoCreate } from './createSnapshot.ts';
import { concludeCopy, undoCopy } from './fork.ts';
import type { CopyEntry } from './fork.ts';
import { makeDurableLater } from './durability.ts';
import { releaseNetwork } from './freeze.ts';
import { giveUpLazyRestore, logFailure } from './lazyRestore.ts';
import type { Parts } from './parts.ts';
import { completePromotion, isReplaced, undoPromotion } from './promote.ts';
import type { PromoteEntry } from './promote.ts';
import {
  completeRestore,
  concludeRestore,
  isAwake,
  prepareFiles,
  superviseRestore,
  targetOf,
  undoRestore,
} from './restore.ts';
import type { RestoreEntry } from './restore.ts';
import { forgetLostMemory } from './lostMemory.ts';
import { noteSetback } from './setback.ts';
import { shareMemoryLater } from './shareMemory.ts';
import { completeDelete } from './snapshots.ts';
import { Steps, UNATTENDED } from './steps.ts';
import { completeDeleteWorkspace, undoCreateWorkspace } from './workspaces.ts';

/** Finishes or undoes all that an earlier daemon left, whenever and however it ended. Every step may be repeated. */
export async function recover(parts: Parts): Promise<void> {
  parts.gracePeriods.recover();
  await takeOverCommands(parts.log);
  const states = await parts.engine.recover(parts.catalogue.allWorkspaces());
  await parts.staging.clear();
  await parts.hostKeys.clear();
  await thawAll(parts, states);
  for (const workspace of parts.catalogue.allWorkspaces()) await forgetLostMemory(parts, workspace);
  const { entries, unreadable } = await parts.journal.read();
  for (const file of unreadable) parts.log.error(`the journal entry ${file} can't be read; it is left alone`);
  // A promotion is finished or undone by where the restore within it has led.
  const ordered = [...entries].sort(
    (a, b) => Number(a.operation === 'promote') - Number(b.operation === 'promote'),
  );
  for (const entry of ordered) {
    parts.log.warn(`an earlier daemon ended during ${entry.operation} of ${entry.workspace}`);
    try {
      await recoverOne(parts, entry);
    } catch (error) {
      // The others still get their turn; this one is tried again at the next start.
      parts.log.error(`recovery of ${entry.operation} of ${entry.workspace}: ${failureText(error)}`);
      // Who asked for it is not there any more.
      if (entry.operation === 'restore' && parts.catalogue.hasWorkspace(entry.workspace))
        await noteSetback(parts, entry.workspace, ForkpointError.from(error)).catch((problem: unknown) =>
          parts.log.error(failureText(problem)),
        );
    }
  }
  await sweep(parts);
  const workspaces = parts.catalogue.allWorkspaces();
  // First of what is queued: until then a power cut costs them their memory.
  for (const { id } of workspaces)
    for (const snapshot of parts.catalogue.snapshotsOf(id)) makeDurableLater(parts, snapshot);
  for (const workspace of workspaces) {
    superviseRestore(parts, workspace);
    for (const snapshot of parts.catalogue.snapshotsOf(workspace.id)) {
      if (snapshot.changedFiles === null) countChangesLater(parts, workspace, snapshot);
      if (snapshot.exclusiveBytes === null) measureLater(parts, workspace);
    }
    // Oldest first: each shares with one that shares already.
    for (const snapshot of parts.catalogue.snapshotsOf(workspace.id).reverse())
      shareMemoryLater(parts, workspace, snapshot);
  }
  parts.trash.emptySoon();
}

/** Thaws what stands still, for nobody else freezes workspaces, and undoes what a dump that was cut short has left. */
async function thawAll(parts: Parts, states: ContainerStates): Promise<void> {
  for (const workspace of parts.catalogue.allWorkspaces()) {
    const engine = states.get(workspace.engine.container);
    const work = parts.layout.work(workspace.id);
    if (engine?.state === 'running') {
      const cgroup = Cgroup.of(engine.pid, engine.id);
      if (cgroup.isFrozen()) {
        cgroup.thaw();
        parts.log.warn(`${workspace.name} stood still; it was thawed`);
      }
      await releaseNetwork(parts, engine.pid, cgroup);
      // What a lazy restore left would turn the next dump into a page server (H3).
      await writeOptionFile(parts.layout.optionFile(workspace.id), {
        kind: 'dump',
        action: await prepareWork(work, parts.assets.action),
      });
    }
  }
}

async function recoverOne(parts: Parts, entry: JournalEntry): Promise<void> {
  switch (entry.operation) {
    case 'create-workspace':
      return undoCreateWorkspace(parts, entry);
    case 'delete-workspace':
      return completeDeleteWorkspace(
        parts,
        entry,
        new Steps('recover-delete-workspace', entry.workspace, UNATTENDED, parts.log),
      );
    case 'create-snapshot':
      return recoverCreate(parts, entry);
    case 'delete-snapshot':
      return completeDelete(
        parts,
        entry,
        new Steps('recover-delete', entry.workspace, UNATTENDED, parts.log),
      );
    case 'copy':
      return recoverCopy(parts, entry);
    case 'promote':
      return recoverPromote(parts, entry);
    case 'restore':
      return recoverRestore(parts, entry);
  }
}

/** A snapshot exists when its record does; then only the head is left to be moved. */
async function recoverCreate(
  parts: Parts,
  entry: Extract<JournalEntry, { operation: 'create-snapshot' }>,
): Promise<void> {
  if (!(await exists(parts.layout.snapshotRecord(entry.workspace, entry.snapshot))))
    return undoCreate(parts, entry);
  const workspace = parts.catalogue.workspace(entry.workspace);
  const steps = new Steps('recover-create', workspace.name, UNATTENDED, parts.log);
  await steps.run('head', () => parts.catalogue.saveWorkspace({ ...workspace, head: entry.snapshot }));
  await steps.run('close', () => parts.journal.close(entry));
}

async function recoverPromote(parts: Parts, entry: PromoteEntry): Promise<void> {
  if (!isReplaced(parts, entry)) return undoPromotion(parts, entry);
  const steps = new Steps('recover-promote', entry.workspace, UNATTENDED, parts.log);
  await completePromotion(parts, entry, steps);
}

async function recoverCopy(parts: Parts, entry: CopyEntry): Promise<void> {
  if (!entry.isAwake) return undoCopy(parts, entry);
  const record = parts.catalogue.workspace(entry.workspace);
  const steps = new Steps('recover-copy', record.name, UNATTENDED, parts.log);
  await concludeCopy(parts, entry, record, await parts.engine.facts(record), steps);
}

async function recoverRestore(parts: Parts, written: RestoreEntry): Promise<void> {
  if (!written.isPastPointOfNoReturn) return undoRestore(parts, written);
  const workspace = parts.catalogue.workspace(written.workspace);
  const target = targetOf(parts, written);
  // Its memory may have gone with the power since.
  const entry = { ...written, isStateful: written.isStateful && target.stateful };
  const steps = new Steps('recover-restore', workspace.name, UNATTENDED, parts.log);
  const facts = await parts.engine.facts(workspace);
  if (await isAwake(parts, entry, facts)) {
    await concludeRestore(parts, entry, facts, workspace.lazy, steps);
    return;
  }
  const { lazy } = workspace;
  const hasFailed = lazy !== null && (await parts.lazyPages.hasFailed(workspace.id, lazy));
  if (hasFailed) logFailure(parts, workspace);
  await giveUpLazyRestore(parts, workspace.id);
  // The clone that is live may have been written to by the processes that were just woken.
  await steps.run('prepare', () => prepareFiles(parts, workspace, target));
  await completeRestore(parts, entry, facts, steps, performance.now(), hasFailed);
}

/** Removes what no record and no journal entry knows: half-made snapshots, and files put aside by nobody that is left. */
async function sweep(parts: Parts): Promise<void> {
  for (const name of await readdir(parts.layout.trash())) {
    if (name.startsWith(HELD)) await parts.trash.release(path.join(parts.layout.trash(), name));
  }
  for (const { id } of parts.catalogue.allWorkspaces()) {
    const known = new Set(parts.catalogue.snapshotsOf(id).map((one) => String(one.name)));
    const found = await readdir(parts.layout.snapshotsOf(id)).catch(() => []);
    for (const entry of found) {
      const name = SnapshotNameSchema.safeParse(entry);
      if (!name.success || known.has(entry)) continue;
      // One whose record is there but unreadable is a person's work, and left alone.
      if (await exists(parts.layout.snapshotRecord(id, name.data))) continue;
      parts.log.warn(`removing the half-made snapshot ${id}/${entry}`);
      await parts.trash.move(parts.layout.snapshot(id, name.data), { nestedMayGo: true });
    }
    if (!(await exists(parts.layout.livePart(id, ROOTFS))))
      parts.log.error(`the files of workspace ${id} are missing`);
  }
}

import { rename, mkdir, rm } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';
import type { Params, Result } from '../../protocol/operations.ts';
import type { Undo } from '../../protocol/workspace.ts';
import type { JournalEntry } from '../catalogue/journal.ts';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { ROOTFS } from '../catalogue/layout.ts';
import { LostAndFound } from '../catalogue/lostAndFound.ts';
import { HELD } from '../catalogue/trash.ts';
import { Cgroup } from '../engines/cgroup.ts';
import type { ContainerFacts } from '../engines/engine.ts';
import { failureText } from '../host/failureText.ts';
import { together } from '../host/together.ts';
import { exists } from '../subvolumes/btrfs.ts';
import { completeLater } from './durability.ts';
import {
  beginDumping,
  dumpSize,
  makeSnapshotDirectory,
  partsOf,
  prepareFreeze,
  takeFrozen,
  takeStopped,
  whileFrozen,
} from './freeze.ts';
import type { Taken } from './freeze.ts';
import { runRestoreHook } from './hooks.ts';
import { identityOf, keepIdentity } from './identity.ts';
import { giveUpLazyRestore, superviseLazyRestore, waitForLazyRestore } from './lazyRestore.ts';
import type { LazyRestoreRecord } from './lazyRestore.ts';
import type { Parts } from './parts.ts';
import { presentWorkspace } from './presentWorkspace.ts';
import type { Call } from './services.ts';
import { describeSnapshot, freeName, protectMemory } from './snapshotRecord.ts';
import { requireSpace } from './space.ts';
import { Steps, UNATTENDED, round } from './steps.ts';
import { hangUpTerminals } from './terminals.ts';
import { verifySnapshot } from './verifySnapshot.ts';
import {
  cloneFiles,
  clonePart,
  closeConnections,
  ensureContainer,
  ensureReady,
  settle,
  wake,
  wakeLazily,
} from './wake.ts';

/** `auto` keeps the processes in the safety snapshot below this size without asking, in bytes. */
export const SAFETY_LIMIT_BYTES = 2 * 2 ** 30;

/** A restore under way, as the journal has it. */
export type RestoreEntry = Extract<JournalEntry, { operation: 'restore' }>;

/** Puts a workspace back in place; ARCHITECTURE: "How a restore is made". */
export function restoreSnapshot(
  parts: Parts,
  params: Params<'snapshots/restore'>,
  call: Call,
): Promise<Result<'snapshots/restore'>> {
  return restoreInPlace(parts, params, call, null);
}

/** @param failed the lazy restore that this one repeats, if any; eagerly then */
function restoreInPlace(
  parts: Parts,
  params: Params<'snapshots/restore'>,
  call: Call,
  failed: LazyRestoreRecord | null,
): Promise<Result<'snapshots/restore'>> {
  const { id } = parts.catalogue.workspace(params.container);
  return parts.turns.take(id, call.signal, () => restoreInTurn(parts, id, params, call, failed));
}

/** The restore itself, for those who have the workspace's turn. */
export async function restoreInTurn(
  parts: Parts,
  id: WorkspaceId,
  params: Pick<Params<'snapshots/restore'>, 'name' | 'safety' | 'cold'>,
  call: Call,
  failed: LazyRestoreRecord | null = null,
): Promise<Result<'snapshots/restore'>> {
  return parts.engine.whileNetworkIsHeld(() =>
    parts.gracePeriods.shortened(() => restoreInHaste(parts, id, params, call, failed)),
  );
}

async function restoreInHaste(
  parts: Parts,
  id: WorkspaceId,
  params: Pick<Params<'snapshots/restore'>, 'name' | 'safety' | 'cold'>,
  call: Call,
  failed: LazyRestoreRecord | null,
): Promise<Result<'snapshots/restore'>> {
  const workspace = parts.catalogue.workspace(id);
  const target = parts.catalogue.snapshot(parts.catalogue.workspace(failed?.source ?? id), params.name);
  const steps = new Steps('restore', workspace.name, call, parts.log);
  if (failed === null) await steps.run('wait', () => waitForLazyRestore(parts, workspace, call.signal));
  else if (workspace.lazy?.pid !== failed.pid) throw new ForkpointError('operation.cancelled');
  if (target.stateful && !params.cold) parts.engine.expectRestore();
  const restoreOnce = async (): Promise<Result<'snapshots/restore'>> => {
    // Goes on beside all that stops nothing, and is awaited before anything is stopped, or the turn is given up.
    const asked = ensureContainer(parts, workspace);
    asked.catch(() => undefined);
    try {
      const wanted = { ...params, isRepeat: failed !== null };
      return await restoreAsked(parts, workspace, target, wanted, steps, asked);
    } finally {
      await asked.catch(() => undefined);
    }
  };
  try {
    return await restoreOnce();
  } catch (error) {
    if (!(error instanceof SeenOtherwise)) throw error;
    // It has ended or begun by itself while it was looked at. Nothing was stopped.
    return await restoreOnce();
  }
}

/** @param asked what the engine says of the container */
async function restoreAsked(
  parts: Parts,
  workspace: WorkspaceRecord,
  target: SnapshotRecord,
  wanted: Pick<Params<'snapshots/restore'>, 'safety' | 'cold'> & { readonly isRepeat: boolean },
  steps: Steps,
  asked: Promise<ContainerFacts>,
): Promise<Result<'snapshots/restore'>> {
  const isStateful = target.stateful && !wanted.cold;
  await steps.run('verify', () => verifySnapshot(parts, workspace, target, isStateful));
  const facts = await steps.run('inspect', async () => {
    const seen = await parts.engine.factsQuickly(workspace);
    return seen.state === 'running' ? seen : asked;
  });
  const safetyMode = await steps.run('choose', () => chooseSafety(parts, workspace, facts, wanted.safety));
  const startedAt = parts.now();
  const safety = safetyMode === 'none' ? null : await freeName(parts, [workspace], startedAt);
  // A workspace that was stopped when its safety snapshot was taken is stopped again by Undo.
  const start =
    isStateful || !(target.kind === 'safety' && !target.stateful && target.statelessReason === null);
  const entry: RestoreEntry = {
    operation: 'restore',
    workspace: workspace.id,
    snapshot: target.name,
    source: target.workspace,
    safety,
    isStateful,
    start,
    generation: workspace.generation + 1,
    headBefore: workspace.head,
    isRepeat: wanted.isRepeat,
    isPastPointOfNoReturn: false,
    startedAt: startedAt.toISOString(),
  };
  await steps.run('journal', () => parts.journal.write(entry));
  let downFrom: number;
  try {
    // Side by side, so that they share one commit of the pool.
    await together([
      steps.run('prepare', () => prepareFiles(parts, workspace, target)),
      safety === null || facts.state !== 'running'
        ? Promise.resolve()
        : steps.run('flush', () => parts.subvolumes.sync(parts.layout.root)),
    ]);
    await steps.run('ask', async () => requireSame(workspace, facts, await asked));
    downFrom = await leaveState(parts, workspace, facts, entry, safetyMode, steps);
  } catch (error) {
    await undoRestore(parts, entry);
    throw error;
  }
  const completed = await completeRestore(parts, entry, facts, steps, downFrom);
  const { record, facts: factsAfter, downMs, hookFailure } = completed;
  return {
    workspace: await presentWorkspace(parts, record, factsAfter),
    restored: target.name,
    safety,
    stateful: isStateful,
    hookFailure,
    downMs,
    totalMs: steps.totalMs,
    timing: steps.timing,
  };
}

/** What was seen of a container at a glance must be what the engine itself says, or nothing is stopped. */
function requireSame(workspace: WorkspaceRecord, seen: ContainerFacts, said: ContainerFacts): void {
  if (seen.id === said.id && seen.pid === said.pid) return;
  throw new SeenOtherwise('internal', {
    problem: `the engine took "${workspace.name}" for ${said.state}, and it was seen ${seen.state}; it was left as it is`,
  });
}

/** The engine does not say what was seen of a container. */
class SeenOtherwise extends ForkpointError {}

/** The snapshot that a restore goes to. */
export function targetOf(parts: Parts, entry: RestoreEntry): SnapshotRecord {
  const source = parts.catalogue.workspace(entry.source ?? entry.workspace);
  return parts.catalogue.snapshot(source, entry.snapshot);
}

/**
 * All that follows the point of no return, in idempotent steps: recovery runs it again after a crash at any of them.
 * When one fails, the workspace is put back to the state before, and `restore.rolledBack` or `restore.stopped` is thrown.
 * @param downFrom when the state before stood still, on the clock of `performance.now()`
 * @param lazyHasFailed whether an earlier daemon has tried to read the memory lazily, in vain
 */
export async function completeRestore(
  parts: Parts,
  entry: RestoreEntry,
  before: ContainerFacts,
  steps: Steps,
  downFrom: number,
  lazyHasFailed = false,
): Promise<Concluded & { facts: ContainerFacts; downMs: number }> {
  const workspace = parts.catalogue.workspace(entry.workspace);
  const target = targetOf(parts, entry);
  steps.passPointOfNoReturn();
  try {
    await steps.run('settle', () => settle(parts, workspace, before));
    await steps.run('swap', () => swapFiles(parts, workspace, entry));
    // Recovery may have found the container unfit while its files were out of their place.
    const container = await ensureReady(parts, workspace, before);
    const lazy =
      entry.isRepeat || lazyHasFailed
        ? await wake(parts, workspace, target, entry, container, steps, { isLazy: false })
        : await wakeLazily(parts, workspace, target, entry, container, steps, async () => {
            await steps.run('prepare', () => prepareFiles(parts, workspace, target));
            await steps.run('swap', () => swapFiles(parts, workspace, entry));
          });
    const downMs = round(performance.now() - downFrom);
    const facts = entry.start
      ? await parts.engine.factsAwake(workspace, container)
      : { ...container, state: 'stopped' as const, pid: 0 };
    return { ...(await concludeRestore(parts, entry, facts, lazy, steps)), facts, downMs };
  } catch (error) {
    throw await rollBack(parts, entry, steps, error);
  }
}

/** A restore at its end. */
interface Concluded {
  readonly record: WorkspaceRecord;
  /** How the workspace's own hook failed; null when it did well or there is none. */
  readonly hookFailure: string | null;
}

/** What follows once the processes run. Done only as far as an earlier daemon has not done it. */
export async function concludeRestore(
  parts: Parts,
  entry: RestoreEntry,
  facts: ContainerFacts,
  lazy: WorkspaceRecord['lazy'],
  steps: Steps,
): Promise<Concluded> {
  const workspace = parts.catalogue.workspace(entry.workspace);
  const target = targetOf(parts, entry);
  const isMoved = workspace.generation >= entry.generation;
  // Programs inside wait for the network, so nothing is done before that could be done beside it.
  const [record] = await together([
    isMoved
      ? Promise.resolve(workspace)
      : steps.run('head', () => moveHead(parts, workspace, target, entry, lazy)),
    // What has just been started has no connection from before.
    entry.start && entry.isStateful
      ? steps.run('connections', () => closeConnections(parts, workspace, facts))
      : Promise.resolve(),
  ]);
  await steps.run('close', () => finishRestore(parts, record, entry));
  superviseRestore(parts, record);
  parts.events.restored({
    workspace: record.id,
    generation: record.generation,
    restored: target.name,
    safety: entry.safety,
  });
  parts.events.changed({ workspace: record.id, created: entry.safety });
  // Last: the restore stands, however the hook ends.
  const hookFailure = facts.pid === 0 ? null : await runRestoreHook(parts, record, facts, target.name, steps);
  return { record, hookFailure };
}

/**
 * Whether the processes of a restore that a crash cut short run already, so that what they have done since is not thrown
 * away by waking them once more.
 */
export async function isAwake(parts: Parts, entry: RestoreEntry, facts: ContainerFacts): Promise<boolean> {
  const isSwapped = !(await exists(parts.layout.nextPart(entry.workspace, ROOTFS)));
  return isSwapped && facts.state === 'running' && facts.startedAtMs > Date.parse(entry.startedAt);
}

/** Undoes what was prepared before the point of no return. The workspace runs on as it was. */
export async function undoRestore(parts: Parts, entry: RestoreEntry): Promise<void> {
  const { workspace: id, safety } = entry;
  const steps = new Steps('undo-restore', id, UNATTENDED, parts.log);
  await steps.run('files', () =>
    parts.trash.move(path.join(parts.layout.workspace(id), 'next'), { nestedMayGo: true }),
  );
  if (safety !== null) {
    parts.catalogue.forgetSnapshot(id, safety);
    await steps.run('safety', () =>
      parts.trash.move(parts.layout.snapshot(id, safety), { nestedMayGo: true }),
    );
  }
  await steps.run('close', () => parts.journal.close(entry));
  parts.trash.emptySoon();
}

/** Watches a lazy restore; one that ends badly is done again, eagerly (H2), and without a safety snapshot of the wreck. */
export function superviseRestore(parts: Parts, workspace: WorkspaceRecord): void {
  superviseLazyRestore(parts, workspace, async (failed) => {
    const unattended: Call = {
      signal: new AbortController().signal,
      progress: () => undefined,
      partial: () => undefined,
    };
    await restoreInPlace(
      parts,
      { container: workspace.id, name: failed.snapshot, safety: 'none', cold: false },
      unattended,
      failed,
    );
  });
}

/** Which safety snapshot is taken. Rejected with `safety.choiceNeeded` where the user must say (H6). */
async function chooseSafety(
  parts: Parts,
  workspace: WorkspaceRecord,
  facts: ContainerFacts,
  wanted: Params<'snapshots/restore'>['safety'],
): Promise<'stateful' | 'stateless' | 'none'> {
  if (wanted === 'none') return 'none';
  if (facts.state !== 'running') {
    await requireSpace(parts.layout.root, 0);
    return 'stateless';
  }
  const bytes = dumpSize(await Cgroup.of(facts.pid, facts.id).memory());
  await requireSpace(parts.layout.root, wanted === 'stateless' ? 0 : bytes);
  if (wanted === 'auto' && bytes >= SAFETY_LIMIT_BYTES) {
    throw new ForkpointError('safety.choiceNeeded', {
      workspace: workspace.name,
      bytes,
      reason: 'they hold more than 2 GiB of memory',
    });
  }
  return wanted === 'auto' ? 'stateful' : wanted;
}

/** Clones the snapshot's files next to the live ones, so that only renames remain to be done while the workspace is down. */
export async function prepareFiles(
  parts: Parts,
  workspace: WorkspaceRecord,
  target: SnapshotRecord,
): Promise<void> {
  const next = path.join(parts.layout.workspace(workspace.id), 'next');
  await parts.trash.move(next, { nestedMayGo: true });
  await mkdir(path.join(next, 'volumes'), { recursive: true, mode: 0o700 });
  const placeOf = (part: string): string => parts.layout.nextPart(workspace.id, part);
  await cloneFiles(parts, target, placeOf);
  const identity = identityOf(parts, target);
  if (identity.workspace !== workspace.id) await keepIdentity(parts, workspace, placeOf(ROOTFS), identity);
}

/**
 * Takes the safety snapshot and ends the processes without letting one run in between (H5).
 * @returns when they stood still
 */
async function leaveState(
  parts: Parts,
  workspace: WorkspaceRecord,
  facts: ContainerFacts,
  entry: RestoreEntry,
  mode: 'stateful' | 'stateless' | 'none',
  steps: Steps,
): Promise<number> {
  const { safety } = entry;
  const passPointOfNoReturn = async (taken: Taken | null, freezeMs: number): Promise<void> => {
    if (safety !== null && taken !== null) {
      await protectMemory(parts, workspace, safety, taken);
      const record = await describeSnapshot(parts, workspace, taken, {
        name: safety,
        kind: 'safety',
        alias: null,
        note: `Before restoring ${entry.snapshot}`,
        expiry: null,
        createdAt: new Date(entry.startedAt),
        freezeMs,
        totalMs: steps.totalMs,
      });
      await steps.run('record', () => parts.catalogue.saveSnapshot(record));
    }
    await steps.run('decide', () => parts.journal.write({ ...entry, isPastPointOfNoReturn: true }));
    steps.passPointOfNoReturn();
  };
  if (facts.state !== 'running') {
    const downFrom = performance.now();
    if (safety === null) await passPointOfNoReturn(null, 0);
    else {
      await makeSnapshotDirectory(parts, workspace, safety);
      await passPointOfNoReturn(await steps.run('files', () => takeStopped(parts, workspace, safety)), 0);
    }
    return downFrom;
  }
  const cgroup = Cgroup.of(facts.pid, facts.id);
  const action = await prepareFreeze(parts, workspace);
  if (safety !== null) await makeSnapshotDirectory(parts, workspace, safety);
  let downFrom = performance.now();
  await whileFrozen(
    parts,
    workspace,
    cgroup,
    facts.pid,
    steps,
    async (deadlineMs) => {
      const begun =
        safety === null || mode !== 'stateful'
          ? null
          : await beginDumping(parts, workspace, steps, {
              name: safety,
              containerId: facts.id,
              action,
              deadlineMs,
            });
      if (begun === null) await hangUpTerminals(parts, cgroup);
      downFrom = performance.now();
      return begun;
    },
    async (begun) => {
      const taken =
        safety === null || mode === 'none'
          ? null
          : await takeFrozen(parts, workspace, steps, {
              name: safety,
              cgroup,
              initPid: facts.pid,
              begun,
              fallsBack: false,
            }).catch((error: unknown) => {
              throw asChoice(workspace, error);
            });
      await passPointOfNoReturn(taken, round(performance.now() - downFrom));
      await steps.run('kill', () => cgroup.killAll());
    },
  ).catch((error: unknown) => {
    // Killed already: from here on it must be finished, not undone.
    if (!steps.isPast) throw error;
    parts.log.warn(`restore ${workspace.name}: ${failureText(error)}`);
  });
  return downFrom;
}

/** A safety snapshot that can't hold the processes is a question to the user, not a failure (H6). */
function asChoice(workspace: WorkspaceRecord, error: unknown): unknown {
  const failure = ForkpointError.from(error);
  if (failure.code !== 'checkpoint.impossible') return error;
  return new ForkpointError(
    'safety.choiceNeeded',
    { workspace: workspace.name, bytes: 0, reason: String(failure.args['reason']) },
    { detail: failure.detail, cause: error },
  );
}

/** Puts the clones in the place of the live files, which go aside; also after a crash between any two renames. */
async function swapFiles(parts: Parts, workspace: WorkspaceRecord, entry: RestoreEntry): Promise<void> {
  const aside = await asideOf(parts, entry);
  for (const part of partsOf(workspace)) {
    const live = parts.layout.livePart(workspace.id, part);
    const next = parts.layout.nextPart(workspace.id, part);
    const replaced = path.join(aside, part);
    if (!(await exists(next))) continue;
    await mkdir(path.dirname(replaced), { recursive: true, mode: 0o700 });
    if (await exists(live)) {
      // Aside already: what is live is the clone of a restore that a crash cut short, and something may have run in it.
      if (await exists(replaced)) await parts.trash.move(live, { nestedMayGo: true });
      else await rename(live, replaced);
    }
    await rename(next, live);
  }
}

/** Where the replaced files wait: a bin of the trash, which is not emptied before the restore has ended well. */
function asideOf(parts: Parts, entry: RestoreEntry): Promise<string> {
  // The safety snapshot, or the user's word, stands for what is nested in them.
  return parts.trash.bin(`${HELD}${entry.workspace}`, { nestedMayGo: true });
}

/** After a restore of a safety snapshot the workspace descends from what it descended from before. */
async function moveHead(
  parts: Parts,
  workspace: WorkspaceRecord,
  target: SnapshotRecord,
  entry: RestoreEntry,
  lazy: WorkspaceRecord['lazy'],
): Promise<WorkspaceRecord> {
  const safety = entry.safety === null ? null : parts.catalogue.snapshot(workspace, entry.safety);
  const undo: Undo | null = safety && {
    safety: safety.name,
    safetyIsStateful: safety.stateful,
    restored: target.name,
    restoredAt: parts.now().toISOString(),
  };
  return parts.catalogue.saveWorkspace({
    ...workspace,
    head: headAfter(workspace, target),
    generation: workspace.generation + 1,
    // Undo of a restore that had to be repeated goes where it went before.
    undo: entry.isRepeat ? workspace.undo : undo,
    setback: null,
    lazy,
  });
}

function headAfter(workspace: WorkspaceRecord, target: SnapshotRecord): SnapshotName | null {
  // Of a fork, another workspace's snapshot: the fork's own timeline begins after it.
  if (target.workspace !== workspace.id) return workspace.head;
  return target.kind === 'safety' ? target.parent : target.name;
}

/** The replaced files may go, the safety snapshot is written to the disk for good. */
async function finishRestore(parts: Parts, workspace: WorkspaceRecord, entry: RestoreEntry): Promise<void> {
  const safety = entry.safety;
  await rm(path.join(parts.layout.workspace(workspace.id), 'next'), { recursive: true, force: true });
  await parts.trash.release(await asideOf(parts, entry));
  await parts.journal.close(entry);
  if (safety !== null) completeLater(parts, workspace, parts.catalogue.snapshot(workspace, safety));
  parts.trash.emptySoon();
}

/** Puts the state before back: files, and processes where the safety snapshot holds them. Answers the error to be thrown. */
async function rollBack(
  parts: Parts,
  entry: RestoreEntry,
  steps: Steps,
  cause: unknown,
): Promise<ForkpointError> {
  const latest = await giveUpLazyRestore(parts, entry.workspace);
  const workspace = await parts.catalogue.saveWorkspace({
    ...latest,
    head: entry.headBefore,
    // Of a restore that had to be repeated, Undo goes where it went before.
    undo: entry.isRepeat ? latest.undo : null,
  });
  const failure = ForkpointError.from(cause);
  const failedStep = steps.failedStep ?? 'settle';
  const safety = entry.safety === null ? null : parts.catalogue.snapshot(workspace, entry.safety);
  const args = {
    workspace: workspace.name,
    name: entry.snapshot,
    step: failedStep,
    safety: entry.safety ?? 'none',
  };
  const detail = [failure.message, failure.detail].filter(Boolean).join('\n');
  let isBack = false;
  try {
    await steps.run('undo-settle', async () => settle(parts, workspace, await parts.engine.facts(workspace)));
    await steps.run('undo-swap', () => swapBack(parts, workspace, entry, safety));
    isBack = true;
    const facts = await ensureContainer(parts, workspace);
    const wasRunning = safety === null || safety.stateful || safety.statelessReason !== null;
    const undone = { isStateful: safety?.stateful === true, start: wasRunning };
    if (safety) await wake(parts, workspace, safety, undone, facts, steps, { isLazy: false });
    else
      await wake(parts, workspace, targetOf(parts, entry), { isStateful: false, start: true }, facts, steps, {
        isLazy: false,
      });
    if (undone.isStateful)
      await closeConnections(parts, workspace, await parts.engine.factsAwake(workspace, facts));
    await finishRestore(parts, workspace, entry);
    const isWhole = safety !== null && (safety.stateful || safety.statelessReason === null);
    return new ForkpointError(isWhole ? 'restore.rolledBack' : 'restore.stopped', args, { detail, cause });
  } catch (error) {
    const second = ForkpointError.from(error);
    parts.log.error(`restore ${workspace.name}: the way back failed too: ${failureText(error)}`);
    const kept = isBack ? null : (safety?.name ?? (await keepReplaced(parts, entry, second)));
    await finishRestore(parts, workspace, entry).catch((problem: unknown) =>
      parts.log.error(failureText(problem)),
    );
    const details = { detail: [detail, second.message, second.detail].filter(Boolean).join('\n'), cause };
    return kept === null
      ? new ForkpointError('restore.stopped', args, details)
      : new ForkpointError('restore.halfway', { ...args, kept }, details);
  }
}

/** Where no snapshot holds the state before, its files are all that there is of it. Answers where they are now. */
async function keepReplaced(parts: Parts, entry: RestoreEntry, failure: ForkpointError): Promise<string> {
  const aside = await asideOf(parts, entry);
  const place = await new LostAndFound(parts.layout, parts.now()).take(
    aside,
    `what ${entry.workspace} was before a restore to ${entry.snapshot} failed, and the way back, too: ${failure.message}`,
  );
  return place ?? aside;
}

/** The files of a stateful safety snapshot are taken from itself: they hold CRIU's remaps of unlinked files (H11). */
async function swapBack(
  parts: Parts,
  workspace: WorkspaceRecord,
  entry: RestoreEntry,
  safety: SnapshotRecord | null,
): Promise<void> {
  const aside = await asideOf(parts, entry);
  for (const part of partsOf(workspace)) {
    const live = parts.layout.livePart(workspace.id, part);
    const replaced = path.join(aside, part);
    if (safety?.stateful === true) {
      const next = parts.layout.nextPart(workspace.id, part);
      await parts.trash.move(next, { nestedMayGo: true });
      await mkdir(path.dirname(next), { recursive: true, mode: 0o700 });
      await clonePart(parts, safety, part, next);
      if (await exists(live)) await parts.trash.move(live, { nestedMayGo: true });
      await rename(next, live);
    } else if (await exists(replaced)) {
      await parts.trash.move(live, { nestedMayGo: true });
      await rename(replaced, live);
    }
  }
}

import { ForkpointError } from '../../protocol/errors.ts';
import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';
import type { Params, Result } from '../../protocol/operations.ts';
import type { JournalEntry, Move } from '../catalogue/journal.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import { Cgroup } from '../engines/cgroup.ts';
import { completeLater } from './durability.ts';
import {
  beginDumping,
  dumpSize,
  makeSnapshotDirectory,
  prepareFreeze,
  takeFrozen,
  takeStopped,
  whileFrozen,
} from './freeze.ts';
import type { Taken } from './freeze.ts';
import { ownIdentity } from './identity.ts';
import { waitForLazyRestore } from './lazyRestore.ts';
import type { Parts } from './parts.ts';
import { restoreInTurn } from './restore.ts';
import type { Call } from './services.ts';
import { asDurable, describeSnapshot, freeName, protectMemory } from './snapshotRecord.ts';
import { requireUnpinned } from './snapshots.ts';
import { requireSpace } from './space.ts';
import { Steps, UNATTENDED } from './steps.ts';
import { completeDeleteWorkspace } from './workspaces.ts';

/** A promotion under way, as the journal has it. */
export type PromoteEntry = Extract<JournalEntry, { operation: 'promote' }>;

/** The fork stands still until the workspace that it came from has been restored; that may take so much longer, in milliseconds. */
const RESTORE_ALLOWANCE_MS = 300_000;

/**
 * Lets a fork take the place of the workspace that it came from.
 *
 * It is a restore of that workspace to the last state of the fork: a snapshot of the fork is taken, all of the fork's
 * snapshots move to the timeline of the workspace, below the one that the fork began at, and the workspace is restored to
 * the last. So its id, name, address and ports stay, and safety snapshot, Undo, roll-back and recovery are those of every
 * restore. Then the fork is deleted; until then it stands still, and goes on as if nothing had been when the restore fails.
 */
export async function promoteWorkspace(
  parts: Parts,
  params: Params<'containers/promote'>,
  call: Call,
): Promise<Result<'containers/promote'>> {
  const fork = parts.catalogue.workspace(params.container);
  const { origin } = fork;
  const refuse = (problem: string): ForkpointError =>
    new ForkpointError('workspace.isNoFork', { workspace: fork.name, problem });
  if (origin === null) throw refuse('it is not a fork');
  if (!parts.catalogue.hasWorkspace(origin.workspace)) {
    throw refuse(`"${origin.name}", which it came from, is gone`);
  }
  const title = 'containers/promote';
  // Those that hold two turns begin with the elder's, so none waits for another in a ring.
  return parts.turns.take(
    origin.workspace,
    call.signal,
    () =>
      parts.turns.take(
        fork.id,
        call.signal,
        () => promoteInTurn(parts, fork.id, origin.workspace, params, call),
        title,
      ),
    title,
  );
}

async function promoteInTurn(
  parts: Parts,
  id: WorkspaceId,
  originId: WorkspaceId,
  params: Params<'containers/promote'>,
  call: Call,
): Promise<Result<'containers/promote'>> {
  const fork = parts.catalogue.workspace(id);
  const steps = new Steps('promote', fork.name, call, parts.log);
  await steps.run('wait', () => waitForLazyRestore(parts, fork, call.signal));
  requireUnpinned(parts, parts.catalogue.snapshotsOf(id));
  const entry = await planPromotion(parts, fork, parts.catalogue.workspace(originId));
  const last = nameAfter(entry, entry.last);
  await steps.run('journal', () => parts.journal.write(entry));
  const choice = { name: last, safety: params.safety, cold: params.cold };
  const outcome: { restored: Result<'snapshots/restore'> | null; problem: unknown } = {
    restored: null,
    problem: null,
  };
  try {
    await takeLast(parts, fork, entry, params, steps, async () => {
      await steps.run('adopt', () => adoptSnapshots(parts, entry));
      outcome.restored = await restoreInTurn(parts, originId, choice, call);
    });
  } catch (error) {
    outcome.problem = error;
  }
  if (!isReplaced(parts, entry)) {
    await undoPromotion(parts, entry);
    throw outcome.problem;
  }
  await completePromotion(parts, entry, steps);
  const { restored } = outcome;
  if (restored === null) throw outcome.problem;
  return {
    workspace: restored.workspace,
    promoted: last,
    safety: restored.safety,
    fork: { id, name: fork.name },
    adopted: entry.moves.map(({ to }) => to),
    stateful: restored.stateful,
    downMs: restored.downMs,
    totalMs: steps.totalMs,
    timing: [...steps.timing, ...restored.timing],
  };
}

/** Decides how everything will be called, so that it can be done and undone by the journal alone. */
async function planPromotion(
  parts: Parts,
  fork: WorkspaceRecord,
  origin: WorkspaceRecord,
): Promise<PromoteEntry> {
  const startedAt = parts.now();
  const last = await freeName(parts, [fork, origin], startedAt);
  const begin = fork.origin?.snapshot;
  const theirs = parts.catalogue.snapshotsOf(origin.id);
  const root = theirs.some(({ name }) => name === begin) ? (begin ?? null) : null;
  const ours = parts.catalogue.snapshotsOf(fork.id).reverse();
  const names = new Map<SnapshotName, SnapshotName>();
  for (const { name, createdAt } of ours) {
    const isFree = !theirs.some((one) => one.name === name) && name !== last;
    const chosen = isFree
      ? name
      : await freeName(parts, [fork, origin], new Date(createdAt), [last, ...names.values()]);
    names.set(name, chosen);
  }
  const aliases = new Set(theirs.map(({ alias }) => alias));
  const parentAfter = (parent: SnapshotName | null): SnapshotName | null =>
    (parent === null ? null : names.get(parent)) ?? root;
  const moves: Move[] = ours.map(({ name, alias, parent }) => ({
    from: name,
    to: names.get(name) ?? name,
    aliasBefore: alias,
    // An alias names one snapshot of a timeline; the elder one keeps it.
    alias: aliases.has(alias) ? null : alias,
    parentBefore: parent,
    parent: parentAfter(parent),
  }));
  moves.push({
    from: last,
    to: last,
    aliasBefore: null,
    alias: null,
    parentBefore: fork.head,
    parent: parentAfter(fork.head),
  });
  return {
    operation: 'promote',
    workspace: fork.id,
    origin: origin.id,
    last,
    moves,
    startedAt: startedAt.toISOString(),
  };
}

/**
 * Takes the last state of the fork, and has `replace` done while it stands still; then it is killed without running again,
 * so nothing that it does is lost unseen (H5).
 */
async function takeLast(
  parts: Parts,
  fork: WorkspaceRecord,
  entry: PromoteEntry,
  params: Params<'containers/promote'>,
  steps: Steps,
  replace: () => Promise<void>,
): Promise<void> {
  const record = async (taken: Taken, frozenAt: number): Promise<void> => {
    await protectMemory(parts, fork, entry.last, taken);
    await steps.run('sync', () => parts.subvolumes.sync(parts.layout.root));
    const described = await describeSnapshot(parts, fork, taken, {
      name: entry.last,
      kind: 'manual',
      alias: null,
      note: `The fork "${fork.name}" when it was promoted`,
      expiry: null,
      createdAt: new Date(entry.startedAt),
      freezeMs: frozenAt === 0 ? 0 : Math.round(performance.now() - frozenAt),
      totalMs: steps.totalMs,
    });
    const durable = await asDurable(parts, described);
    await steps.run('record', () => parts.catalogue.saveSnapshot(durable));
  };
  const facts = await steps.run('inspect', () => parts.engine.facts(fork));
  await makeSnapshotDirectory(parts, fork, entry.last);
  if (facts.state !== 'running') {
    await requireSpace(parts.layout.root, 0);
    await record(await steps.run('files', () => takeStopped(parts, fork, entry.last)), 0);
    return replace();
  }
  const cgroup = Cgroup.of(facts.pid, facts.id);
  await requireSpace(parts.layout.root, params.cold ? 0 : dumpSize(await cgroup.memory()));
  const action = await prepareFreeze(parts, fork);
  await steps.run('flush', () => parts.subvolumes.sync(parts.layout.root));
  const name = entry.last;
  await whileFrozen(
    parts,
    fork,
    cgroup,
    facts.pid,
    steps,
    async (deadlineMs) =>
      params.cold
        ? null
        : beginDumping(parts, fork, steps, { name, containerId: facts.id, action, deadlineMs }),
    async (begun) => {
      const frozenAt = performance.now();
      const taken = await takeFrozen(parts, fork, steps, {
        name,
        cgroup,
        initPid: facts.pid,
        begun,
        fallsBack: false,
      });
      await record(taken, frozenAt);
      await replace();
      await steps.run('kill', () => cgroup.killAll());
    },
    RESTORE_ALLOWANCE_MS,
  );
}

/** Whether the origin runs in the fork's last state, which decides whether a promotion is finished or undone. */
export function isReplaced(parts: Parts, entry: PromoteEntry): boolean {
  return parts.catalogue.workspace(entry.origin).head === nameAfter(entry, entry.last);
}

/** Joins the fork's snapshots to the timeline of its origin. May be repeated. */
async function adoptSnapshots(parts: Parts, entry: PromoteEntry): Promise<void> {
  const bears = ownIdentity(parts.catalogue.workspace(entry.workspace));
  for (const { from, to, alias, parent } of entry.moves) {
    await parts.catalogue.moveSnapshot(
      { workspace: entry.workspace, name: from },
      { workspace: entry.origin, name: to },
      (record) => ({ alias, parent, identity: record.identity ?? bears }),
    );
  }
}

/** Gives the fork its snapshots back, and lets it go on. May be repeated; the fork was thawed before or is about to be. */
export async function undoPromotion(parts: Parts, entry: PromoteEntry): Promise<void> {
  const { workspace: id, last } = entry;
  const steps = new Steps('undo-promote', id, UNATTENDED, parts.log);
  await steps.run('snapshots', async () => {
    for (const move of entry.moves) {
      await parts.catalogue.moveSnapshot(
        { workspace: entry.origin, name: move.to },
        { workspace: id, name: move.from },
        ({ identity }) => ({
          alias: move.aliasBefore,
          parent: move.parentBefore,
          identity: identity?.workspace === id ? null : identity,
        }),
      );
    }
  });
  parts.catalogue.forgetSnapshot(id, last);
  await steps.run('last', () => parts.trash.move(parts.layout.snapshot(id, last), { nestedMayGo: true }));
  await steps.run('close', () => parts.journal.close(entry));
  parts.events.changed({ workspace: entry.origin, created: null });
  parts.events.changed({ workspace: id, created: null });
  parts.trash.emptySoon();
}

/** What remains once the origin runs in the fork's state: the fork is no workspace of its own any more. May be repeated. */
export async function completePromotion(parts: Parts, entry: PromoteEntry, steps: Steps): Promise<void> {
  steps.passPointOfNoReturn();
  await steps.run('heirs', async () => {
    for (const one of parts.catalogue.allWorkspaces()) {
      if (one.origin?.workspace !== entry.workspace) continue;
      const snapshot = nameAfter(entry, one.origin.snapshot);
      await parts.catalogue.saveWorkspace({
        ...one,
        origin: { ...one.origin, workspace: entry.origin, snapshot },
      });
    }
  });
  await completeDeleteWorkspace(parts, { ...entry, operation: 'delete-workspace' }, steps);
  const origin = parts.catalogue.workspace(entry.origin);
  for (const { to } of entry.moves) completeLater(parts, origin, parts.catalogue.snapshot(origin, to));
}

function nameAfter(entry: PromoteEntry, name: SnapshotName): SnapshotName {
  return entry.moves.find(({ from }) => from === name)?.to ?? name;
}

import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import { NameSchema, WorkspaceIdSchema } from '../../protocol/names.ts';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { Fork, Params, Result } from '../../protocol/operations.ts';
import type { Origin, PublishedPort } from '../../protocol/workspace.ts';
import type { JournalEntry } from '../catalogue/journal.ts';
import { ROOTFS } from '../catalogue/layout.ts';
import { SCHEMA } from '../catalogue/records.ts';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { prepareWork } from '../checkpoint/dump.ts';
import { together } from '../host/together.ts';
import { writeOptionFile } from '../checkpoint/optionFile.ts';
import type { ContainerFacts } from '../engines/engine.ts';
import { containerPaths } from './container.ts';
import { completeLater } from './durability.ts';
import { takeSnapshotInTurn } from './createSnapshot.ts';
import { runForkHook } from './hooks.ts';
import { giveNewIdentity, identityOf, newHostKeys, reloadSshServers } from './identity.ts';
import type { Parts } from './parts.ts';
import { presentWorkspace } from './presentWorkspace.ts';
import { choosePorts } from './publishedPorts.ts';
import { superviseRestore } from './restore.ts';
import type { Call } from './services.ts';
import { removeSnapshotInTurn } from './snapshots.ts';
import { requireSpace } from './space.ts';
import { Steps, UNATTENDED } from './steps.ts';
import { verifySnapshot } from './verifySnapshot.ts';
import { cloneFiles, closeConnections, ensureReady, wakeLazily } from './wake.ts';
import { CREATING, containerName, hostnameOf, macOf, requireFreeName, takenAddresses } from './workspaces.ts';

/** A fork being made, as the journal has it. */
export type CopyEntry = Extract<JournalEntry, { operation: 'copy' }>;

/** How many forks are made at the same time; each starts programs of the engine. */
const SIDE_BY_SIDE = 4;

/**
 * Makes independent workspaces from one snapshot. The original's turn is held until all of them are awake, so that the
 * snapshot stays; it runs on but for the freeze of a snapshot that is taken now. One fork that fails does not
 * fail the others; one that was asked for alone is rejected with its failure.
 */
export function copyWorkspace(
  parts: Parts,
  params: Params<'containers/copy'>,
  call: Call,
): Promise<Result<'containers/copy'>> {
  const { id } = parts.catalogue.workspace(params.container);
  return parts.turns.take(
    id,
    call.signal,
    async () => {
      const names = namesOf(params);
      for (const name of names) requireFreeName(parts, name);
      const snapshot = await snapshotToFork(parts, id, params, call);
      let isForked = false;
      try {
        const original = parts.catalogue.workspace(id);
        const isStateful = snapshot.stateful && !params.cold;
        if (isStateful) parts.engine.expectRestore();
        await verifySnapshot(parts, original, snapshot, isStateful);
        await requireSpace(parts.layout.root, 0);
        const plans = names.map((name, index): Plan => ({
          name,
          isStateful,
          publish: params.publish.map((port) => ({ ...port, hostPort: port.hostPort + index })),
          project: params.targetProject ?? original.project,
          origin: {
            workspace: id,
            name: original.name,
            snapshot: snapshot.name,
            forkIndex: index + 1,
            at: parts.now().toISOString(),
          },
        }));
        const forks = await parts.gracePeriods.shortened(() =>
          eachSideBySide(plans, (plan) => makeFork(parts, original, snapshot, plan, call)),
        );
        isForked = forks.some((fork) => fork.ok);
        const [only] = forks;
        if (forks.length === 1 && only?.error) throw ForkpointError.from(only.error);
        if (call.signal.aborted && !isForked) throw new ForkpointError('operation.cancelled');
        return forks;
      } finally {
        if (params.snapshot === undefined) {
          // Taken for them alone, it would stay although nothing is said to have been done.
          if (!isForked) await removeSnapshotInTurn(parts, snapshot, call);
          else completeLater(parts, parts.catalogue.workspace(id), snapshot);
        }
      }
    },
    'containers/copy',
  );
}

/** What a fork is to be. */
interface Plan {
  readonly name: string;
  readonly isStateful: boolean;
  readonly publish: readonly PublishedPort[];
  readonly project: string | null;
  readonly origin: Origin;
}

function namesOf({ name, count }: Params<'containers/copy'>): string[] {
  if (count === 1) return [name];
  const names = Array.from({ length: count }, (_, index) => `${name}-${String(index + 1)}`);
  for (const one of names) {
    if (!NameSchema.safeParse(one).success) throw new ForkpointError('name.invalid', { name: one });
  }
  return names;
}

/** The snapshot that was named, or one taken now. */
async function snapshotToFork(
  parts: Parts,
  id: WorkspaceId,
  params: Params<'containers/copy'>,
  call: Call,
): Promise<SnapshotRecord> {
  if (params.snapshot === undefined) {
    const note = `Where ${params.count === 1 ? `the fork "${params.name}"` : `${String(params.count)} forks "${params.name}"`} began`;
    const mode = params.cold ? 'stateless' : 'auto';
    const { snapshot } = await takeSnapshotInTurn(
      parts,
      id,
      { mode, kind: 'manual', numbered: false, note },
      call,
      { isWokenAtOnce: true },
    );
    return parts.catalogue.snapshot(parts.catalogue.workspace(id), snapshot.name);
  }
  return parts.catalogue.snapshot(parts.catalogue.workspace(id), params.snapshot);
}

/** Makes one fork, or nothing of it. Never rejected: its failure is part of the answer. */
async function makeFork(
  parts: Parts,
  original: WorkspaceRecord,
  snapshot: SnapshotRecord,
  plan: Plan,
  call: Call,
): Promise<Fork> {
  const steps = new Steps('copy', plan.name, call, parts.log);
  const outcome = { name: plan.name, stateful: plan.isStateful, origin: plan.origin };
  const id = WorkspaceIdSchema.parse(`ws-${randomBytes(6).toString('hex')}`);
  const entry: CopyEntry = {
    operation: 'copy',
    workspace: id,
    isAwake: false,
    startedAt: parts.now().toISOString(),
  };
  const done = { ...entry, isAwake: true };
  try {
    const { made, facts, hookFailure } = await parts.turns.take(
      id,
      call.signal,
      async () => {
        const decideFork = async (): ReturnType<typeof wakeFork> => {
          const woken = await wakeFork(parts, original, snapshot, plan, entry, steps);
          // A cancellation that came in the last step before is heeded here.
          await steps.run('decide', () => parts.journal.write(done));
          return woken;
        };
        const { record, facts } = await decideFork().catch(async (error: unknown) => {
          await undoCopy(parts, entry);
          throw error;
        });
        steps.passPointOfNoReturn();
        const hookFailure = await concludeCopy(parts, done, record, facts, steps);
        return { made: parts.catalogue.workspace(id), facts, hookFailure };
      },
      'containers/copy',
    );
    return {
      ...outcome,
      ok: true,
      // After its turn, so that it is not said to be under way still.
      workspace: await presentWorkspace(parts, made, facts),
      error: null,
      hookFailure,
      totalMs: steps.totalMs,
      timing: steps.timing,
    };
  } catch (error) {
    const failure = asForkFailure(original, plan, call, error);
    return {
      ...outcome,
      ok: false,
      workspace: null,
      error: failure.toData(),
      hookFailure: null,
      totalMs: steps.totalMs,
      timing: steps.timing,
    };
  }
}

function asForkFailure(original: WorkspaceRecord, plan: Plan, call: Call, error: unknown): ForkpointError {
  if (call.signal.aborted) return new ForkpointError('operation.cancelled');
  const failure = ForkpointError.from(error);
  if (failure.code !== 'command.failed' && failure.code !== 'internal') return failure;
  return new ForkpointError(
    'workspace.forkFailed',
    { name: plan.name, workspace: original.name },
    { detail: [failure.message, failure.detail].filter(Boolean).join('\n'), cause: error },
  );
}

/** All up to the moment when the fork runs, cut off from the outside connections of its original. */
async function wakeFork(
  parts: Parts,
  original: WorkspaceRecord,
  snapshot: SnapshotRecord,
  plan: Plan,
  entry: CopyEntry,
  steps: Steps,
): Promise<{ record: WorkspaceRecord; facts: ContainerFacts }> {
  const id = entry.workspace;
  // Begun first, for nothing else may take as long.
  const hostKeys = newHostKeys(parts, snapshot);
  hostKeys.catch(() => undefined);
  const reserved = await parts.turns.take(CREATING, new AbortController().signal, async () => {
    await steps.run('journal', () => parts.journal.write(entry));
    return steps.run('reserve', () => reserve(parts, original, plan, id));
  });
  const live = (part: string): string => parts.layout.livePart(id, part);
  const cloneAll = (): Promise<void> => steps.run('files', () => cloneFiles(parts, snapshot, live));
  const identify = (): Promise<void> =>
    steps.run('identity', async () =>
      giveNewIdentity(reserved, live(ROOTFS), identityOf(parts, snapshot), await hostKeys),
    );
  await cloneAll();
  await writeOptionFile(parts.layout.optionFile(id), {
    kind: 'dump',
    action: await prepareWork(parts.layout.work(id), parts.assets.action),
  });
  const makeContainer = async (): Promise<{ record: WorkspaceRecord; container: ContainerFacts }> => {
    const engineId = await steps.run('container', () =>
      parts.engine.create(reserved, containerPaths(parts, reserved)),
    );
    const record = await parts.catalogue.saveWorkspace({
      ...reserved,
      engine: { ...reserved.engine, id: engineId },
    });
    const facts = await parts.engine.factsQuickly(record);
    const container = plan.isStateful
      ? await steps.run('prepare', () => ensureReady(parts, record, facts, original))
      : facts;
    return { record, container };
  };
  // Side by side: new host keys take as long as a container, in which nothing of the workspace runs before it is woken.
  const [, { record, container }] = await together([identify(), makeContainer()]);
  const wanted = { isStateful: plan.isStateful, start: true };
  const lazy = await wakeLazily(parts, record, snapshot, wanted, container, steps, async () => {
    for (const part of snapshot.parts) await parts.trash.move(live(part), { nestedMayGo: true });
    await cloneAll();
    await identify();
  });
  const woken = await parts.catalogue.saveWorkspace({ ...record, lazy });
  const facts = await parts.engine.factsAwake(woken, container);
  if (plan.isStateful) {
    await steps.run('connections', async () => {
      await closeConnections(parts, woken, facts);
      await reloadSshServers(parts, facts);
    });
  }
  return { record: woken, facts };
}

/** Gives the fork its place in the catalogue: from here on its name, address and ports are nobody else's. */
async function reserve(
  parts: Parts,
  original: WorkspaceRecord,
  plan: Plan,
  id: WorkspaceId,
): Promise<WorkspaceRecord> {
  requireFreeName(parts, plan.name);
  const published = await choosePorts(parts, plan.publish, original.spec.published);
  await mkdir(path.join(parts.layout.workspace(id), 'volumes'), { recursive: true, mode: 0o700 });
  return parts.catalogue.saveWorkspace({
    schema: SCHEMA,
    id,
    name: plan.name,
    createdAt: parts.now().toISOString(),
    head: null,
    generation: 0,
    undo: null,
    setback: null,
    project: plan.project,
    origin: plan.origin,
    lazy: null,
    engine: { ...original.engine, ...containerName(plan.name).engine, id: '' },
    spec: {
      ...original.spec,
      hostname: hostnameOf(plan.name),
      address: await parts.engine.freeAddress(takenAddresses(parts)),
      mac: macOf(id),
      published,
    },
  });
}

/** What follows once the fork is awake; after a crash again, so the hook may run twice. Answers how the hook failed. */
export async function concludeCopy(
  parts: Parts,
  entry: CopyEntry,
  record: WorkspaceRecord,
  facts: ContainerFacts,
  steps: Steps,
): Promise<string | null> {
  const hookFailure = facts.pid === 0 ? null : await runForkHook(parts, record, facts, steps);
  await steps.run('close', () => parts.journal.close(entry));
  superviseRestore(parts, parts.catalogue.workspace(record.id));
  parts.events.changed({ workspace: null, created: null });
  return hookFailure;
}

/** Removes all that was made of a fork. Every step may have been done before. */
export async function undoCopy(parts: Parts, entry: CopyEntry): Promise<void> {
  const id = entry.workspace;
  const steps = new Steps('undo-copy', id, UNATTENDED, parts.log);
  if (parts.catalogue.hasWorkspace(id)) {
    const record = parts.catalogue.workspace(id);
    await steps.run('container', async () => {
      if (record.lazy !== null) await parts.lazyPages.cancel(record.lazy);
      await parts.engine.remove(record);
    });
    parts.catalogue.forgetWorkspace(id);
  }
  await steps.run('files', () => parts.trash.move(parts.layout.workspace(id), { nestedMayGo: true }));
  await steps.run('close', () => parts.journal.close(entry));
  parts.events.changed({ workspace: null, created: null });
  parts.trash.emptySoon();
}

/** Runs `work` for all, some at a time; the answers are in the order of what was asked. */
async function eachSideBySide<T, R>(all: readonly T[], work: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const pending = [...all.entries()];
  const worker = async (): Promise<void> => {
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
      results[next[0]] = await work(next[1]);
    }
  };
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, worker));
  return results;
}

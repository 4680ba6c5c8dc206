import { ForkpointError } from '../../protocol/errors.ts';
import { NAME_PATTERN } from '../../protocol/names.ts';
import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';
import type { Params, Result } from '../../protocol/operations.ts';
import type { JournalEntry } from '../catalogue/journal.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import { Cgroup } from '../engines/cgroup.ts';
import { failureText } from '../host/failureText.ts';
import { together } from '../host/together.ts';
import { completeLater } from './durability.ts';
import {
  beginDumping,
  dumpDeadline,
  dumpSize,
  findNested,
  makeSnapshotDirectory,
  prepareFreeze,
  takeFrozen,
  takeStopped,
  whileFrozen,
} from './freeze.ts';
import type { Taken } from './freeze.ts';
import { waitForLazyRestore } from './lazyRestore.ts';
import type { Parts } from './parts.ts';
import { canCopyMemoryAhead, copyMemoryAhead, joinPreDumps } from './preDump.ts';
import type { Call } from './services.ts';
import { asDurable, describeSnapshot, freeName, presentSnapshot, protectMemory } from './snapshotRecord.ts';
import { requireSpace } from './space.ts';
import { Steps, UNATTENDED } from './steps.ts';

type CreateEntry = Extract<JournalEntry, { operation: 'create-snapshot' }>;

/** Takes a snapshot; ARCHITECTURE: "How a stateful snapshot is made". */
export function createSnapshot(
  parts: Parts,
  params: Params<'snapshots/create'>,
  call: Call,
): Promise<Result<'snapshots/create'>> {
  const { id } = parts.catalogue.workspace(params.container);
  return parts.turns.take(
    id,
    call.signal,
    () => takeSnapshotInTurn(parts, id, params, call),
    'snapshots/create',
  );
}

/**
 * The snapshot itself, for those who have the workspace's turn.
 * @param isWokenAtOnce somebody waits for forks of it: it is there as soon as can be, though its processes may stand still for
 * longer, and the caller has it completed once they are awake; see completeLater()
 */
export async function takeSnapshotInTurn(
  parts: Parts,
  id: WorkspaceId,
  params: Omit<Params<'snapshots/create'>, 'container'>,
  call: Call,
  { isWokenAtOnce = false }: { isWokenAtOnce?: boolean } = {},
): Promise<Result<'snapshots/create'>> {
  const workspace = parts.catalogue.workspace(id);
  const steps = new Steps('create', workspace.name, call, parts.log);
  const alias = chooseAlias(parts, workspace, params);
  await steps.run('wait', () => waitForLazyRestore(parts, workspace, call.signal));

  const createdAt = parts.now();
  const name = await freeName(parts, [workspace], createdAt);
  const entry: CreateEntry = {
    operation: 'create-snapshot',
    workspace: id,
    snapshot: name,
    startedAt: createdAt.toISOString(),
  };
  try {
    const { taken, freezeMs, isOnDisk, afterThaw } = await parts.gracePeriods.shortened(() =>
      takeLive(parts, workspace, steps, entry, params.mode, isWokenAtOnce),
    );
    steps.passPointOfNoReturn();
    if (afterThaw !== null)
      await steps.run(afterThaw, () => AFTER_THAW[afterThaw](parts, workspace, name, taken.isStateful));
    await protectMemory(parts, workspace, name, taken);
    if (!isOnDisk && !isWokenAtOnce) await steps.run('sync', () => parts.subvolumes.sync(parts.layout.root));
    const described = await describeSnapshot(parts, workspace, taken, {
      name,
      kind: params.kind,
      alias,
      note: params.note ?? null,
      expiry: params.expiry ?? null,
      createdAt,
      freezeMs,
      totalMs: steps.totalMs,
    });
    const isDurable = isOnDisk || !isWokenAtOnce;
    const record = isDurable ? await asDurable(parts, described) : described;
    await steps.run('record', () => parts.catalogue.saveSnapshot(record));
    const moved = await steps.run('head', () =>
      // As it is by now: a lazy restore was waited for before.
      parts.catalogue.saveWorkspace({ ...parts.catalogue.workspace(id), head: name, setback: null }),
    );
    await steps.run('close', () => parts.journal.close(entry));
    if (!isWokenAtOnce) completeLater(parts, moved, record);
    parts.events.changed({ workspace: id, created: name });
    return { snapshot: presentSnapshot(moved, record), timing: steps.timing };
  } catch (error) {
    await undoCreate(parts, entry);
    throw error;
  }
}

/** Moves what a dump has written to where it stays; if it has failed, there is nothing worth it. */
async function moveImages(
  parts: Parts,
  { id, name: workspace }: WorkspaceRecord,
  name: SnapshotName,
  isStateful: boolean,
): Promise<void> {
  if (!isStateful) return parts.staging.discard(id, name);
  try {
    await parts.staging.move(id, name, parts.layout.memory(id, name));
  } catch (error) {
    const reason = `its memory images could not be written to the pool (${failureText(error)})`;
    throw new ForkpointError('checkpoint.torn', { workspace, reason }, { cause: error });
  }
}

/** The step that makes of a dump's images those of a snapshot once the processes run again, by its name. */
const AFTER_THAW = { move: moveImages, join: joinPreDumps };

/** Removes what a failed or interrupted create has made. The workspace was thawed before. */
export async function undoCreate(parts: Parts, entry: CreateEntry): Promise<void> {
  const steps = new Steps('undo-create', entry.workspace, UNATTENDED, parts.log);
  await steps.run('images', () => parts.staging.discard(entry.workspace, entry.snapshot));
  parts.catalogue.forgetSnapshot(entry.workspace, entry.snapshot);
  // The live subvolumes are untouched, and all in here are snapshots of them.
  await steps.run('files', () =>
    parts.trash.move(parts.layout.snapshot(entry.workspace, entry.snapshot), { nestedMayGo: true }),
  );
  await steps.run('close', () => parts.journal.close(entry));
  parts.trash.emptySoon();
}

/** Takes the workspace as it is: frozen while it runs, at rest otherwise. The intent is written before anything is made. */
async function takeLive(
  parts: Parts,
  workspace: WorkspaceRecord,
  steps: Steps,
  entry: CreateEntry,
  mode: 'auto' | 'stateful' | 'stateless',
  isWokenAtOnce: boolean,
): Promise<{
  taken: Taken;
  freezeMs: number;
  isOnDisk: boolean;
  /** Null where the images are in their place already, or there are none. */
  afterThaw: keyof typeof AFTER_THAW | null;
}> {
  const { snapshot: name } = entry;
  const facts = await steps.run('inspect', () => parts.engine.factsQuickly(workspace));
  if (facts.state !== 'running') {
    if (mode === 'stateful') {
      throw new ForkpointError('checkpoint.impossible', {
        workspace: workspace.name,
        reason: 'the workspace is not running',
      });
    }
    await requireSpace(parts.layout.root, 0);
    // The look takes a program's time, the intent the disk's.
    const nested = findNested(parts, workspace);
    nested.catch(() => undefined);
    await steps.run('journal', () => parts.journal.write(entry));
    await makeSnapshotDirectory(parts, workspace, name);
    const taken = await steps.run('files', () => takeStopped(parts, workspace, name, nested));
    // btrfs commits within the call that makes a snapshot, its source's files written (fs/btrfs/ioctl.c, create_snapshot).
    return { taken, freezeMs: 0, isOnDisk: true, afterThaw: null };
  }
  const cgroup = Cgroup.of(facts.pid, facts.id);
  const bytes = mode === 'stateless' ? 0 : dumpSize(await cgroup.memory());
  await requireSpace(parts.layout.root, bytes);
  await steps.run('journal', () => parts.journal.write(entry));
  const action = await steps.run('prepare', async () => {
    await makeSnapshotDirectory(parts, workspace, name);
    return prepareFreeze(parts, workspace);
  });
  const flush = (): Promise<void> => parts.subvolumes.sync(parts.layout.root);
  const isCopiedAhead = await canCopyMemoryAhead(parts, bytes);
  // What is left after it was copied ahead is little, and refers to that by its place in the pool.
  const [, staged] = await steps.run('flush', () =>
    together([
      flush(),
      isCopiedAhead ? Promise.resolve(null) : parts.staging.reserve(workspace.id, name, bytes, isWokenAtOnce),
    ]),
  );
  const containerId = facts.id;
  const { value: taken, freezeMs } = await whileFrozen(
    parts,
    workspace,
    cgroup,
    facts.pid,
    steps,
    async (deadlineMs) => {
      if (mode === 'stateless') return null;
      const parent = isCopiedAhead
        ? await steps.run('pre-dump', () =>
            copyMemoryAhead(parts, workspace, { name, containerId, deadlineMs, flush }),
          )
        : null;
      return beginDumping(parts, workspace, steps, {
        name,
        containerId,
        action,
        parent,
        staged,
        deadlineMs,
      });
    },
    (begun) =>
      takeFrozen(parts, workspace, steps, {
        name,
        cgroup,
        initPid: facts.pid,
        begun,
        fallsBack: mode === 'auto',
      }),
    isCopiedAhead ? 2 * dumpDeadline(bytes) : 0,
  );
  const afterThaw = isCopiedAhead ? 'join' : staged === null ? null : 'move';
  return { taken, freezeMs, isOnDisk: false, afterThaw };
}

/** The alias to be given: free, or with the first number that makes it free. Rejected with `alias.taken`. */
function chooseAlias(
  parts: Parts,
  workspace: WorkspaceRecord,
  params: Pick<Params<'snapshots/create'>, 'alias' | 'numbered'>,
): string | null {
  if (params.alias === undefined) return null;
  const taken = new Map(
    parts.catalogue.snapshotsOf(workspace.id).map((snapshot) => [snapshot.alias, snapshot.name]),
  );
  const holder = taken.get(params.alias);
  if (holder === undefined) return params.alias;
  if (!params.numbered) throw new ForkpointError('alias.taken', { alias: params.alias, name: holder });
  for (let number = 2; ; number++) {
    const suffix = `-${String(number)}`;
    const candidate = params.alias.slice(0, 64 - suffix.length) + suffix;
    if (!taken.has(candidate) && NAME_PATTERN.test(candidate)) return candidate;
  }
}

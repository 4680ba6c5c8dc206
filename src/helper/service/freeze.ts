import { mkdir, rm } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import type { SnapshotName } from '../../protocol/names.ts';
import { ROOTFS, volumePart } from '../catalogue/layout.ts';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { readLiveState } from '../checkpoint/capture.ts';
import type { LiveState } from '../checkpoint/capture.ts';
import { beginDump, dump, prepareWork, writePlan } from '../checkpoint/dump.ts';
import type { BegunDump, DumpOptions, PlannedSnapshot } from '../checkpoint/dump.ts';
import { requireUntraced } from '../checkpoint/preflight.ts';
import { startWatchdog } from '../checkpoint/watchdog.ts';
import type { Cgroup, CgroupMemory } from '../engines/cgroup.ts';
import { together } from '../host/together.ts';
import { exists } from '../subvolumes/btrfs.ts';
import type { Parts } from './parts.ts';
import { round } from './steps.ts';
import type { Steps } from './steps.ts';
import { hangUpTerminals } from './terminals.ts';

/** A freeze may last that long, and longer for each GiB of memory, before the watchdog ends it. In milliseconds. */
const BASE_DEADLINE_MS = 30_000;
const DEADLINE_MS_PER_GIB = 20_000;

/** How many subvolumes are snapshotted at a time. */
const TAKEN_TOGETHER = 8;

/** What was taken of a workspace while it stood still, or while it was stopped. */
export interface Taken {
  readonly isStateful: boolean;
  readonly statelessReason: string | null;
  readonly nested: SnapshotRecord['nested'];
  readonly live: LiveState | null;
}

/** The workspace's subvolumes, as the parts of a snapshot. */
export function partsOf(record: WorkspaceRecord): string[] {
  return [ROOTFS, ...record.spec.volumes.map((volume) => volumePart(volume.name))];
}

/** Memory that a dump of the cgroup would hold, in bytes. */
export function dumpSize({ anonymous, shared, swapped }: CgroupMemory): number {
  return anonymous + shared + swapped;
}

/** How long a dump of so many bytes may take, in milliseconds. */
export function dumpDeadline(bytes: number): number {
  return Math.round(BASE_DEADLINE_MS + (bytes / 2 ** 30) * DEADLINE_MS_PER_GIB);
}

/** Where a snapshot keeps a nested subvolume. */
export function nestedDirectory(
  parts: Parts,
  snapshot: Pick<SnapshotRecord, 'workspace' | 'name'>,
  index: number,
): string {
  return path.join(parts.layout.snapshot(snapshot.workspace, snapshot.name), 'nested', String(index));
}

/** Makes the directories of a snapshot; it doesn't exist before its `snapshot.json` does. */
export async function makeSnapshotDirectory(
  parts: Parts,
  record: WorkspaceRecord,
  name: SnapshotName,
): Promise<void> {
  const directory = parts.layout.snapshot(record.id, name);
  for (const below of ['memory', 'volumes', 'nested']) {
    await mkdir(path.join(directory, below), { recursive: true, mode: 0o700 });
  }
}

/**
 * Runs `work` while all processes of the workspace stand still. They are thawed at its end, whatever happens: in the
 * `finally`, by the watchdog, or by the next start of the daemon. Rejected with `checkpoint.torn` when the watchdog
 * had to act, so that nothing taken meanwhile is trusted.
 * @param begin done before, under the watchdog's eye while they still run: starts the dump, if there is to be one
 * @param allowanceMs how much longer than a dump it all may take, in milliseconds
 * @returns what `work` returned, and for how long they stood still, in milliseconds
 */
export async function whileFrozen<T>(
  parts: Parts,
  record: WorkspaceRecord,
  cgroup: Cgroup,
  initPid: number,
  steps: Steps,
  begin: (deadlineMs: number) => Promise<Begun | null>,
  work: (begun: Begun | null) => Promise<T>,
  allowanceMs = 0,
): Promise<{ value: T; freezeMs: number }> {
  const deadlineMs = dumpDeadline(dumpSize(await cgroup.memory()));
  const watchdog = await steps.run('watch', () =>
    startWatchdog({
      script: parts.assets.watchdog,
      work: parts.layout.work(record.id),
      cgroup,
      initPid,
      deadlineMs: deadlineMs + allowanceMs,
    }),
  );
  let frozenAt = performance.now();
  let freezeMs: number;
  let value: T;
  let begun: Begun | null = null;
  try {
    begun = await begin(deadlineMs);
    // As late as that: whoever is attached sees nothing of what comes before.
    if (begun !== null) await hangUpTerminals(parts, cgroup);
    frozenAt = performance.now();
    await steps.run('freeze', () => cgroup.freeze());
    value = await work(begun);
  } finally {
    await begun?.dump.abandon();
    cgroup.thaw();
    freezeMs = round(performance.now() - frozenAt);
    const wasLeftAlone = await watchdog.dismiss();
    if (!wasLeftAlone) {
      // oxlint-disable-next-line no-unsafe-finally -- a torn freeze outweighs whatever else went wrong
      throw new ForkpointError('checkpoint.torn', {
        workspace: record.name,
        reason: 'it took longer than the freeze may last, and the workspace was thawed',
      });
    }
  }
  return { value, freezeMs };
}

/** A dump that waits for the freeze, and what it was begun with. */
export interface Begun {
  readonly dump: BegunDump;
  readonly options: DumpOptions;
}

/**
 * Starts to dump a workspace that runs yet.
 * @param given `parent`: pre-dumps to build upon, if there are any; `staged`: where to write the images first, if not where they
 * stay; `action`: from {@link prepareFreeze}
 */
export async function beginDumping(
  parts: Parts,
  record: WorkspaceRecord,
  steps: Steps,
  given: {
    name: SnapshotName;
    containerId: string;
    action: string;
    parent?: string | null;
    staged?: string | null;
    deadlineMs: number;
  },
): Promise<Begun> {
  const { layout, run } = parts;
  const options = {
    workspace: record.name,
    runtime: record.engine.runtime,
    containerId: given.containerId,
    images: given.staged ?? layout.memory(record.id, given.name),
    work: layout.work(record.id),
    optionFile: layout.optionFile(record.id),
    log: parts.criuLog(record.id),
    action: given.action,
    parent: given.parent ?? null,
    deadlineMs: given.deadlineMs,
  };
  return { dump: await steps.run('begin', () => beginDump(run, options)), options };
}

/**
 * Takes memory and files of a frozen workspace into the snapshot's directory.
 * @param options `begun`: the dump; null takes the files alone. `fallsBack`: where it turns out to be impossible, the files
 * alone are taken, with the reason; rejected with `checkpoint.impossible` otherwise
 */
export async function takeFrozen(
  parts: Parts,
  record: WorkspaceRecord,
  steps: Steps,
  options: {
    name: SnapshotName;
    cgroup: Cgroup;
    initPid: number;
    begun: Begun | null;
    fallsBack: boolean;
  },
): Promise<Taken> {
  const { layout } = parts;
  const work = layout.work(record.id);
  // All of it side by side with the dump: nothing can change meanwhile.
  const planned = planSnapshot(parts, record, options.name);
  const live = readLiveState(
    options.cgroup,
    options.initPid,
    record.spec.volumes.map((volume) => volume.path),
  );
  const plan = planned.then(async (made) => {
    await writePlan(work, made.plan);
    return made;
  });
  const { begun } = options;
  let statelessReason = begun === null ? 'the files alone were asked for' : null;
  const dumped =
    begun === null
      ? Promise.resolve()
      : steps.run('dump', () => {
          requireUntraced(record.name, options.cgroup.processes());
          return finishDump(parts, begun, { ...options, memory: layout.memory(record.id, options.name) });
        });
  const [dumpResult, planResult, liveResult] = await Promise.allSettled([dumped, plan, live]);
  if (planResult.status === 'rejected') throw planResult.reason;
  if (liveResult.status === 'rejected') throw liveResult.reason;
  if (dumpResult.status === 'rejected') {
    await releaseNetwork(parts, options.initPid, options.cgroup);
    const failure = ForkpointError.from(dumpResult.reason);
    if (!options.fallsBack || failure.code !== 'checkpoint.impossible') throw failure;
    statelessReason = String(failure.args['reason']);
    parts.log.warn(
      `the processes of ${record.name} can't be kept: ${statelessReason}\n${failure.detail ?? ''}`,
    );
    await rm(layout.memory(record.id, options.name), { recursive: true, force: true });
  }
  if (!(await exists(path.join(work, 'plan.done')))) {
    if (statelessReason === null) {
      throw new ForkpointError('internal', { problem: 'CRIU did not run the step that keeps the files' });
    }
    await steps.run('files', () => takeFiles(parts, planResult.value.plan));
  }
  // Read back after the last subvolume snapshot: memory and files are of one instant only if nothing ran (H10).
  if (!options.cgroup.isFrozen()) {
    throw new ForkpointError('checkpoint.torn', {
      workspace: record.name,
      reason: 'it was thawed by somebody else meanwhile',
    });
  }
  return {
    isStateful: statelessReason === null,
    statelessReason,
    nested: planResult.value.nested,
    live: liveResult.value,
  };
}

/**
 * Lets the dump go on; once more, as a whole and into `memory`, if what was copied ahead turns out to be of no use, or the
 * host's memory not to be enough for the images.
 */
async function finishDump(
  parts: Parts,
  { dump: begun, options }: Begun,
  { initPid, cgroup, memory }: { initPid: number; cgroup: Cgroup; memory: string },
): Promise<void> {
  try {
    await begun.finish();
  } catch (error) {
    const { detail } = ForkpointError.from(error);
    // CRIU's words for a page or a process that it misses there (criu/page-xfer.c, criu/mem.c).
    const isUseless = options.parent !== null && /in parent|parent inventory/.test(detail ?? '');
    const isTooLarge = options.images !== memory && /No space left|Cannot allocate/.test(detail ?? '');
    if (!isUseless && !isTooLarge) throw error;
    parts.log.warn(`the memory of ${options.workspace} is dumped once more: ${detail ?? ''}`);
    await releaseNetwork(parts, initPid, cgroup);
    await emptyDirectory(options.images);
    await dump(parts.run, { ...options, images: memory, parent: null });
  }
}

async function emptyDirectory(directory: string): Promise<void> {
  await rm(directory, { recursive: true });
  await mkdir(directory, { mode: 0o700 });
}

/** Lets traffic flow again that a CRIU which did not come to its end held back (H14); does nothing after one that did. */
export async function releaseNetwork(parts: Parts, initPid: number, cgroup: Cgroup): Promise<void> {
  await parts.run('/bin/sh', [parts.assets.releaseNetwork, String(initPid), cgroup.directory]);
}

/**
 * Takes the files of a workspace in which nothing runs.
 * @param found the nested subvolumes, where they are being looked for already
 */
export async function takeStopped(
  parts: Parts,
  record: WorkspaceRecord,
  name: SnapshotName,
  found = findNested(parts, record),
): Promise<Taken> {
  // Nothing changes meanwhile, so that what is known is not kept waiting for the look for what is nested.
  const [nested] = await together([found, takeFiles(parts, planParts(parts, record, name))]);
  await takeFiles(parts, planNested(parts, record, name, nested));
  return { isStateful: false, statelessReason: null, nested, live: null };
}

/** Readies the work directory; answers the action script's path. */
export function prepareFreeze(parts: Parts, record: WorkspaceRecord): Promise<string> {
  return prepareWork(parts.layout.work(record.id), parts.assets.action);
}

/** Which subvolumes make up the workspace right now, nested ones included (H4). */
async function planSnapshot(
  parts: Parts,
  record: WorkspaceRecord,
  name: SnapshotName,
): Promise<{ plan: PlannedSnapshot[]; nested: SnapshotRecord['nested'] }> {
  const nested = await findNested(parts, record);
  return {
    plan: [...planParts(parts, record, name), ...planNested(parts, record, name, nested)],
    nested,
  };
}

/** The subvolumes nested in those of the workspace (H4). */
export async function findNested(parts: Parts, record: WorkspaceRecord): Promise<SnapshotRecord['nested']> {
  const found = await Promise.all(
    partsOf(record).map(async (part) => {
      const paths = await parts.subvolumes.nested(parts.layout.livePart(record.id, part));
      return paths.map((inner) => ({ part, path: inner }));
    }),
  );
  return found.flat();
}

function planParts(parts: Parts, record: WorkspaceRecord, name: SnapshotName): PlannedSnapshot[] {
  return partsOf(record).map((part) => ({
    source: parts.layout.livePart(record.id, part),
    target: parts.layout.snapshotPart(record.id, name, part),
  }));
}

function planNested(
  parts: Parts,
  record: WorkspaceRecord,
  name: SnapshotName,
  nested: SnapshotRecord['nested'],
): PlannedSnapshot[] {
  return nested.map(({ part, path: inner }, index) => ({
    source: path.join(parts.layout.livePart(record.id, part), inner),
    target: nestedDirectory(parts, { workspace: record.id, name }, index),
  }));
}

/** Side by side, so that they share the commit that each would wait for alone. */
async function takeFiles(parts: Parts, plan: readonly PlannedSnapshot[]): Promise<void> {
  for (let first = 0; first < plan.length; first += TAKEN_TOGETHER) {
    await together(
      plan.slice(first, first + TAKEN_TOGETHER).map(async ({ source, target }) => {
        // A dump that failed late may have had its files taken already.
        if (!(await exists(target))) await parts.subvolumes.snapshot(source, target, { isReadOnly: true });
      }),
    );
  }
}

import { stat } from 'node:fs/promises';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ForkpointError } from '../../protocol/errors.ts';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { JournalEntry } from '../catalogue/journal.ts';
import { Layout } from '../catalogue/layout.ts';
import { HELD, Trash } from '../catalogue/trash.ts';
import { Assets } from '../checkpoint/assets.ts';
import { findDatabase } from '../engines/podmanDatabase.ts';
import { abandonedCommands } from '../host/leftCommands.ts';
import { takeLock, type HeldLock } from '../host/lock.ts';
import type { Log } from '../host/log.ts';
import type { Paths } from '../host/paths.ts';
import { poll } from '../host/poll.ts';
import { PoolMount } from '../host/pool.ts';
import { bootId } from '../host/processes.ts';
import { createRun, type Run } from '../host/run.ts';
import { exists, isSubvolume, Subvolumes } from '../subvolumes/btrfs.ts';
import { findingTexts, keyOf, type Found, type FindingKind } from './finding.ts';
import { lookAtHost } from './hostScan.ts';
import { LostAndFound } from '../catalogue/lostAndFound.ts';
import { examineHostModes } from './modes.ts';
import { namesIn, type PoolView } from './poolFiles.ts';
import { lookAtPool } from './poolScan.ts';

/** How long a daemon is waited for that is about to listen or to end, or that has work to finish, in milliseconds. */
const PATIENCE_MS = 60_000;
/** What is there for that long was not just on its way, in milliseconds. */
const SECOND_LOOK_MS = 1_500;
/** With a daemon, a bin of the trash that old should have been emptied, in milliseconds. */
const TRASH_AGE_MS = 60_000;
/** A repair can bring other damage to light, but not for ever. */
const ROUNDS = 5;

/** The daemon, as far as fsck has to do with it. */
export interface DaemonAccess {
  /** Whether one answers on the socket. */
  isServing(): Promise<boolean>;
  /** Asks it to end. Answers null once it has, or the reason why it does not. */
  retire(): Promise<string | null>;
  /** Starts one and waits until it has finished or undone what was cut short. */
  start(): Promise<void>;
}

/** One finding as it is told. */
export interface Finding {
  readonly kind: FindingKind;
  readonly subject: string;
  readonly problem: string;
  /** What it means for the user's data. */
  readonly means: string;
  /** What `--repair` does; null where a person must act. */
  readonly repair: string | null;
  readonly advice: string;
  /** Why the repair did not work; null where it was not tried or did. */
  readonly failure: string | null;
}

/** What fsck tells. */
export interface Report {
  readonly workspaces: number;
  readonly snapshots: number;
  /** What was found first and is repaired. */
  readonly repaired: readonly Finding[];
  /** What is not as it should be. */
  readonly problems: readonly Finding[];
  /** Workspaces that were not judged: operations on them are under way. */
  readonly busy: readonly WorkspaceId[];
  /** The directory of lost+found, when something is in it. */
  readonly lostAndFound: string | null;
}

interface Checker {
  readonly paths: Paths;
  readonly log: Log;
  readonly run: Run;
  readonly view: PoolView;
  readonly assets: Assets;
  readonly subvolumes: Subvolumes;
  readonly daemon: DaemonAccess;
  /** The engine's; null where that does not answer, which what is looked at after it says. */
  readonly database: string | null;
}

/**
 * Checks the pool and the host on its own: by the files, the engine, the kernel, never by what a daemon says of itself.
 * With `repair`, the daemon is asked to end first, its lock is held meanwhile, and one is started afterwards.
 * @throws `fsck.busy` when a daemon can't end because it is at work; what the pool's mount throws
 */
export async function checkHost(
  options: { readonly repair: boolean; readonly now: Date },
  given: { readonly paths: Paths; readonly log: Log; readonly daemon: DaemonAccess },
): Promise<Report> {
  const { paths, log, daemon } = given;
  const run = createRun(log);
  const { root } = await new PoolMount({ paths, run, log }).ensure();
  const layout = new Layout(root);
  const subvolumes = new Subvolumes(run);
  const lost = new LostAndFound(layout, options.now);
  const database = await findDatabase(run).catch(() => null);
  const checker = (readOnly: ReadonlySet<string>): Checker => ({
    ...given,
    run,
    subvolumes,
    database,
    assets: new Assets(layout.assets()),
    view: {
      layout,
      lost,
      owner: process.getuid?.() ?? 0,
      bootId: bootId(),
      isSubvolume,
      isReadOnly: (directory) => readOnly.has(directory),
      makeReadOnly: (directory) => subvolumes.setReadOnly(directory, true),
    },
  });
  const look = async (isServed: boolean): Promise<Look> => {
    const readOnly = await subvolumes.readOnly(root);
    return lookOnce(checker(readOnly), isServed);
  };
  if (!options.repair) {
    const lock = await lockUnlessServed(paths, daemon);
    try {
      return await asReport(layout, await (lock === null ? lookTwice(look) : lookAlone(look)), []);
    } finally {
      lock?.release();
    }
  }
  const lock = await takeOver(paths, daemon);
  let tried: Finding[];
  try {
    tried = await repairAll(look, log);
  } finally {
    lock.release();
    await daemon.start();
  }
  return asReport(layout, await lookTwice(look), tried);
}

/** What one look has seen. */
interface Look {
  readonly found: readonly Found[];
  readonly busy: ReadonlySet<WorkspaceId>;
  readonly workspaces: number;
  readonly snapshots: number;
}

/** @param isServed whether a daemon answers, whose operations are then under way rather than left */
async function lookOnce(checker: Checker, isServed: boolean): Promise<Look> {
  const { view, paths, database } = checker;
  const listeningSince = isServed ? await stat(paths.socket).then((stats) => stats.ctimeMs, Date.now) : null;
  const pool = await lookAtPool(view);
  const found = [
    ...pool.found,
    ...(await examineHostModes(view, paths, database)),
    ...(await lookAtHost(
      view,
      { run: checker.run, log: checker.log, releaseNetwork: checker.assets.releaseNetwork },
      pool,
    )),
    ...(await examineTrash(checker, isServed, pool.journal)),
  ];
  const busy = new Set<WorkspaceId>();
  const explained = new Set<WorkspaceId | null>();
  for (const { entry, writtenMs } of pool.journal) {
    for (const id of workspacesOf(entry)) explained.add(id);
    // A daemon listens once it has finished or undone what it found; what is older was given up.
    if (listeningSince !== null && writtenMs >= listeningSince) {
      for (const id of workspacesOf(entry)) busy.add(id);
    } else {
      found.push({
        kind: 'journal.left',
        subject: entry.workspace,
        problem: `${entry.operation}, begun ${entry.startedAt}`,
        workspace: null,
        // The daemon does it, which is started when all else is repaired.
        mend: () => Promise.resolve(),
      });
    }
  }
  return {
    // What an operation has made so far is finished or undone with it: to touch that would be to take it from recovery.
    found: found.filter(({ workspace }) => !explained.has(workspace)),
    busy,
    workspaces: pool.workspaces.length,
    snapshots: pool.snapshots,
  };
}

function workspacesOf(entry: JournalEntry): WorkspaceId[] {
  const others = [
    entry.operation === 'promote' ? entry.origin : undefined,
    entry.operation === 'restore' ? entry.source : undefined,
  ];
  return [entry.workspace, ...others.filter((id) => id !== undefined)];
}

/** Beside a daemon at work: only what two looks see counts, and nothing of workspaces with an operation under way. */
async function lookTwice(look: (isServed: boolean) => Promise<Look>): Promise<Look> {
  const first = await look(true);
  if (first.found.length === 0) return first;
  await sleep(SECOND_LOOK_MS);
  const second = await look(true);
  const before = new Set(first.found.map(keyOf));
  const busy = new Set([...first.busy, ...second.busy]);
  const isBusy = ({ workspace }: Found): boolean => workspace !== null && busy.has(workspace);
  const found = second.found.filter((one) => before.has(keyOf(one)) && !isBusy(one));
  return { ...second, found, busy };
}

/** With no daemon at work: what one that was killed has left running mostly ends at once, and is no damage by itself. */
async function lookAlone(look: (isServed: boolean) => Promise<Look>): Promise<Look> {
  await poll(() => abandonedCommands().length === 0, { everyMs: 20, timeoutMs: SECOND_LOOK_MS });
  return look(false);
}

async function examineTrash(
  { view, subvolumes, log }: Checker,
  isServed: boolean,
  journal: readonly { entry: JournalEntry }[],
): Promise<Found[]> {
  const { layout, lost } = view;
  const found: Found[] = [];
  for (const name of await namesIn(layout.trash())) {
    const bin = path.join(layout.trash(), name);
    const isHeld = name.startsWith(HELD);
    // The files that a restore has put aside wait there for its end, which recovery brings about.
    if (isHeld && journal.some(({ entry }) => name.includes(entry.workspace))) continue;
    const changedMs = await stat(bin).then((stats) => stats.ctimeMs, Date.now);
    if (isServed && Date.now() - changedMs < TRASH_AGE_MS) continue;
    found.push({
      kind: 'trash.full',
      subject: path.relative(layout.root, bin),
      problem: isHeld ? 'it was being filled, and nobody does any more' : 'it was not emptied',
      workspace: null,
      mend: async () => {
        if (!isHeld) {
          const trash = new Trash(layout.trash(), subvolumes, log);
          trash.emptySoon();
          await trash.emptied();
        }
        await lost.take(bin, 'it could not be emptied');
      },
    });
  }
  return found;
}

/** Holds the daemon's lock while none runs, so that none starts during a look; null while one answers. */
async function lockUnlessServed(paths: Paths, daemon: DaemonAccess): Promise<HeldLock | null> {
  let lock: HeldLock | null = null;
  const isDecided = await poll(
    async () => {
      if (await daemon.isServing()) return true;
      lock = await takeLock(paths.lock);
      return lock !== null;
    },
    { everyMs: 200, timeoutMs: PATIENCE_MS },
  );
  if (!isDecided) throw new ForkpointError('daemon.unreachable', { problem: 'it neither answers nor ends' });
  return lock;
}

/** Has the daemon end, and takes its lock. */
async function takeOver(paths: Paths, daemon: DaemonAccess): Promise<HeldLock> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const lock = await lockUnlessServed(paths, daemon);
    if (lock !== null) return lock;
    const reason = await daemon.retire();
    if (reason === null) continue;
    if (performance.now() > deadline) throw new ForkpointError('fsck.busy', { reason });
    await sleep(500);
  }
}

/** Repairs until nothing is found that could be. Answers all that was tried. */
async function repairAll(look: (isServed: boolean) => Promise<Look>, log: Log): Promise<Finding[]> {
  const tried = new Map<string, Finding>();
  for (let round = 0; round < ROUNDS; round++) {
    const { found } = await look(false);
    const waiting = found.filter((one) => one.mend !== null && !tried.has(keyOf(one)));
    if (waiting.length === 0) break;
    for (const one of waiting) {
      log.warn(`fsck: ${one.kind}: ${one.subject}: ${one.problem}`);
      const failure = await (one.mend?.() ?? Promise.resolve()).then(
        () => null,
        (error: unknown) => ForkpointError.from(error).message,
      );
      if (failure !== null) log.error(`fsck: ${one.subject} could not be repaired: ${failure}`);
      tried.set(keyOf(one), tell(one, failure));
    }
  }
  return [...tried.values()];
}

function tell({ kind, subject, problem }: Found, failure: string | null): Finding {
  return { kind, subject, problem, ...findingTexts[kind], failure };
}

async function asReport(layout: Layout, look: Look, tried: readonly Finding[]): Promise<Report> {
  const remaining = new Set(look.found.map(keyOf));
  const hasLost = (await exists(layout.lostAndFound())) && (await namesIn(layout.lostAndFound())).length > 0;
  return {
    workspaces: look.workspaces,
    snapshots: look.snapshots,
    repaired: tried.filter((one) => !remaining.has(keyOf(one))),
    problems: look.found.map((one) =>
      tell(one, tried.find((other) => keyOf(other) === keyOf(one))?.failure ?? null),
    ),
    busy: [...look.busy],
    lostAndFound: hasLost ? layout.lostAndFound() : null,
  };
}

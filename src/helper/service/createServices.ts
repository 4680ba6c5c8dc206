import * as path from 'node:path';
import { WorkspaceIdSchema } from '../../protocol/names.ts';
import { Ballast } from '../catalogue/ballast.ts';
import { Catalogue } from '../catalogue/catalogue.ts';
import { Journal } from '../catalogue/journal.ts';
import { Layout } from '../catalogue/layout.ts';
import type { ImageOrigin } from '../catalogue/records.ts';
import { Trash } from '../catalogue/trash.ts';
import { Turns } from '../catalogue/turns.ts';
import { Assets } from '../checkpoint/assets.ts';
import { readImageOrigin } from '../checkpoint/imageOrigin.ts';
import { LazyPages } from '../checkpoint/lazyPages.ts';
import { tracksMemory, withoutHugePages } from '../checkpoint/memoryTracking.ts';
import { PageSharing } from '../checkpoint/pageSharing.ts';
import { Staging } from '../checkpoint/staging.ts';
import { Podman } from '../engines/podman.ts';
import { failureText } from '../host/failureText.ts';
import { GracePeriods } from '../host/gracePeriods.ts';
import type { HostOperation } from '../host/hostServices.ts';
import type { Log } from '../host/log.ts';
import type { Paths } from '../host/paths.ts';
import type { Run } from '../host/run.ts';
import { Subvolumes } from '../subvolumes/btrfs.ts';
import { Api, type ApiListener, type ApiServices } from './api.ts';
import { createSnapshot } from './createSnapshot.ts';
import { makeAllDurable } from './durability.ts';
import { Expiry } from './expiry.ts';
import { copyWorkspace } from './fork.ts';
import type { Events, Parts } from './parts.ts';
import { listPorts } from './ports.ts';
import { presentWorkspaces } from './presentWorkspace.ts';
import { previewRestore, showChanges } from './preview.ts';
import { promoteWorkspace } from './promote.ts';
import { recover } from './recovery.ts';
import { restoreSnapshot } from './restore.ts';
import { Reach } from './reach.ts';
import { HostKeys } from './hostKeys.ts';
import type { Services } from './services.ts';
import {
  deleteSnapshot,
  listSnapshots,
  setAlias,
  setExpiry,
  setNote,
  setProtection,
  showSnapshot,
} from './snapshots.ts';
import { enableSsh } from './sshServer.ts';
import { openTerminalSession } from './terminals.ts';
import {
  createWorkspace,
  deleteWorkspace,
  setProject,
  showWorkspace,
  startWorkspace,
  stopWorkspace,
} from './workspaces.ts';

/** How often expiries are looked at, in milliseconds. */
const EXPIRY_ROUND_MS = 60_000;

/** The operations that need the pool. */
export type PoolServices = Omit<Services, HostOperation>;

/** Work of the daemon that no client asked for. */
export interface Background {
  /** Ends it; what is under way is waited for. */
  stop(): Promise<void>;
  /** Whether the daemon must stay for it. */
  hasWork(): boolean;
  /** Whether some of it is under way that a newer helper had better not take over in the middle (H2). */
  isBusy(): boolean;
}

/**
 * Builds the services on the pool at `root`, and hands their parts to each other.
 * `recover` must have ended before the first operation.
 */
export async function createServices(given: {
  log: Log;
  run: Run;
  emit: Events;
  root: string;
  paths: Pick<Paths, 'runDirectory'>;
  listener: ApiListener;
}): Promise<{
  services: PoolServices;
  reach: Reach;
  recover(): Promise<void>;
  background(): Background;
}> {
  const { log, run, emit, root, listener } = given;
  const layout = new Layout(root);
  const ballast = new Ballast(layout.ballast(), run);
  const catalogue = new Catalogue(layout, log, ballast.drop);
  await catalogue.load();
  await ballast.fill();
  const assets = new Assets(layout.assets());
  await assets.install();
  const subvolumes = new Subvolumes(run);
  const queue = new Queue(log);
  const unhurried = new Queue(log);
  const origins = new Map<string, Promise<ImageOrigin>>();
  let tracking: Promise<boolean> | undefined;
  const areChangesTracked = (): Promise<boolean> => (tracking ??= tracksMemory(run));
  const parts: Parts = {
    log,
    run,
    events: emit,
    layout,
    catalogue,
    assets,
    subvolumes,
    journal: new Journal(layout.journal(), ballast.drop),
    // What clients show as under way is over: nothing else may tell them so.
    turns: new Turns((key) => {
      const { data: id } = WorkspaceIdSchema.safeParse(key);
      if (id !== undefined && catalogue.hasWorkspace(id)) emit.changed({ workspace: id, created: null });
    }),
    trash: new Trash(layout.trash(), subvolumes, log),
    engine: new Podman(run, log, given.paths.runDirectory, async () =>
      (await areChangesTracked()) ? withoutHugePages(assets.withoutHugePages) : [],
    ),
    gracePeriods: new GracePeriods(path.join(given.paths.runDirectory, 'grace-periods'), log),
    hostKeys: new HostKeys(run, path.join(given.paths.runDirectory, 'host-keys'), log, (title, work) =>
      queue.add(title, work),
    ),
    lazyPages: new LazyPages(assets.lazyPages, (id) => `${layout.workspace(id)}/lazy-pages.status`),
    pageSharing: new PageSharing(run, assets.sharePages, log),
    staging: new Staging(path.join(given.paths.runDirectory, 'staging'), run, log),
    attached: new Map(),
    tracksMemory: areChangesTracked,
    imageOrigin: (runtime) => {
      const known = origins.get(runtime) ?? readImageOrigin(run, runtime);
      origins.set(runtime, known);
      return known;
    },
    criuLog: (id) => path.join(given.paths.runDirectory, 'criu', `${id}.log`),
    later: (title, work) => queue.add(title, work),
    meanwhile: (title, work) => queue.start(title, work),
    eventually: (title, work) => unhurried.add(title, work),
    now: () => new Date(),
  };
  const expiry = new Expiry(parts);
  const api = await Api.load({
    directory: layout.api(),
    listener,
    workspace: (reference) => catalogue.workspace(reference),
    run,
    log,
    now: () => new Date(),
  });
  return {
    services: { ...servicesOf(parts, expiry), ...api.services() },
    reach: new Reach(parts, given.paths),
    recover: () => recover(parts),
    background: () => startBackground(parts, expiry, { queue, unhurried }, api, ballast),
  };
}

function servicesOf(parts: Parts, expiry: Expiry): Omit<PoolServices, keyof ApiServices> {
  return {
    'containers/create': (params, call) => createWorkspace(parts, params, call),
    'containers/list': () => presentWorkspaces(parts, parts.catalogue.allWorkspaces()),
    'containers/show': (params, call) => showWorkspace(parts, params, call),
    'containers/start': (params, call) => startWorkspace(parts, params, call),
    'containers/stop': (params, call) => stopWorkspace(parts, params, call),
    'containers/delete': (params, call) => deleteWorkspace(parts, params, call),
    'containers/copy': (params, call) => copyWorkspace(parts, params, call),
    'containers/project': (params, call) => setProject(parts, params, call),
    'containers/promote': (params, call) => promoteWorkspace(parts, params, call),
    'containers/changes': (params, call) => showChanges(parts, params, call),
    'snapshots/create': (params, call) => createSnapshot(parts, params, call),
    'snapshots/list': (params) => listSnapshots(parts, params),
    'snapshots/show': (params) => answer(() => showSnapshot(parts, params)),
    'snapshots/alias': (params, call) => setAlias(parts, params, call),
    'snapshots/note': (params, call) => setNote(parts, params, call),
    'snapshots/expiry': (params, call) => setExpiry(parts, params, call),
    'snapshots/protect': (params, call) => setProtection(parts, params, true, call),
    'snapshots/unprotect': (params, call) => setProtection(parts, params, false, call),
    'snapshots/delete': (params, call) => deleteSnapshot(parts, params, call),
    'snapshots/preview': (params, call) => previewRestore(parts, params, call),
    'snapshots/restore': (params, call) => restoreSnapshot(parts, params, call),
    'snapshots/recover': (params, call) => expiry.recover(params, call),
    'host/trash': () => expiry.list(),
    'terminal/open': (params, call) => openTerminalSession(parts, params, call),
    'ports/list': (params) => listPorts(parts, params),
    'ssh/enable': (params, call) => enableSsh(parts, params, call),
  };
}

/** What is in memory is answered at once; a failure still is a rejection. */
async function answer<T>(work: () => T): Promise<T> {
  return Promise.resolve().then(work);
}

function startBackground(
  parts: Parts,
  expiry: Expiry,
  { queue, unhurried }: { queue: Queue; unhurried: Queue },
  api: Api,
  ballast: Ballast,
): Background {
  let expiryHasWork = true;
  let round: Promise<void> | null = null;
  const look = (): void => {
    // Where it can't listen yet, it may later: an address that is not there yet, a certificate being renewed.
    void api.resume();
    round ??= expiry
      .round()
      .then(() => ballast.fill())
      .then(() => expiry.hasWork())
      .then((hasWork) => {
        expiryHasWork = hasWork;
      })
      .catch((error: unknown) => parts.log.error(`expiry: ${failureText(error)}`))
      .finally(() => {
        round = null;
      });
  };
  look();
  const timer = setInterval(look, EXPIRY_ROUND_MS);
  return {
    stop: async () => {
      clearInterval(timer);
      void queue.close();
      await unhurried.close();
      await round;
      await makeAllDurable(parts).catch((error: unknown) =>
        parts.log.error(`what is not on the disk yet: ${failureText(error)}`),
      );
      await Promise.all([parts.trash.stop(), parts.engine.end()]);
    },
    hasWork: () => api.isOn || expiryHasWork || queue.isBusy || unhurried.isBusy || parts.trash.isEmptying,
    // What is unhurried is broken off, and begun again by the successor.
    isBusy: () => queue.isBusy,
  };
}

/** Work that nobody waits for: one piece after another, or beside all others. A failure is logged. */
class Queue {
  private last: Promise<void> = Promise.resolve();
  private readonly running = new Set<string>();
  private readonly waiting = new Set<string>();
  private readonly ending = new AbortController();

  constructor(private readonly log: Log) {}

  /** What waits under the same title already is not queued again. */
  add(title: string, work: (signal: AbortSignal) => Promise<void>): void {
    if (this.waiting.has(title)) return;
    this.waiting.add(title);
    this.last = this.last.then(async () => {
      this.waiting.delete(title);
      if (this.ending.signal.aborted) return;
      this.running.add(title);
      await this.run(title, work);
      this.running.delete(title);
    });
  }

  start(title: string, work: (signal: AbortSignal) => Promise<void>): void {
    this.running.add(title);
    void this.run(title, work).finally(() => this.running.delete(title));
  }

  get isBusy(): boolean {
    return this.running.size + this.waiting.size > 0;
  }

  /** What waits is left: it is computed again after the next start. Answers the end of what is under way in the row. */
  close(): Promise<void> {
    this.ending.abort();
    return this.last;
  }

  private async run(title: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { signal } = this.ending;
    try {
      await work(signal);
      this.log.debug(`done in the background: ${title}`);
    } catch (error) {
      const told = `in the background: ${title}: ${failureText(error)}`;
      // What ends because the daemon does is done after its next start.
      if (signal.aborted) this.log.debug(told);
      else this.log.warn(told);
    }
  }
}

import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { ForkpointError } from '../../protocol/errors.ts';
import type { OperationName } from '../../protocol/operations.ts';
import {
  changedNotification,
  restoredNotification,
  type Retire,
  type Retirement,
} from '../../protocol/session.ts';
import { fixOwnEnvironment } from '../host/environment.ts';
import { createHostServices, type HostServices } from '../host/hostServices.ts';
import { readHostFile } from '../host/hostFile.ts';
import { IdleMemory, releaseMemory } from '../host/idleMemory.ts';
import { takeLock, type HeldLock } from '../host/lock.ts';
import type { Log } from '../host/log.ts';
import { createLogFile } from '../host/logFile.ts';
import { pathsUnder, type Paths } from '../host/paths.ts';
import { PoolMount } from '../host/pool.ts';
import { thisProgram, type Program } from '../host/program.ts';
import { createRun } from '../host/run.ts';
import { compareVersions } from '../host/version.ts';
import { createServices, type Background } from '../service/createServices.ts';
import type { ApiListener } from '../service/api.ts';
import type { Events } from '../service/parts.ts';
import type { Services } from '../service/services.ts';
import { ALREADY_RUNNING_STATUS } from '../host/daemonStatus.ts';
import { Dispatcher } from './dispatcher.ts';
import { HttpDoor } from './http/httpDoor.ts';
import { KeptAnswers } from './keptAnswers.ts';
import { serveSession, type Session } from './jsonRpc.ts';
import type { ReachDoor } from './streams.ts';

/** After how long without client, operation and background work the daemon exits, in seconds. */
const IDLE_EXIT_SECONDS = 600;

/** How long clients are given to take their last answers when the daemon ends, in milliseconds. */
const FAREWELL_MS = 500;

/** What a daemon is made of. */
export interface DaemonParts {
  readonly paths: Paths;
  readonly log: Log;
  readonly program: Program;
  readonly hostServices: HostServices;
  readonly pool: Pick<PoolMount, 'ensure'>;
  /** Makes the services of the pool at `root`. */
  createServices(emit: Events, root: string, listener: ApiListener): Promise<CreatedServices>;
  readonly idleExitSeconds: number;
  /** Called when the work is over, and what it needed may be given back. */
  releaseMemory(): void;
}

/** What the daemon is given by the services. */
type CreatedServices = Omit<Awaited<ReturnType<typeof createServices>>, 'reach'> & {
  readonly reach: ReachDoor;
};

/** Owns the state of one host for all its clients, from {@link Daemon.start} until {@link Daemon.ended}. */
export class Daemon {
  readonly #parts: DaemonParts;
  readonly #dispatcher: Dispatcher;
  readonly #httpDoor: HttpDoor;
  readonly #sessions = new Map<Socket, Session>();
  readonly #server: Server;
  readonly #lock: HeldLock;
  readonly #idleMemory: IdleMemory;
  /** The services, once the pool is there and recovered. */
  #recovering: Promise<CreatedServices> | null = null;
  #background: Background | null = null;
  #idleSince = performance.now();
  #ending: Promise<void> | null = null;
  /** Resolves when the daemon has let go of everything. */
  readonly ended: Promise<void>;
  #resolveEnded: () => void = () => undefined;

  private constructor(parts: DaemonParts, lock: HeldLock) {
    this.#parts = parts;
    this.#lock = lock;
    const { log, paths, program } = parts;
    this.#idleMemory = new IdleMemory({
      isBusy: () => this.#dispatcher.running.length > 0 || this.#background?.isBusy() === true,
      release: () => parts.releaseMemory(),
    });
    this.#dispatcher = new Dispatcher({
      findServices: (name) => this.#servicesFor(name),
      log,
      answers: new KeptAnswers(paths.answers, log),
      onQuiet: () => this.#idleMemory.touch(),
    });
    this.#httpDoor = new HttpDoor({ dispatcher: this.#dispatcher, log, version: program.version });
    // A client that has sent its last request still gets the answer.
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
  }

  /**
   * Becomes this host's daemon: takes the lock, finishes or undoes what an earlier one left, listens.
   * @returns null when another daemon runs
   */
  static async start(parts: DaemonParts): Promise<Daemon | null> {
    const { paths, log, program } = parts;
    makePrivateDirectory(paths.runDirectory);
    const lock = await takeLock(paths.lock);
    if (lock === null) return null;
    log.info(
      `daemon ${program.version} started, process ${String(process.pid)}, helper ${program.digest.slice(0, 12)}`,
    );
    const daemon = new Daemon(parts, lock);
    daemon.#dispatcher.takeOver();
    try {
      await daemon.#ready();
    } catch (error) {
      // Without its pool a host can still be looked at and set up; recovery is tried again with the next operation.
      log.warn(`not ready: ${ForkpointError.from(error).message}`);
    }
    await daemon.#listen();
    daemon.#watchIdleness();
    daemon.#idleMemory.touch();
    return daemon;
  }

  /** Ends the daemon: no further operations, those under way are waited for. */
  stop(reason: string): Promise<void> {
    this.#ending ??= this.#end(reason);
    return this.#ending;
  }

  async #end(reason: string): Promise<void> {
    const { log } = this.#parts;
    log.info(`daemon ends: ${reason}`);
    // Takes the socket's name away too, while the lock still keeps a successor from making its own: who dials waits
    // for the successor, rather than be refused here.
    this.#server.close();
    this.#httpDoor.refuse();
    this.#dispatcher.refuse('it is about to end; try again in a moment');
    await this.#dispatcher.quiet();
    await this.#background?.stop();
    await Promise.all([this.#endSessions(), this.#httpDoor.close()]);
    this.#idleMemory.stop();
    this.#lock.release();
    log.info('daemon ended');
    this.#resolveEnded();
  }

  /** Answers are still delivered; a client that doesn't read them is not waited for. */
  async #endSessions(): Promise<void> {
    const closed = [...this.#sessions].map(([socket, session]) => {
      const close = new Promise((resolve) => socket.once('close', resolve));
      session.end();
      return close;
    });
    await Promise.race([Promise.all(closed), sleep(FAREWELL_MS)]);
    for (const socket of this.#sessions.keys()) socket.destroy();
  }

  async #servicesFor<N extends OperationName>(name: N): Promise<Pick<Services, N>> {
    const { hostServices } = this.#parts;
    // The two parts hold all operations between them, which the compiler can't see for one that is not known yet.
    return (Object.hasOwn(hostServices, name)
      ? hostServices
      : (await this.#ready()).services) as unknown as Pick<Services, N>;
  }

  /** The services, once the pool is mounted and what an earlier daemon left is finished or undone. */
  async #ready(): Promise<CreatedServices> {
    const { root } = await this.#parts.pool.ensure();
    this.#recovering ??= this.#recover(root).catch((error: unknown) => {
      this.#recovering = null;
      throw error;
    });
    return this.#recovering;
  }

  async #recover(root: string): Promise<CreatedServices> {
    const { log } = this.#parts;
    const emit: Events = {
      changed: (event) => this.#broadcast((session) => session.notify(changedNotification, event)),
      restored: (event) => this.#broadcast((session) => session.notify(restoredNotification, event)),
    };
    const created = await this.#parts.createServices(emit, root, this.#httpDoor);
    const started = performance.now();
    await created.recover();
    log.info(`recovery done, ${String(Math.round(performance.now() - started))} ms`);
    this.#background = created.background();
    return created;
  }

  #broadcast(tell: (session: Session) => void): void {
    for (const session of this.#sessions.values()) tell(session);
  }

  async #listen(): Promise<void> {
    const { socket } = this.#parts.paths;
    // Whoever left it has ended: the lock is ours.
    rmSync(socket, { force: true });
    // Node binds within the call, so that the socket is root's alone from its first moment.
    const mask = process.umask(0o177);
    try {
      this.#server.listen(socket);
    } finally {
      process.umask(mask);
    }
    await once(this.#server, 'listening');
    this.#parts.log.info(`listens on ${socket}`);
  }

  #accept(socket: Socket): void {
    const session = serveSession(socket, {
      dispatcher: this.#dispatcher,
      program: this.#parts.program,
      log: this.#parts.log,
      reach: async () => (await this.#ready()).reach,
      retire: (request) => this.#retire(request),
    });
    this.#sessions.set(socket, session);
    socket.on('close', () => {
      this.#sessions.delete(socket);
      this.#idleSince = performance.now();
      // Terminals and forwarded ports are streams of its own, not operations.
      this.#idleMemory.touch();
    });
  }

  #retire(request: Retire): Retirement {
    const { program, log } = this.#parts;
    if (compareVersions(request.version, program.version) < 0) {
      return { retires: false, reason: `version ${program.version} is newer than ${request.version}` };
    }
    const [operation] = this.#dispatcher.running;
    if (operation !== undefined) return { retires: false, reason: `${operation} is under way` };
    if (this.#background?.isBusy() === true) {
      return { retires: false, reason: 'work of an earlier operation is under way in the background' };
    }
    // The answer leaves before the connections are ended.
    setImmediate(() => {
      this.stop(`helper ${request.version} ${request.digest.slice(0, 12)} takes over`).catch(
        (error: unknown) => log.error(`ending: ${String(error)}`),
      );
    });
    return { retires: true, reason: null };
  }

  #watchIdleness(): void {
    const { idleExitSeconds } = this.#parts;
    const timer = setInterval(
      () => {
        const isBusy =
          this.#sessions.size > 0 ||
          this.#dispatcher.running.length > 0 ||
          (this.#background?.hasWork() ?? false);
        if (isBusy) this.#idleSince = performance.now();
        else if (performance.now() - this.#idleSince >= idleExitSeconds * 1000) {
          void this.stop(`idle for ${String(idleExitSeconds)} s`);
        }
      },
      Math.min(idleExitSeconds * 250, 30_000),
    );
    void this.ended.then(() => clearInterval(timer));
  }
}

/** Runs the daemon in this process until it is idle, told to end, or replaced. */
export async function runDaemon(options: { alsoToJournal: boolean }): Promise<number> {
  if (process.getuid?.() !== 0) throw new ForkpointError('host.needsRoot');
  const program = thisProgram();
  fixOwnEnvironment();
  process.chdir('/');
  process.umask(0o022);
  const paths = pathsUnder('/');
  const log = createLogFile(paths.logFile, options);
  const run = createRun(log);
  const pool = new PoolMount({ paths, run, log });

  process.on('uncaughtException', (error) => {
    log.error(`uncaught: ${error.stack ?? error.message}`);
    process.exit(1);
  });
  // Nobody waits for such a promise; ending here would cut off the operations that somebody does wait for.
  process.on('unhandledRejection', (reason) => {
    log.error(`unhandled: ${reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)}`);
  });

  const daemon = await Daemon.start({
    paths,
    log,
    program,
    pool,
    hostServices: createHostServices({ paths, run, log, pool }),
    createServices: (emit, root, listener) => createServices({ log, run, emit, root, paths, listener }),
    releaseMemory: () => releaseMemory(log),
    idleExitSeconds: (await readHostFile(paths.hostFile))?.idleExitSeconds ?? IDLE_EXIT_SECONDS,
  });
  if (daemon === null) {
    process.stderr.write(`forkpoint: another daemon runs on this host already (its lock is ${paths.lock})\n`);
    return ALREADY_RUNNING_STATUS;
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => void daemon.stop(`got ${signal}`));
  // The terminal or SSH session that it was started from may go.
  process.on('SIGHUP', () => log.debug('got SIGHUP'));
  await daemon.ended;
  return 0;
}

/** Makes `directory` root's alone before anything is put into it. */
function makePrivateDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const status = lstatSync(directory);
  if (!status.isDirectory() || status.uid !== process.getuid?.()) {
    throw new ForkpointError('internal', {
      problem: `"${directory}" is not a directory of the helper's own`,
    });
  }
  chmodSync(directory, 0o700);
}

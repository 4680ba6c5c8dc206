import { createConnection, type Socket } from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { ForkpointError } from '../../protocol/errors.ts';
import { PROTOCOL_VERSION } from '../../protocol/session.ts';
import { currentHelper } from '../host/launcher.ts';
import { readLastLines } from '../host/logFile.ts';
import type { Paths } from '../host/paths.ts';
import type { Program } from '../host/program.ts';
import type { DaemonStart } from '../host/startDaemon.ts';
import { compareVersions } from '../host/version.ts';
import { Client, LostConnection } from './client.ts';
import { ALREADY_RUNNING_STATUS } from '../host/daemonStatus.ts';

/** How long a daemon may take from its start until it listens, its recovery included, in milliseconds. */
const DEADLINE_MS = 60_000;
/** How often a daemon that ends instead of answering the hello is dialled again. */
const ATTEMPTS = 3;
/** Pause between two attempts to connect, in milliseconds. */
const PAUSE_MS = 15;
/** Pause before another start when the daemon just started found one that is about to listen, or to end. */
const RESTART_PAUSE_MS = 200;

/** What reaching the daemon needs. */
export interface DialParts {
  readonly paths: Paths;
  readonly program: Program;
  /** Starts a daemon that outlives this process. */
  readonly startDaemon: () => DaemonStart;
  readonly deadlineMs?: number;
}

/** Reaches the daemon, starting one when none runs and replacing an older one that has nothing to do. */
export async function dial(parts: DialParts): Promise<Client> {
  for (let attempts = 1; ; attempts += 1) {
    const client = new Client(await reachDaemon(parts));
    try {
      if (!(await makesRoom(client, parts))) return client;
      client.close();
      const successor = new Client(await reachDaemon(parts));
      await successor.hello(parts.program);
      return successor;
    } catch (error) {
      client.close();
      // A daemon that was about to exit had the connection waiting, and closed it unheard.
      if (!(error instanceof LostConnection) || attempts === ATTEMPTS) throw error;
    }
  }
}

/** Like {@link dial}, for a caller that speaks over the socket itself. */
export async function dialSocket(parts: DialParts): Promise<Socket> {
  try {
    (await dial(parts)).close();
  } catch (error) {
    // The caller negotiates for itself, and is told the same by the daemon.
    if (!(error instanceof ForkpointError && error.code === 'daemon.incompatible')) throw error;
  }
  return reachDaemon(parts);
}

/** Says hello, and asks a daemon that should be replaced to go. Answers whether it went. */
async function makesRoom(client: Client, { paths, program }: DialParts): Promise<boolean> {
  try {
    const { version, digest } = await client.hello(program);
    const difference = compareVersions(program.version, version);
    const replaces =
      difference > 0 ||
      (difference === 0 && digest !== program.digest && currentHelper(paths)?.digest === program.digest);
    return replaces && (await client.retire(program)) === null;
  } catch (error) {
    const isOlder =
      error instanceof ForkpointError &&
      error.code === 'daemon.incompatible' &&
      Number(error.args['theirs']) < PROTOCOL_VERSION;
    if (isOlder && (await client.retire(program)) === null) return true;
    throw error;
  }
}

/**
 * Connects to the daemon's socket, and starts a daemon when nobody listens there.
 * @throws `daemon.unreachable` with the end of the log; `host.needsRoot`
 */
async function reachDaemon({ paths, startDaemon, deadlineMs = DEADLINE_MS }: DialParts): Promise<Socket> {
  const deadline = performance.now() + deadlineMs;
  let start: DaemonStart | null = null;
  for (;;) {
    const socket = await connectIfServed(paths.socket);
    if (socket !== null) return socket;
    if (performance.now() > deadline) {
      throw unreachable(`none listens after ${String(Math.round(deadlineMs / 1000))} s`, paths);
    }
    start ??= startDaemon();
    const ended = start.ended();
    if (ended === null) {
      await sleep(PAUSE_MS);
    } else if (ended.status === 0 || ended.status === ALREADY_RUNNING_STATUS) {
      // Another one has the lock: it is about to listen, or was about to end.
      await sleep(RESTART_PAUSE_MS);
      start = null;
    } else {
      throw unreachable(`it could not be started (${ended.how})`, paths);
    }
  }
}

/** Connects to a unix socket; null when nobody listens on it, a stale one included. */
export async function connectIfServed(place: string): Promise<Socket | null> {
  const socket = createConnection({ path: place, allowHalfOpen: true });
  try {
    await once(socket, 'connect');
    return socket;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return null;
    if (code === 'EACCES') throw new ForkpointError('host.needsRoot');
    throw new ForkpointError('daemon.unreachable', { problem: String(error) }, { cause: error });
  }
}

function unreachable(problem: string, paths: Paths): ForkpointError {
  return new ForkpointError(
    'daemon.unreachable',
    { problem },
    { detail: readLastLines(paths.logFile, 5).join('\n') || null },
  );
}

import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import { fixedEnvironment } from './environment.ts';
import type { Log } from './log.ts';
import type { Paths } from './paths.ts';
import { isRunning, startTimeOf } from './processes.ts';
import { thisProgram } from './program.ts';

/** A relay that takes connections. */
interface Relay {
  readonly socket: string;
  /** Its own process. */
  readonly pid: number;
}

/**
 * Keeps one relay for each running workspace whose ports are in use: a process in the workspace's network namespace
 * that connects to its ports, those on loopback included, for whoever asks on a unix socket. The socket is on the
 * host's file system and so reached from the host's network namespace.
 */
export class PortRelays {
  readonly #directory: string;
  readonly #log: Log;
  /** By the first process of the workspace, which another one is after a restart or restore. */
  readonly #relays = new Map<string, Promise<Relay>>();

  constructor(paths: Pick<Paths, 'runDirectory'>, log: Log) {
    this.#directory = path.join(paths.runDirectory, 'ports');
    this.#log = log;
  }

  /**
   * The socket of the relay for a workspace.
   * @param pid its first process on the host
   */
  async socketFor(workspace: string, pid: number): Promise<string> {
    const key = `${workspace}-${String(pid)}-${startTimeOf(pid) ?? 'gone'}`;
    const known = this.#relays.get(key);
    const relay = known === undefined ? null : await known.catch(() => null);
    if (relay !== null && isRunning(relay.pid)) return relay.socket;
    // Whoever else waited for the same one may have begun another meanwhile.
    const other = this.#relays.get(key);
    const started = other === undefined || other === known ? this.#start(key, pid) : other;
    this.#relays.set(key, started);
    return (await started).socket;
  }

  async #start(key: string, pid: number): Promise<Relay> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    // An earlier daemon's relay, which may still be in use, has another name.
    const place = path.join(this.#directory, `${key}-${String(process.pid)}.sock`);
    const startTime = startTimeOf(pid);
    // Held open, the namespace can't become another's, as an id can.
    const namespace = openSync(`/proc/${String(pid)}/ns/net`, 'r');
    try {
      if (startTime === null || !isRunning(pid, startTime))
        throw new ForkpointError('internal', { problem: 'the workspace has just ended' });
      // A session of its own, and not marked as the daemon's: it ends by itself when nobody uses it.
      const child = spawn(
        'nsenter',
        ['--net=/proc/self/fd/3', '--', process.execPath, thisProgram().file, 'port-relay', place],
        {
          stdio: ['ignore', 'pipe', 'ignore', namespace],
          env: fixedEnvironment(),
          detached: true,
          cwd: '/',
        },
      );
      child.on('exit', () => {
        this.#relays.delete(key);
        this.#log.debug(`relay ${key} ended`);
      });
      await new Promise<void>((resolve, reject) => {
        const failed = (): void =>
          reject(new ForkpointError('internal', { problem: 'no relay for ports could be started' }));
        child.stdout?.once('data', () => resolve());
        child.once('error', failed).once('exit', failed);
      });
      child.stdout?.destroy();
      child.unref();
      this.#log.debug(`relay ${key} listens, process ${String(child.pid)}`);
      return { socket: place, pid: child.pid ?? 0 };
    } finally {
      closeSync(namespace);
    }
  }
}

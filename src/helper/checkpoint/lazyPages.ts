import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import * as path from 'node:path';
import type { WorkspaceId } from '../../protocol/names.ts';
import { ForkpointError } from '../../protocol/errors.ts';
import { poll } from '../host/poll.ts';
import { isRunning, signalProcess, startTimeOf } from '../host/processes.ts';
import { exists, nullIfMissing } from '../subvolumes/btrfs.ts';

/** From this size of the images on a lazy restore pays, in bytes: below it, reading all takes less than the daemon's start. */
export const LAZY_FROM_BYTES = 256 * 1024 * 1024;

/** A guard process and its daemon. */
export interface LazyRestore {
  readonly pid: number;
  readonly startTime: string;
}

/** CRIU's lazy-pages daemons, each under its guard (see the script in assets.ts). They outlive the daemon. */
export class LazyPages {
  constructor(
    private readonly script: string,
    private readonly statusFile: (id: WorkspaceId) => string,
  ) {}

  /** Starts the daemon that serves the pages in `images`, and answers when it listens in `work`. */
  async start(
    id: WorkspaceId,
    options: { images: string; work: string; containerId: string },
  ): Promise<LazyRestore> {
    const status = this.statusFile(id);
    const socket = path.join(options.work, 'lazy-pages.socket');
    await rm(status, { force: true });
    await rm(socket, { force: true });
    const child = spawn('/bin/sh', [this.script, options.images, options.work, status, options.containerId], {
      detached: true,
      stdio: 'ignore',
      cwd: '/',
    });
    await once(child, 'spawn');
    child.unref();
    const pid = child.pid ?? 0;
    const startTime = startTimeOf(pid) ?? '';
    const listens = await poll(async () => (await exists(socket)) || !isRunning(pid), {
      everyMs: 2,
      timeoutMs: 10_000,
    });
    if (!listens || !isRunning(pid)) {
      throw new ForkpointError(
        'internal',
        { problem: "CRIU's lazy-pages daemon did not start" },
        { detail: await this.logOf(options.work) },
      );
    }
    return { pid, startTime };
  }

  /**
   * Waits for the end of a lazy restore.
   * @returns true when every page was delivered; false when not, and then the guard has killed the container
   */
  async ended(id: WorkspaceId, lazy: LazyRestore, signal?: AbortSignal): Promise<boolean> {
    while (isRunning(lazy.pid, lazy.startTime)) {
      signal?.throwIfAborted();
      await poll(() => !isRunning(lazy.pid, lazy.startTime) || signal?.aborted === true, {
        everyMs: 20,
        timeoutMs: 60_000,
      });
    }
    return (await this.status(id)) === 0;
  }

  /** Whether it has ended, and badly. */
  async hasFailed(id: WorkspaceId, lazy: LazyRestore): Promise<boolean> {
    return !isRunning(lazy.pid, lazy.startTime) && (await this.status(id)) !== 0;
  }

  /** Ends a lazy restore that is given up, guard and daemon, before its processes are ended by somebody else. */
  async cancel(lazy: LazyRestore): Promise<void> {
    if (!isRunning(lazy.pid, lazy.startTime)) return;
    // The guard leads a group of its own.
    signalProcess(-lazy.pid, 'SIGKILL');
    await poll(() => !isRunning(lazy.pid, lazy.startTime), { everyMs: 4, timeoutMs: 5_000 });
  }

  private async status(id: WorkspaceId): Promise<number | null> {
    const text = await readFile(this.statusFile(id), 'utf8').catch(nullIfMissing);
    return text === null ? null : Number(text.trim());
  }

  private async logOf(work: string): Promise<string> {
    const text = await readFile(path.join(work, 'lazy-pages.log'), 'utf8').catch(() => '');
    return text.split('\n').slice(-8).join('\n');
  }
}

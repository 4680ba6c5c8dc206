import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import type { Cgroup } from '../engines/cgroup.ts';
import { exists } from '../subvolumes/btrfs.ts';

/** A watchdog at work; see the script in assets.ts. */
export interface Watchdog {
  /**
   * Sends it home.
   * @returns whether it left the workspace alone; otherwise it has thawed it, and what was being taken must be discarded
   */
  dismiss(): Promise<boolean>;
}

/** Starts the watchdog and answers when it watches, which is before anything is frozen. */
export async function startWatchdog(options: {
  script: string;
  work: string;
  cgroup: Cgroup;
  initPid: number;
  deadlineMs: number;
}): Promise<Watchdog> {
  const freezer = options.cgroup.freezerFile;
  const deadline = (options.deadlineMs / 1000).toFixed(1);
  const child = spawn(
    '/bin/sh',
    [
      options.script,
      options.work,
      freezer.path,
      freezer.freeze,
      freezer.thaw,
      deadline,
      String(options.initPid),
    ],
    {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    },
  );
  const ended = once(child, 'exit');
  // A broken pipe means that it ended; dismiss() tells that from the mark.
  child.stdin.on('error', () => undefined);
  await once(child, 'spawn').catch((cause: unknown) => {
    throw new ForkpointError('internal', { problem: 'the freeze watchdog could not be started' }, { cause });
  });
  return {
    dismiss: async () => {
      child.stdin.end('done\n');
      await ended;
      return !(await exists(path.join(options.work, 'watchdog.mark')));
    },
  };
}

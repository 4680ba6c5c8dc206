import { closeSync, mkdirSync, openSync } from 'node:fs';
import { spawn } from 'node:child_process';
import * as path from 'node:path';
import { once } from 'node:events';
import { ForkpointError } from '../../protocol/errors.ts';

/** A kernel lock that this process holds until it releases it or ends, however it ends. */
export interface HeldLock {
  release(): void;
}

/**
 * Takes the lock on `file`, which makes this the only daemon (H19). flock(2) locks belong to the open file
 * description: flock(1) is given ours as descriptor 3 and ends, and the lock stays with our descriptor. Node opens
 * it close-on-exec, so that no other command inherits it and keeps it beyond our life.
 * @returns null when another process holds it
 */
export async function takeLock(file: string): Promise<HeldLock | null> {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const descriptor = openSync(file, 'a', 0o600);
  const flock = spawn('flock', ['--nonblock', '3'], { stdio: ['ignore', 'ignore', 'ignore', descriptor] });
  try {
    const [status] = (await once(flock, 'exit')) as [number | null];
    if (status === 0) return { release: () => closeSync(descriptor) };
    closeSync(descriptor);
    if (status === 1) return null;
    throw new ForkpointError('command.failed', {
      command: 'flock --nonblock 3',
      status: `exit ${String(status)}`,
    });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      closeSync(descriptor);
      throw new ForkpointError('host.toolMissing', { tool: 'flock', install: 'apt-get install util-linux' });
    }
    throw error;
  }
}

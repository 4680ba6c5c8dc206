import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { TestHostError } from './testHostError.ts';

/**
 * Runs `body` while holding the kernel's lock on `file`. The lock is a `flock` process that ends when its
 * stdin does, that is with this process at the latest, so a killed one leaves no stale lock behind.
 * @param waitSeconds how long to wait for another holder
 * @param what what the lock protects, for the message
 * @throws {TestHostError} when another process still holds the lock after that time
 */
export async function withLock<T>(
  file: string,
  { waitSeconds, what }: { waitSeconds: number; what: string },
  body: () => Promise<T>,
): Promise<T> {
  await mkdir(dirname(file), { recursive: true });
  const holder = spawn('flock', ['--no-fork', '--timeout', String(waitSeconds), file, 'cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(holder, 'exit');
  // cat is there, and gives the byte back, once the lock is held. A holder that gave up can't be written to.
  holder.stdin.on('error', () => undefined);
  holder.stdin.write('\n');
  const isHeld = await Promise.race([once(holder.stdout, 'data').then(() => true), exited.then(() => false)]);
  if (!isHeld) {
    throw new TestHostError(
      `Another process has been at work on ${what} for ${waitSeconds} s. Wait for it, or end it.`,
    );
  }
  try {
    return await body();
  } finally {
    holder.stdin.end();
    await exited;
  }
}

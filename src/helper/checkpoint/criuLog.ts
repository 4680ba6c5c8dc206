import { copyFile, readFile, rm } from 'node:fs/promises';
import { ForkpointError } from '../../protocol/errors.ts';
import { lastLines } from '../host/run.ts';

/**
 * Runs a call of CRIU that writes its log to `log`, and gives the errors in it to `onFailure`, which says what to throw.
 * The runtimes have CRIU write all that it can tell, some 20,000 lines for a dozen processes, each by a call of its own and
 * all of them in the freeze: into memory that costs a fifth of the freeze less than into the pool. What is of use later,
 * the log of a call that failed, is kept in `kept`.
 */
export async function withCriuLog<T>(
  log: string,
  kept: string,
  call: () => Promise<T>,
  onFailure: (failure: ForkpointError, errors: readonly string[]) => Error,
): Promise<T> {
  try {
    return await call();
  } catch (error) {
    const errors = await errorsOfLog(log);
    // It may have ended before it wrote any.
    await copyFile(log, kept).catch(() => undefined);
    throw onFailure(ForkpointError.from(error), errors);
  } finally {
    await rm(log, { force: true });
  }
}

/** The last error lines of a CRIU log; one of them appears in every log of a process without CAP_SYS_RESOURCE and means nothing. */
export async function errorsOfLog(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const errors = text
    .split('\n')
    .filter((line) => line.includes('Error (') && !line.includes("Can't setup RLIMIT_NOFILE"));
  return lastLines(errors.join('\n')).split('\n').filter(Boolean);
}

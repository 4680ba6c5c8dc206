import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { ForkpointError } from '../../protocol/errors.ts';
import { cancellationOf } from './cancellation.ts';
import { lastLines } from './run.ts';

/** A command may take that long, in milliseconds: one that hangs must not keep its operation, and so the daemon, for ever. */
const DEADLINE_MS = 600_000;

/** How much of a command's stderr is kept for the error, in bytes. */
const STDERR_KEPT = 16_384;

/**
 * Runs a command and hands over its output piece by piece, as it comes: for output that does not fit in memory.
 * Rejected with `command.failed` when it fails or takes longer than ten minutes, `operation.cancelled` when `signal` aborts, or with what `take` throws.
 */
export async function streamed(
  argv: readonly [command: string, ...args: string[]],
  take: (bytes: Buffer) => void,
  signal?: AbortSignal,
): Promise<void> {
  const child = spawn(argv[0], argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  signal?.addEventListener('abort', kill, { once: true });
  const late = new AbortController();
  const deadline = setTimeout(() => {
    late.abort();
    kill();
  }, DEADLINE_MS);
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr = (stderr + chunk).slice(-STDERR_KEPT);
  });
  const ended = once(child, 'close') as Promise<[number | null, string | null]>;
  // Awaited below; a failure to start is told by the output's end, too.
  ended.catch(() => undefined);
  try {
    for await (const bytes of child.stdout) take(bytes as Buffer);
    const [code, killedBy] = await ended;
    if (signal?.aborted) throw cancellationOf(signal);
    if (code === 0) return;
    const how = code === null ? `killed by ${killedBy ?? 'a signal'}` : `exit ${String(code)}`;
    const status = late.signal.aborted ? 'timed out' : how;
    throw new ForkpointError(
      'command.failed',
      { command: argv.join(' '), status },
      { detail: lastLines(stderr) },
    );
  } finally {
    clearTimeout(deadline);
    signal?.removeEventListener('abort', kill);
    kill();
  }
}

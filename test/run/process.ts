import { spawn, type ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The repository's root. */
export const repositoryDirectory = fileURLToPath(new URL('../../', import.meta.url));

/** How long a process has to end in good order, its hosts and servers too, before it is killed. */
const graceMs = 60_000;

/** How a program ended. */
export interface Ended {
  /** Its exit status, or why there is none. */
  readonly status: number | 'timeout' | 'cancelled' | 'killed';
  /** What it wrote to both, in order; empty where it was shown as it came. */
  readonly output: string;
}

/** How to run a program. */
export interface RunOptions {
  /** Milliseconds after which it is ended. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Whether its output is shown as it comes, or kept for the caller; `tee`: both. */
  readonly output: 'show' | 'keep' | 'tee';
  /** Added to the environment. */
  readonly env?: Record<string, string>;
}

/**
 * Runs one of the tools of node_modules, without a shell and without stdin, in a process group of its own that ends
 * with it: nothing that it started stays.
 * @param script its JavaScript file, from the repository's root, or a flag of Node
 */
export async function runNode(script: readonly string[], options: RunOptions): Promise<Ended> {
  const child = spawn(process.execPath, script, {
    cwd: repositoryDirectory,
    env: { ...process.env, ...options.env },
    stdio: options.output === 'show' ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'],
    // Ctrl-C at the terminal then reaches this program only, which ends the group in order.
    detached: process.platform !== 'win32',
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (options.output === 'tee') process.stdout.write(text);
    });
  }
  const exit = new Promise<number | 'killed'>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      resolve(status ?? 'killed');
    });
  });
  const done = new AbortController();
  const cancelled = new Promise<'cancelled'>((resolve) => {
    const cancel = () => {
      resolve('cancelled');
    };
    if (options.signal.aborted) cancel();
    options.signal.addEventListener('abort', cancel, { once: true, signal: done.signal });
  });
  const timeout = delay(options.timeoutMs, 'timeout' as const, { signal: done.signal });
  timeout.catch(() => undefined);
  try {
    const first = await Promise.race([exit, cancelled, timeout]);
    if (first === 'cancelled' || first === 'timeout') await end(child, exit);
    return { status: first, output };
  } finally {
    done.abort();
  }
}

async function end(child: ChildProcess, exit: Promise<unknown>): Promise<void> {
  // As Ctrl-C would: mocha then still runs its "after" hooks.
  send(child, 'SIGINT');
  const stop = new AbortController();
  const patience = delay(graceMs, undefined, { signal: stop.signal });
  patience.catch(() => undefined);
  await Promise.race([exit, patience]);
  stop.abort();
  send(child, 'SIGKILL');
  await exit;
}

/** To the whole group, where there are such. */
function send(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    if (process.platform === 'win32') child.kill(signal);
    else process.kill(-child.pid, signal);
  } catch (error) {
    // All of it has ended by itself.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

import { execa } from 'execa';
import { ForkpointError } from '../../protocol/errors.ts';
import { cancellationOf } from './cancellation.ts';
import type { Log } from './log.ts';

/** How a command ended. */
export interface Finished {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /** Written to its standard input, which is empty otherwise. */
  readonly input?: string | Uint8Array;
  /** Ends it with SIGKILL after that; 60 000 ms unless given, 0 for never. */
  readonly timeoutMs?: number;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Exit statuses that are answers, not failures; only 0 unless given. */
  readonly accept?: readonly number[];
  /** Arguments that logs and errors show as "…": they may hold secrets of the user. */
  readonly hide?: readonly string[];
  /** Called with its process id once it has been started, which is also the id of its process group. */
  readonly onStart?: (pid: number) => void;
}

/** Runs one external command to its end. Every command of the helper goes through one of these. */
export type Run = (command: string, args: readonly string[], options?: RunOptions) => Promise<Finished>;

/** How many of the last lines of a failing command's stderr go into the error. */
const LINES_SHOWN = 12;

/**
 * Makes the {@link Run} that logs argv, time and exit status of each command. No shell is involved.
 * The command leads a process group of its own, so that a Ctrl-C at the daemon's terminal doesn't reach it and
 * the freeze watchdog can end it together with its children.
 * The promise is rejected with `host.toolMissing`, `operation.cancelled` or `command.failed` (detail: the end of stderr).
 */
export function createRun(log: Log): Run {
  return async (command, args, options = {}) => {
    const started = performance.now();
    const shown = [
      command,
      ...args.map((argument) => (options.hide?.includes(argument) ? '…' : argument)),
    ].join(' ');
    const child = execa(command, args, {
      reject: false,
      stripFinalNewline: false,
      detached: true,
      cleanup: false,
      timeout: options.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
      maxBuffer: 256 * 1024 * 1024,
      ...(options.signal ? { cancelSignal: options.signal } : {}),
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
      ...(options.env ? { env: options.env } : {}),
      ...(options.cwd ? { cwd: options.cwd } : {}),
    });
    if (child.pid !== undefined) options.onStart?.(child.pid);
    const result = await child;
    const ms = Math.round((performance.now() - started) * 10) / 10;
    const status = describeEnd(result);
    log.debug(`ran ${shown}: ${status}, ${String(ms)} ms`);
    if (result.exitCode !== undefined && (options.accept ?? [0]).includes(result.exitCode)) {
      return { exitCode: result.exitCode, stdout: result.stdout, stderr: result.stderr, ms };
    }
    if (result.isCanceled) throw cancellationOf(options.signal);
    if (result.code === 'ENOENT' && result.exitCode === undefined) {
      throw new ForkpointError('host.toolMissing', {
        tool: command,
        install: `the package that holds "${command}"`,
      });
    }
    throw new ForkpointError(
      'command.failed',
      { command: shown, status },
      { detail: lastLines(result.stderr), cause: result },
    );
  };
}

/** The last lines of `text`, for an error's detail. */
export function lastLines(text: string, count = LINES_SHOWN): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

function describeEnd(result: { exitCode?: number; signal?: string; timedOut: boolean }): string {
  if (result.timedOut) return 'timed out';
  if (result.signal) return `killed by ${result.signal}`;
  return result.exitCode === undefined ? 'not started' : `exit ${String(result.exitCode)}`;
}

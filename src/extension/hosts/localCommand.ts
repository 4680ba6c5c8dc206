import { execa } from 'execa';
import type { Log } from './log.ts';

/** How a program on this machine ended. */
export interface LocalResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program of this machine (not of a host) to its end, for at most 20 s. Null when it is not there or was
 * killed; the log says so.
 */
export async function runLocally(
  log: Log,
  command: string,
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly signal?: AbortSignal | undefined;
  } = {},
): Promise<LocalResult | null> {
  const started = performance.now();
  const result = await execa(command, args, {
    reject: false,
    stdin: 'ignore',
    timeout: 20_000,
    windowsHide: true,
    ...(options.env ? { env: options.env } : {}),
    ...(options.signal ? { cancelSignal: options.signal } : {}),
  });
  const ms = Math.round(performance.now() - started);
  const end =
    result.exitCode === undefined
      ? (result.code ?? result.signal ?? 'killed')
      : `exit ${String(result.exitCode)}`;
  log.debug(`ran ${[command, ...args].join(' ')}: ${end}, ${String(ms)} ms`);
  if (result.exitCode === undefined) return null;
  return { exitCode: result.exitCode, stdout: result.stdout, stderr: result.stderr };
}

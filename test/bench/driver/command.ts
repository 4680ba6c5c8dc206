import { spawn } from 'node:child_process';

const timeoutMs = 900_000;

/** A command that ended well. */
export interface Ended {
  readonly stdout: string;
  readonly ms: number;
}

/**
 * Runs a command to its end.
 * @throws with the end of its stderr when it fails
 */
export async function command(argv: readonly string[], input?: string): Promise<Ended> {
  const [program = '', ...args] = argv;
  const started = performance.now();
  const child = spawn(program, args, { stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin?.end(input);
  await ended(argv, child, () => stderr);
  return { stdout, ms: performance.now() - started };
}

/**
 * Runs a command that starts a container: without a pipe, for what the container's processes inherit from outside
 * can't be dumped.
 * @param problem what to say when it fails
 * @returns milliseconds that it took
 */
export async function silently(argv: readonly string[], problem: () => string): Promise<number> {
  const [program = '', ...args] = argv;
  const started = performance.now();
  await ended(argv, spawn(program, args, { stdio: 'ignore' }), problem);
  return performance.now() - started;
}

async function ended(
  argv: readonly string[],
  child: ReturnType<typeof spawn>,
  problem: () => string,
): Promise<void> {
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status, signal) => {
        if (status === 0) resolve();
        else
          reject(
            new Error(`${argv.join(' ')} ended with ${String(status ?? signal)}: ${problem().slice(-2000)}`),
          );
      });
    });
  } finally {
    clearTimeout(timer);
  }
}

/** Bytes of the files below a directory, or in a file. */
export async function bytesOf(path: string): Promise<number> {
  const { stdout } = await command(['du', '-s', '--block-size=1', path]);
  return Number(stdout.split('\t')[0]);
}

/** Bytes below a directory of a btrfs that nothing else shares with it. */
export async function exclusiveBytesOf(directory: string): Promise<number> {
  const { stdout } = await command(['btrfs', 'filesystem', 'du', '-s', '--raw', directory]);
  // A heading, then: total, exclusive, set shared, name.
  return Number(stdout.trim().split('\n').at(-1)?.trim().split(/\s+/)[1]);
}

import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { fixedEnvironment, MEMORY_ENVIRONMENT } from './environment.ts';
import type { Paths } from './paths.ts';
import type { Program } from './program.ts';

/** An attempt to start the daemon. */
export interface DaemonStart {
  /** How the started command ended; null while it runs. */
  ended(): { readonly status: number | null; readonly how: string } | null;
}

/** Name of the daemon's unit. */
export const UNIT = 'forkpoint.service';

/** Starts the daemon: through systemd where it runs the host and knows it, else as a process of its own session. */
export function startDaemon(paths: Paths, program: Program): DaemonStart {
  return hasSystemd() && existsSync(paths.unitFile)
    ? watch(spawn('systemctl', ['start', UNIT], { stdio: 'ignore', env: fixedEnvironment() }))
    : startDetached(paths, [program.file, 'daemon']);
}

/** Whether systemd is pid 1; sd_booted(3). */
export function hasSystemd(): boolean {
  return existsSync('/run/systemd/system');
}

/** Starts Node with `args` in a session of its own (setsid(2)), where no terminal's or login's end reaches it. */
export function startDetached(paths: Paths, args: readonly string[]): DaemonStart {
  mkdirSync(paths.logDirectory, { recursive: true, mode: 0o700 });
  const log = openSync(paths.logFile, 'a', 0o600);
  try {
    const child = spawn(process.execPath, args, {
      detached: true,
      cwd: '/',
      stdio: ['ignore', log, log],
      env: { ...fixedEnvironment(), ...MEMORY_ENVIRONMENT },
    });
    child.unref();
    return watch(child);
  } finally {
    closeSync(log);
  }
}

function watch(child: ChildProcess): DaemonStart {
  let end: { status: number | null; how: string } | null = null;
  child.on('exit', (status, signal) => {
    end = { status, how: signal === null ? `exit ${String(status)}` : `killed by ${signal}` };
  });
  child.on('error', (error) => (end = { status: null, how: error.message }));
  return { ended: () => end };
}

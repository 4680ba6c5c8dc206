import { readFileSync, readdirSync } from 'node:fs';

/** A process as /proc shows it. */
export interface ProcessStatus {
  /** Process id on the host. */
  readonly pid: number;
  readonly parent: number;
  /** Process id in its own pid namespace. */
  readonly innerPid: number;
  readonly name: string;
  /** Resident memory in bytes. */
  readonly memoryBytes: number;
}

/** Reads /proc/PID/status (proc_pid_status(5)); null when the process is gone. */
export function readProcess(pid: number): ProcessStatus | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${String(pid)}/status`, 'utf8');
  } catch {
    return null;
  }
  const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? '';
  return {
    pid,
    parent: Number(field('PPid')),
    innerPid: Number(field('NSpid').split(/\s+/).at(-1) ?? 0),
    name: programName(pid, field('Name')),
    memoryBytes: parseInt(field('VmRSS') || '0', 10) * 1024,
  };
}

/** Node.js calls the first thread of each of its processes "MainThread", which tells a person nothing: then the program's own name. */
function programName(pid: number, name: string): string {
  if (name !== 'MainThread') return name;
  try {
    const [program] = readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8').split('\0');
    return program ? (program.split('/').at(-1) ?? name) : name;
  } catch {
    return name;
  }
}

/**
 * When the process was started, in clock ticks after boot: field 22 of /proc/PID/stat. Together with the id it names
 * one process for good. Null when it is gone or a zombie.
 */
export function startTimeOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    // The name in parentheses may hold anything, so count from its end.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}

/** Whether the process with that id and start time still runs. */
export function isRunning(pid: number, startTime?: string): boolean {
  const current = startTimeOf(pid);
  return current !== null && (startTime === undefined || current === startTime);
}

/** The words of the command lines of this pid namespace's processes. */
export function commandLines(): { readonly pid: number; readonly args: readonly string[] }[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        const args = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0').slice(0, -1);
        return args.length === 0 ? [] : [{ pid: Number(entry), args }];
      } catch {
        // It has ended since.
        return [];
      }
    });
}

/** The arguments of a process, joined by spaces; empty when it has ended. What it calls itself is its own affair. */
export function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8')
      .replaceAll('\0', ' ')
      .trimEnd();
  } catch {
    return '';
  }
}

/** Sends a signal to a process, or with a negative id to a group (kill(2)). One that has just ended is no failure. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** Identifies this boot of the host. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Milliseconds since boot, suspended time included (CLOCK_BOOTTIME; proc_uptime(5)). */
export function bootTimeMs(): number {
  return Math.round(parseFloat(readFileSync('/proc/uptime', 'utf8')) * 1000);
}

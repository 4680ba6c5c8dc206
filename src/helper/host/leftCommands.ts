import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import type { Log } from './log.ts';
import { poll } from './poll.ts';
import { isRunning, signalProcess, startTimeOf } from './processes.ts';

/** In the environment of every command: names the daemon that started it. */
const MARK = 'FORKPOINT_DAEMON';

/** How long those that are waited for may take to end what they were told by a daemon that is gone, in milliseconds. */
const PATIENCE_MS = 45_000;
/** How long a watchdog may take: the dump of a large workspace has minutes, see `service/freeze.ts`. In milliseconds. */
const WATCHDOG_MS = 900_000;
/** How long a killed command may take to die: it may sleep in the kernel until the disk has answered. In milliseconds. */
const DEATH_MS = 10_000;

interface LeftCommand {
  readonly pid: number;
  readonly name: string;
  readonly args: string;
  /** The command that leads its process group, which {@link createRun} gives each. */
  readonly leader: string;
}

/**
 * Makes sure that no command of an earlier daemon is at work any more, so that none races recovery (H13). The engine is
 * waited for: killed in the middle, it leaves its own records half-written. So are dumps and restores: CRIU's own code runs
 * inside the processes for a part of them, and one that is left in the middle of that dies; the watchdog ends a dump at its
 * deadline. All others are killed: their work is undone or repeated. Commands that this process starts from here on carry its own mark.
 */
export async function takeOverCommands(log: Log): Promise<void> {
  const own = `${String(process.pid)}-${startTimeOf(process.pid) ?? ''}`;
  process.env[MARK] = own;
  for (const command of leftCommands(own)) {
    log.warn(`${command.name} of an earlier daemon is still at work, process ${String(command.pid)}`);
    if (isEngineService(command)) signalProcess(command.pid, 'SIGTERM');
    else if (!isWaitedFor(command)) signalProcess(command.pid, 'SIGKILL');
  }
  const watches = (): boolean => leftCommands(own).some(isWatchdog);
  await poll(() => !watches(), { everyMs: 20, timeoutMs: WATCHDOG_MS });
  const isQuiet = (): boolean => leftCommands(own).length === 0;
  if (await poll(isQuiet, { everyMs: 20, timeoutMs: PATIENCE_MS })) return;
  for (const command of leftCommands(own)) {
    log.error(
      `${command.name} of an earlier daemon does not end, process ${String(command.pid)}; it is killed`,
    );
    signalProcess(command.pid, 'SIGKILL');
  }
  if (!(await poll(isQuiet, { everyMs: 20, timeoutMs: DEATH_MS })))
    log.error('commands of an earlier daemon can not be killed');
}

/** Names of commands that are waited for, with all that they started. The runtime and CRIU of a restore are led by conmon. */
const WAITED_FOR = new Set(['podman', 'conmon', 'runc', 'crun', 'criu']);

function isWaitedFor({ name, leader, args }: LeftCommand): boolean {
  return WAITED_FOR.has(name) || WAITED_FOR.has(leader) || isWatchdog({ args });
}

function isWatchdog({ args }: Pick<LeftCommand, 'args'>): boolean {
  return args.includes('/watchdog.sh');
}

/** It does what it was asked for, and then waits for more, see `engines/podmanService.ts`; told to end, it does so in between. */
function isEngineService({ name, args }: Pick<LeftCommand, 'name' | 'args'>): boolean {
  return name === 'podman' && args.includes(' system service ');
}

/** Monitors of containers and guards of lazy restores outlive their daemon by design. */
function isLasting({ name, args }: LeftCommand): boolean {
  return name === 'conmon' || args.includes('/lazy-pages.sh') || args.includes('criu lazy-pages');
}

/** Commands of daemons that have ended, but for those that outlive theirs by design, or end by themselves when they are done. */
export function abandonedCommands(): Pick<LeftCommand, 'pid' | 'name'>[] {
  const abandoned = markedCommands((mark) => {
    const [pid = '', startTime = ''] = mark.split('-');
    return !isRunning(Number(pid), startTime);
  });
  return abandoned.filter((command) => !isEngineService(command));
}

function leftCommands(own: string): LeftCommand[] {
  return markedCommands((mark) => mark !== own);
}

/** Looked for in this pid namespace only: what runs in a workspace could carry any mark. */
function markedCommands(isWanted: (mark: string) => boolean): LeftCommand[] {
  const found: LeftCommand[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const mark = read(entry, 'environ')
      .split('\0')
      .find((variable) => variable.startsWith(`${MARK}=`));
    if (mark === undefined || !isWanted(mark.slice(MARK.length + 1))) continue;
    if (namespaceOf(entry) !== namespaceOf('self')) continue;
    const group = /^\S+ \(.*\) \S \S+ (\d+)/s.exec(read(entry, 'stat'))?.[1] ?? '';
    const command = {
      pid: Number(entry),
      name: read(entry, 'comm').trim(),
      args: read(entry, 'cmdline').replaceAll('\0', ' '),
      leader: read(group, 'comm').trim(),
    };
    if (!isLasting(command)) found.push(command);
  }
  return found;
}

/** A file of a process in /proc; empty when the process is gone. */
function read(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function namespaceOf(pid: string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return null;
  }
}

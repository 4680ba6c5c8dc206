import { randomBytes } from 'node:crypto';
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { ForkpointError } from '../../protocol/errors.ts';
import type { Params, Result } from '../../protocol/operations.ts';
import type { Terminal } from '../../protocol/reach.ts';
import type { StreamTarget, TerminalSize } from '../../protocol/streams.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import { Cgroup } from '../engines/cgroup.ts';
import type { ContainerFacts } from '../engines/engine.ts';
import { execArguments } from '../engines/exec.ts';
import { fixedEnvironment } from '../host/environment.ts';
import { poll } from '../host/poll.ts';
import { isRunning, readProcess, signalProcess } from '../host/processes.ts';
import {
  attachCommand,
  BEGIN_SESSION,
  endCommand,
  historyCommand,
  installCommand,
  PLAIN_SHELL,
  readBegun,
} from './multiplexers.ts';
import type { Parts } from './parts.ts';
import type { Call } from './services.ts';

/** In the environment of each terminal's first process inside: `attached-…` or `plain-…`. */
const MARK = 'FORKPOINT_TERMINAL';

/** How long the first process of a terminal may take to appear, in milliseconds. */
const APPEARANCE_MS = 15_000;
/** How long a multiplexer may take to let go of a terminal that was hung up, in milliseconds; they take 1 to 10. */
const HANG_UP_MS = 2_000;

/** A terminal that is attached. */
export interface OpenTerminal {
  readonly terminal: Terminal;
  /** What the session showed before, to be sent first; empty for a new one. */
  readonly history: Buffer;
  readonly input: Writable;
  readonly output: Readable;
  /**
   * Once all output was read: the exit status, null when it was killed; and whether it was sent away by a snapshot, a
   * restore or the end of its workspace. Never rejected.
   */
  readonly exit: Promise<{ readonly status: number | null; readonly wasSentAway: boolean }>;
  resize(size: TerminalSize): Promise<void>;
  /** @param endsSession also ends the session and what runs in it */
  close(endsSession: boolean): Promise<void>;
}

/** Begins a session and shows how to attach to it. */
export async function openTerminalSession(
  parts: Parts,
  params: Params<'terminal/open'>,
  call: Pick<Call, 'signal'>,
): Promise<Result<'terminal/open'>> {
  const { id } = parts.catalogue.workspace(params.container);
  return parts.turns.take(id, call.signal, async () => {
    const { record } = await runningWorkspace(parts, id);
    return beginSession(parts, record, params.session);
  });
}

/**
 * Attaches to a session, begun where it is not there yet. All of it within the workspace's turn, so that no snapshot is
 * taken while a terminal is half attached.
 */
export async function attachTerminal(
  parts: Parts,
  target: Extract<StreamTarget, { kind: 'terminal' }>,
  signal: AbortSignal,
): Promise<OpenTerminal> {
  const { id } = parts.catalogue.workspace(target.container);
  return parts.turns.take(id, signal, async () => {
    const { record, facts, cgroup } = await runningWorkspace(parts, id);
    const terminal = await beginSession(parts, record, target.session);
    const history = await readHistory(parts, record, terminal, target.historyLines);
    const mark = `${terminal.multiplexer === null ? 'plain' : 'attached'}-${randomBytes(12).toString('hex')}`;
    // Not a command of the daemon's that its successor would wait for, so without the daemon's own environment.
    const child = spawn(
      'podman',
      execArguments(
        record.engine,
        { isInteractive: true, hasTerminal: true, env: { ...terminal.env, [MARK]: mark } },
        terminal.command,
      ),
      { stdio: ['pipe', 'pipe', 'pipe'], env: fixedEnvironment(), detached: true },
    );
    const exit = exitOf(child);
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-2000)));
    const firstProcess = (): number | null => findMarked(cgroup, mark);
    const resize = async (size: TerminalSize): Promise<void> => {
      const pid = firstProcess();
      if (pid !== null) await setSize(parts, pid, size);
    };
    const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
    const appeared = await poll(() => hasEnded() || firstProcess() !== null, {
      everyMs: 10,
      timeoutMs: APPEARANCE_MS,
    });
    if (!appeared || (hasEnded() && (await exit) !== 0)) {
      child.kill('SIGKILL');
      throw new ForkpointError(
        'terminal.failed',
        { workspace: record.name },
        { detail: said.trim() || null },
      );
    }
    await resize(target.size);
    const state = { isHungUp: false };
    parts.attached.set(mark, state);
    parts.log.info(
      `terminal ${target.session} of ${record.name}: attached, ${terminal.multiplexer ?? 'no multiplexer'}, process ${String(facts.pid)}`,
    );
    return {
      terminal,
      history,
      input: child.stdin,
      output: child.stdout,
      exit: exit.then((status) => {
        parts.attached.delete(mark);
        return { status, wasSentAway: state.isHungUp || !isRunning(facts.pid) };
      }),
      resize,
      close: async (endsSession) => {
        // First, so that the session is gone when the terminal is over.
        if (endsSession && terminal.multiplexer !== null)
          await parts.engine
            .exec(
              record,
              { isInteractive: false, hasTerminal: false },
              endCommand(terminal.multiplexer, target.session),
            )
            // It has ended by itself, or the workspace has.
            .catch((error: unknown) => parts.log.debug(`ending ${target.session}: ${String(error)}`));
        const pid = firstProcess();
        if (pid !== null) signalProcess(pid, 'SIGHUP');
        // Its terminal is gone, and so it ends; the engine's program need not.
        if (!(await poll(() => hasEnded(), { everyMs: 20, timeoutMs: HANG_UP_MS }))) child.kill('SIGKILL');
      },
    };
  });
}

/** A workspace that runs, and where its processes are. Rejected with `workspace.notRunning`. */
export async function runningWorkspace(
  parts: Parts,
  reference: string,
): Promise<{ record: WorkspaceRecord; facts: ContainerFacts; cgroup: Cgroup }> {
  const record = parts.catalogue.workspace(reference);
  const facts = await parts.engine.facts(record);
  const cgroup = facts.state === 'running' ? Cgroup.find(facts.pid, facts.id) : null;
  if (cgroup === null) throw new ForkpointError('workspace.notRunning', { workspace: record.name });
  return { record, facts, cgroup };
}

/**
 * Hangs up the terminals that are attached from outside: the multiplexer holds an end of each, which is a descriptor
 * that leads out of the workspace, and CRIU dumps no such process. The sessions live on; whoever was attached attaches
 * again.
 */
export async function hangUpTerminals(parts: Parts, cgroup: Cgroup): Promise<void> {
  const attached: number[] = [];
  for (const pid of fromOutside(cgroup.processes())) {
    const mark = markOf(pid);
    if (mark?.startsWith('attached-') !== true) continue;
    attached.push(pid);
    const state = parts.attached.get(mark);
    if (state) state.isHungUp = true;
  }
  if (attached.length === 0) return;
  const devices = new Set(attached.flatMap((pid) => terminalsOf(pid)));
  for (const pid of attached) signalProcess(pid, 'SIGHUP');
  await poll(
    () =>
      !attached.some((pid) => isRunning(pid)) &&
      !cgroup.processes().some((pid) => terminalsOf(pid).some((device) => devices.has(device))),
    { everyMs: 2, timeoutMs: HANG_UP_MS },
  );
}

async function beginSession(parts: Parts, record: WorkspaceRecord, session: string): Promise<Terminal> {
  const env = {
    TERM: 'xterm-256color',
    COLORTERM: 'truecolor',
    ...('LANG' in record.spec.env || 'LC_ALL' in record.spec.env ? {} : { LANG: 'C.UTF-8' }),
  };
  const { stdout } = await parts.engine
    .exec(record, { isInteractive: false, hasTerminal: false, env }, [
      'sh',
      '-c',
      BEGIN_SESSION,
      'sh',
      session,
    ])
    .catch((cause: unknown) => {
      throw new ForkpointError(
        'terminal.failed',
        { workspace: record.name },
        { detail: ForkpointError.from(cause).detail, cause },
      );
    });
  const { multiplexer, isNew } = readBegun(stdout);
  return {
    session,
    multiplexer,
    isNew: isNew || multiplexer === null,
    command: multiplexer === null ? [...PLAIN_SHELL] : attachCommand(multiplexer, session),
    env,
    install: multiplexer === null ? installCommand(stdout, 'tmux') : null,
  };
}

async function readHistory(
  parts: Parts,
  record: WorkspaceRecord,
  { multiplexer, isNew, session }: Terminal,
  lines: number,
): Promise<Buffer> {
  if (multiplexer === null || isNew || lines === 0) return Buffer.alloc(0);
  const { stdout } = await parts.engine.exec(
    record,
    { isInteractive: false, hasTerminal: false },
    historyCommand(multiplexer, session, lines),
  );
  return Buffer.from(stdout.trimEnd().replaceAll('\n', '\r\n'));
}

function exitOf(child: ChildProcessByStdio<Writable, Readable, Readable>): Promise<number | null> {
  // A write to a command that has just ended; its end is told by "close".
  child.stdin.on('error', () => undefined);
  return new Promise((resolve) => {
    child.on('close', (status) => resolve(status));
    child.on('error', () => resolve(null));
  });
}

/** stty(1) sets what TIOCSWINSZ sets, and the kernel tells the foreground processes by SIGWINCH. */
async function setSize(parts: Parts, pid: number, { columns, rows }: TerminalSize): Promise<void> {
  const terminal = `/proc/${String(pid)}/fd/0`;
  try {
    if (!readlinkSync(terminal).startsWith('/dev/pts/')) return;
  } catch {
    // It has just ended, or has closed its standard input.
    return;
  }
  await parts.run('stty', ['-F', terminal, 'rows', String(rows), 'cols', String(columns)], {
    accept: [0, 1],
  });
}

/** Those whose parent is no process of the workspace: started from outside. */
function fromOutside(pids: readonly number[]): number[] {
  const inside = new Set(pids);
  return pids.filter((pid) => {
    const status = readProcess(pid);
    return status !== null && status.innerPid !== 1 && !inside.has(status.parent);
  });
}

function findMarked(cgroup: Cgroup, mark: string): number | null {
  return fromOutside(cgroup.processes()).find((pid) => markOf(pid) === mark) ?? null;
}

function markOf(pid: number): string | null {
  try {
    const variables = readFileSync(`/proc/${String(pid)}/environ`, 'utf8').split('\0');
    return variables.find((one) => one.startsWith(`${MARK}=`))?.slice(MARK.length + 1) ?? null;
  } catch {
    // It has just ended.
    return null;
  }
}

/** The pseudo-terminals that a process holds, each as `device:number`. */
function terminalsOf(pid: number): string[] {
  const directory = `/proc/${String(pid)}/fd`;
  try {
    return readdirSync(directory).flatMap((fd) => {
      const file = `${directory}/${fd}`;
      if (!readlinkSync(file).startsWith('/dev/pts/')) return [];
      const { dev, rdev } = statSync(file);
      return [`${String(dev)}:${String(rdev)}`];
    });
  } catch {
    return [];
  }
}

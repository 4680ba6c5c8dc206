import { copyFile, mkdir, open, rm } from 'node:fs/promises';
import * as path from 'node:path';
import { writeFileSync } from 'node:fs';
import { ForkpointError } from '../../protocol/errors.ts';
import { RUNTIME_ROOT } from '../engines/runtimeRoot.ts';
import { poll } from '../host/poll.ts';
import { replaceFile } from '../host/replaceFile.ts';
import type { Run } from '../host/run.ts';
import { exists } from '../subvolumes/btrfs.ts';
import { withCriuLog } from './criuLog.ts';
import { writeOptionFile } from './optionFile.ts';

/** A subvolume to be snapshotted read-only while the processes stand still. */
export interface PlannedSnapshot {
  readonly source: string;
  readonly target: string;
}

/** Empties the work directory of a workspace and puts the action script into it, as a copy: the script finds its files beside itself. */
export async function prepareWork(work: string, action: string): Promise<string> {
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true, mode: 0o700 });
  const copy = path.join(work, 'action.sh');
  await copyFile(action, copy);
  return copy;
}

/** Tells the action script which subvolumes to snapshot: pairs of paths, each ended by NUL. */
export async function writePlan(work: string, plan: readonly PlannedSnapshot[]): Promise<void> {
  const text = plan.map(({ source, target }) => `${source}\0${target}\0`).join('');
  await replaceFile(path.join(work, 'plan'), text, 0o600);
}

/** Of whose memory, and where to. */
export interface PreDumpOptions {
  runtime: 'runc' | 'crun';
  containerId: string;
  images: string;
  work: string;
  optionFile: string;
  /** Where CRIU writes its log, see criuLog.ts; that of a call that failed is in `work` then. */
  log: string;
  /** Images of a pre-dump that these build upon; null for none. */
  parent: string | null;
  /** In milliseconds. */
  deadlineMs: number;
}

export interface DumpOptions extends PreDumpOptions {
  workspace: string;
  /** From {@link prepareWork}. */
  action: string;
}

/**
 * Copies the memory of a container that runs on meanwhile, and has the kernel note what is changed from then on: a dump that
 * builds upon these images holds no more than that (criu.org/Memory_changes_tracking). The processes stand still while
 * their memory is looked through, not while it is written. Rejected with `command.failed` (detail: the errors in CRIU's log,
 * if there are any).
 */
export async function preDump(run: Run, options: PreDumpOptions): Promise<void> {
  await writeOptionFile(options.optionFile, { kind: 'pre-dump', log: options.log });
  try {
    await runCheckpoint(run, options, ['--pre-dump'], (failure, errors) => {
      const detail = errors.length > 0 ? errors.join('\n') : failure.detail;
      return new ForkpointError(failure.code, failure.args, { detail, cause: failure });
    });
  } finally {
    // Whatever has that id later is not to be ended by the watchdog.
    await rm(path.join(options.work, 'group'), { force: true });
  }
}

/**
 * Writes the memory of a container, frozen beforehand, into `images`, and has the planned subvolumes snapshotted at
 * CRIU's post-dump step. The processes are left as they are: frozen.
 * Rejected with `checkpoint.impossible` (detail: the errors in CRIU's log).
 */
export async function dump(run: Run, options: DumpOptions): Promise<void> {
  const { action, log, workspace } = options;
  await writeOptionFile(options.optionFile, { kind: 'dump', action, log });
  const flags = ['--leave-running', '--tcp-established', '--ext-unix-sk', '--file-locks'];
  await runCheckpoint(
    run,
    options,
    flags,
    (failure, errors) =>
      new ForkpointError(
        'checkpoint.impossible',
        { workspace, reason: explainDumpErrors(errors) },
        { detail: errors.length > 0 ? errors.join('\n') : failure.detail, cause: failure },
      ),
  );
}

/** A dump that has been started, and waits for the processes to stand still. */
export interface BegunDump {
  /** Lets it go on, to its end; see {@link dump}. */
  finish(): Promise<void>;
  /** Ends it unless it has ended, and waits for that; never rejected. */
  abandon(): Promise<void>;
}

/**
 * Starts a {@link dump} while the processes still run. Answers when CRIU is there and waits, or has failed, which
 * {@link BegunDump.finish} tells.
 */
export async function beginDump(run: Run, options: DumpOptions): Promise<BegunDump> {
  const gate = path.join(options.work, 'gate');
  await run('mkfifo', ['-m', '600', gate]);
  // For both, so that to open it waits for nobody (fifo(7)), and what is written stays there.
  const handle = await open(gate, 'r+');
  let hasEnded = false;
  const dumpAndClose = async (): Promise<void> => {
    try {
      await dump(run, options);
    } finally {
      hasEnded = true;
      await handle.close();
      await rm(gate, { force: true });
    }
  };
  const dumping = dumpAndClose();
  dumping.catch(() => undefined);
  await poll(async () => hasEnded || (await exists(`${gate}.reached`)), {
    everyMs: 2,
    timeoutMs: options.deadlineMs,
  });
  const answer = async (word: 'go' | 'stop'): Promise<void> => {
    // It may end in the middle of this, and its end is what counts.
    if (!hasEnded) await handle.write(`${word}\n`).catch(() => undefined);
  };
  return {
    finish: async () => {
      await answer('go');
      await dumping;
    },
    abandon: async () => {
      await answer('stop');
      await dumping.catch(() => undefined);
    },
  };
}

async function runCheckpoint(
  run: Run,
  options: PreDumpOptions,
  flags: readonly string[],
  explain: (failure: ForkpointError, errors: readonly string[]) => ForkpointError,
): Promise<void> {
  const { runtime, images, work, parent, containerId, log, deadlineMs } = options;
  const checkpoint = [
    '--root',
    RUNTIME_ROOT[runtime],
    'checkpoint',
    ...flags,
    // The runtimes want it to be relative.
    ...(parent === null ? [] : ['--parent-path', path.relative(images, parent)]),
    '--image-path',
    images,
    '--work-path',
    work,
    containerId,
  ];
  await withCriuLog(
    log,
    path.join(work, 'dump.log'),
    () =>
      run(runtime, checkpoint, {
        // The watchdog comes first, and ends CRIU with care.
        timeoutMs: deadlineMs + 10_000,
        // Synchronously: the watchdog must find it even if this process is killed right now.
        onStart: (pid) => writeFileSync(path.join(work, 'group'), String(pid)),
      }),
    explain,
  );
}

/** Says in plain words what CRIU's errors mean, where that is known. */
export function explainDumpErrors(errors: readonly string[]): string {
  const all = errors.join('\n');
  const known: readonly (readonly [RegExp, string])[] = [
    [/io_uring/, "a process uses io_uring, which can't be checkpointed"],
    [
      /TracerPid|is being traced|Unseizable|already ptraced|SEIZE.*not permitted/i,
      'a debugger or tracer is attached to a process',
    ],
    [
      /Unsupported (socket )?family|Unknown sock|BUG! Unknown socket/i,
      "a process has a socket of a kind that can't be checkpointed",
    ],
    [/No space left/, 'the pool is full'],
    [/vsyscall|vdso/i, 'this CRIU does not know this kernel'],
  ];
  for (const [pattern, text] of known) if (pattern.test(all)) return text;
  const last = errors.at(-1)?.replace(/^\([\d.]+\)\s*(?:\d+:\s*)?Error \([^)]*\):\s*/, '');
  return last === undefined ? 'the container runtime gave no reason' : `CRIU says "${last}"`;
}

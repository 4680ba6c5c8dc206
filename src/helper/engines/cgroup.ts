import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import { poll } from '../host/poll.ts';

/** How long one attempt to freeze may take before it is let go, in milliseconds; they take 1 to 20. */
const FREEZE_ATTEMPT_MS = 250;

/** Where the parent of a vfork(2) sleeps: wait_for_vfork_done() is inlined into these. */
const VFORK_WAITS = new Set(['kernel_clone', '_do_fork', 'wait_for_vfork_done']);

/** Memory of a cgroup that a dump would have to hold, in bytes: not its page cache (H6). */
export interface CgroupMemory {
  readonly anonymous: number;
  readonly shared: number;
  readonly swapped: number;
}

/**
 * The cgroup of a container: freezes, thaws and kills it, lists its processes, tells its memory.
 * Version 1 (freezer and memory controllers) and version 2 are spoken; the kernel's documents are
 * admin-guide/cgroup-v1/freezer-subsystem and admin-guide/cgroup-v2.
 */
export class Cgroup {
  private constructor(
    private readonly version: 1 | 2,
    /** Directory of the freezer (v1) or of the cgroup (v2). */
    readonly directory: string,
    private readonly memoryDirectory: string | null,
  ) {}

  /**
   * Finds the cgroup of a container through its first process. Null when that has ended: the kernel shows "/" as the
   * cgroup of an exiting process in version 1 (proc_cgroup_show() in kernel/cgroup/cgroup.c), and to freeze or kill
   * that would be to freeze or kill the host. So only a cgroup that carries the container's id is ever touched, and
   * never one that this process is in. Rejected with `internal` for such a one.
   */
  static find(pid: number, containerId: string): Cgroup | null {
    let membership: string;
    try {
      membership = readFileSync(`/proc/${String(pid)}/cgroup`, 'utf8');
    } catch (error) {
      if (isGone(error)) return null;
      throw error;
    }
    if (!membership.includes(containerId)) return null;
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
    const own = readFileSync('/proc/self/cgroup', 'utf8');
    const directory = (controller: string | null): string | null => {
      const found = containerDirectory(controllerDirectory(membership, mounts, controller), containerId);
      if (found !== null) requireOutside(found, controllerDirectory(own, mounts, controller));
      return found;
    };
    const freezer = directory('freezer');
    if (freezer !== null) return new Cgroup(1, freezer, directory('memory'));
    const unified = directory(null);
    return unified === null ? null : new Cgroup(2, unified, unified);
  }

  /**
   * Finds the cgroup of a container through any process in it: what a restore that failed left behind is no child of the
   * engine's, which knows no first process then. Null when there is none.
   */
  static findThroughAnyMember(containerId: string): Cgroup | null {
    for (const entry of readdirSync('/proc')) {
      if (!/^[0-9]+$/.test(entry)) continue;
      const found = Cgroup.find(Number(entry), containerId);
      if (found !== null) return found;
    }
    return null;
  }

  /** Like {@link find}, for a container that is known to run; rejected with `internal` when it has just ended. */
  static of(pid: number, containerId: string): Cgroup {
    const found = Cgroup.find(pid, containerId);
    if (found === null)
      throw new ForkpointError('internal', {
        problem: `the container of process ${String(pid)} has just ended`,
      });
    return found;
  }

  /** File and the words that freeze and thaw through it, for a program that outlives this one. */
  get freezerFile(): { path: string; freeze: string; thaw: string } {
    return this.version === 1
      ? { path: path.join(this.directory, 'freezer.state'), freeze: 'FROZEN', thaw: 'THAWED' }
      : { path: path.join(this.directory, 'cgroup.freeze'), freeze: '1', thaw: '0' };
  }

  /**
   * Freezes all its processes and waits until the kernel says so, at most 10 s (`checkpoint.torn` after that).
   * A parent in the middle of vfork(2) sleeps in the kernel until its child has called exec: the version 1 freezer may wait
   * for it for ever, or call the group frozen although CRIU can't seize it. So a freeze that lasts, or that caught
   * one, is let go and tried again.
   */
  async freeze(): Promise<void> {
    const { path: file, freeze } = this.freezerFile;
    const isDone = await poll(
      async () => {
        writeFileSync(file, freeze);
        const isFrozen = await poll(() => this.isFrozen(), { everyMs: 1, timeoutMs: FREEZE_ATTEMPT_MS });
        if (isFrozen && !this.hasVforkInFlight()) return true;
        this.thaw();
        return false;
      },
      { everyMs: 5, timeoutMs: 10_000 },
    );
    if (!isDone) {
      throw new ForkpointError('checkpoint.torn', {
        workspace: path.basename(this.directory),
        reason: 'its processes did not freeze within 10 s',
      });
    }
  }

  /** Whether a thread sleeps in vfork(2); proc_pid_wchan(5) names the kernel function, whose name depends on the version. */
  private hasVforkInFlight(): boolean {
    return this.processes().some((pid) => {
      try {
        return readdirSync(`/proc/${String(pid)}/task`).some((thread) =>
          VFORK_WAITS.has(readFileSync(`/proc/${String(pid)}/task/${thread}/wchan`, 'utf8')),
        );
      } catch (error) {
        if (isGone(error)) return false;
        throw error;
      }
    });
  }

  /** Thaws; does nothing when it is not frozen or gone. */
  thaw(): void {
    const { path: file, thaw } = this.freezerFile;
    try {
      writeFileSync(file, thaw);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }

  /** What the kernel says: all processes stand still. */
  isFrozen(): boolean {
    try {
      if (this.version === 1)
        return readFileSync(path.join(this.directory, 'freezer.state'), 'utf8').trim() === 'FROZEN';
      return /^frozen 1$/m.test(readFileSync(path.join(this.directory, 'cgroup.events'), 'utf8'));
    } catch (error) {
      if (isGone(error)) return false;
      throw error;
    }
  }

  /** Ids of all processes in it and in the cgroups below, on the host. */
  processes(): number[] {
    const found: number[] = [];
    const visit = (directory: string): void => {
      try {
        for (const line of readFileSync(path.join(directory, 'cgroup.procs'), 'utf8').split('\n')) {
          if (line !== '') found.push(Number(line));
        }
        for (const entry of readdirSync(directory, { withFileTypes: true })) {
          if (entry.isDirectory()) visit(path.join(directory, entry.name));
        }
      } catch (error) {
        if (!isGone(error)) throw error;
      }
    };
    visit(this.directory);
    return found;
  }

  /**
   * Kills every process without letting one run again: version 2 has `cgroup.kill`; on version 1 SIGKILL is sent
   * to the frozen processes, which die when thawed (H5).
   */
  async killAll(): Promise<void> {
    if (this.version === 2) {
      try {
        writeFileSync(path.join(this.directory, 'cgroup.kill'), '1');
      } catch (error) {
        if (!isGone(error)) throw error;
      }
      this.thaw();
    } else {
      if (this.processes().length > 0 && !this.isFrozen()) await this.freeze();
      for (const pid of this.processes()) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch (error) {
          if (!isGone(error)) throw error;
        }
      }
      this.thaw();
    }
  }

  /** See {@link CgroupMemory}; zeros where the kernel doesn't count. */
  async memory(): Promise<CgroupMemory> {
    if (this.memoryDirectory === null) return { anonymous: 0, shared: 0, swapped: 0 };
    const text = await readFile(path.join(this.memoryDirectory, 'memory.stat'), 'utf8');
    const value = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
    if (this.version === 1) {
      return {
        anonymous: value('total_rss'),
        shared: value('total_shmem') || value('shmem'),
        swapped: value('total_swap'),
      };
    }
    const swap = await readFile(path.join(this.memoryDirectory, 'memory.swap.current'), 'utf8').catch(
      () => '0',
    );
    return { anonymous: value('anon'), shared: value('shmem'), swapped: Number(swap) };
  }
}

/**
 * Directory of a process's cgroup in one hierarchy, as this mount namespace sees it.
 * @param controller of version 1, or null for version 2
 */
export function controllerDirectory(
  membership: string,
  mounts: string,
  controller: string | null,
): string | null {
  const line = membership
    .split('\n')
    .map((one) => /^(\d+):([^:]*):(.*)$/.exec(one))
    .find((match) =>
      controller === null ? match?.[1] === '0' : match?.[2]?.split(',').includes(controller),
    );
  const group = line?.[3];
  if (group === undefined) return null;
  for (const mount of mounts.split('\n')) {
    // proc_pid_mountinfo(5): (4) root, (5) mount point … " - " type, source, super options.
    const [before, after] = mount.split(' - ');
    const [, , , root, point] = before?.split(' ') ?? [];
    const [type, , options] = after?.split(' ') ?? [];
    const isWanted =
      controller === null
        ? type === 'cgroup2'
        : type === 'cgroup' && options?.split(',').includes(controller);
    if (!isWanted || root === undefined || point === undefined) continue;
    const relative = path.relative(root, group);
    if (!relative.startsWith('..')) return path.join(point, relative);
  }
  return null;
}

/**
 * The part of a cgroup's path up to the directory that is named after the container (`libpod-ID`, `libpod-ID.scope`,
 * `docker-ID.scope`); runtimes may put the processes in a directory below. Null when none is, and for the one of the
 * engine's monitor (`libpod-conmon-ID.scope`), which must outlive them.
 */
export function containerDirectory(directory: string | null, containerId: string): string | null {
  if (directory === null || !/^[0-9a-f]{64}$/.test(containerId)) return null;
  const components = directory.split('/');
  const index = components.findIndex(
    (component) => component.includes(containerId) && !component.includes('conmon'),
  );
  return index < 0 ? null : components.slice(0, index + 1).join('/');
}

/** Rejected with `internal` when the process whose cgroup is `own` would freeze or kill itself with `directory`. */
export function requireOutside(directory: string, own: string | null): void {
  if (own === null || path.relative(directory, own).startsWith('..')) return;
  throw new ForkpointError('internal', { problem: `the helper itself runs in the cgroup ${directory}` });
}

/** No such file, process or device: a cgroup that was just removed. */
function isGone(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ENOENT' || error.code === 'ESRCH' || error.code === 'ENODEV')
  );
}

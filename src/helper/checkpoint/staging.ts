import { copyFile, mkdir, open, readFile, readdir, rm } from 'node:fs/promises';
import * as path from 'node:path';
import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';
import { failureText } from '../host/failureText.ts';
import type { Log } from '../host/log.ts';
import { mountAt } from '../host/mounts.ts';
import type { Run } from '../host/run.ts';

/** What is written in less time than it takes to move it is not staged, in bytes. */
const STAGED_FROM_BYTES = 16 * 2 ** 20;

/** How much of the memory that the host has left images may take. */
const MOST_OF_AVAILABLE = 0.5;

/**
 * How much of the memory that the host has left can be filled with what is written to files before writers wait for the disk:
 * the kernel's own vm.dirty_background_ratio, half of vm.dirty_ratio (Documentation/admin-guide/sysctl/vm.rst).
 */
const WRITTEN_WITHOUT_WAITING = 0.1;

/** Written at a time, in bytes. */
const CHUNK_BYTES = 4 * 2 ** 20;

/** Memory of the host, in bytes. */
export interface HostMemory {
  readonly free: number;
  /** What can be had without swapping (proc_meminfo(5)). */
  readonly available: number;
}

/**
 * Memory of the host in which a dump writes its images while the processes stand still, because that takes little more
 * than half the time that the pool takes. They are moved to the pool when the processes run again, and no record knows them
 * before.
 */
export class Staging {
  /** What is promised to dumps, in bytes, by their directory. */
  private readonly promised = new Map<string, number>();
  /** The most that was ever ready for a dump, in bytes. */
  private readied = 0;
  private mounting: Promise<void> = Promise.resolve();

  /** @param directory for root alone, outside the pool; a tmpfs is mounted on it */
  constructor(
    private readonly directory: string,
    private readonly run: Run,
    private readonly log: Log,
    private readonly readHostMemory: () => Promise<HostMemory> = readMemory,
  ) {}

  /** Removes what an earlier daemon has left: its snapshots are undone, or have their images in the pool. */
  async clear(): Promise<void> {
    for (const left of await readdir(this.directory).catch(() => []))
      await rm(path.join(this.directory, left), { recursive: true, force: true });
  }

  /**
   * A directory for the images of a dump of so many bytes, with memory made ready for them; null where the dump had better
   * write into the pool, because it is small or the host has no memory to spare.
   * @param isWokenAtOnce somebody waits for more than the end of the freeze: writing into the pool takes longer than writing
   * here, but less than writing here and moving it there, as long as it does not wait for the disk
   */
  async reserve(
    id: WorkspaceId,
    name: SnapshotName,
    bytes: number,
    isWokenAtOnce = false,
  ): Promise<string | null> {
    if (bytes < STAGED_FROM_BYTES) return null;
    const place = this.place(id, name);
    try {
      const { free, available } = await this.readHostMemory();
      const taken = [...this.promised.values()].reduce((sum, one) => sum + one, 0);
      if (bytes > (available - taken) * MOST_OF_AVAILABLE) return null;
      if (isWokenAtOnce && bytes < available * WRITTEN_WITHOUT_WAITING) return null;
      this.promised.set(place, bytes);
      await this.mount();
      await mkdir(place, { mode: 0o700 });
      if (bytes > this.readied || bytes > free) await this.makeReady(place, bytes);
      return place;
    } catch (error) {
      this.log.warn(`memory images go straight to the pool: ${failureText(error)}`);
      await this.discard(id, name);
      return null;
    }
  }

  /** Moves the images of a dump to where they stay; does nothing for one that has no directory here. */
  async move(id: WorkspaceId, name: SnapshotName, target: string): Promise<void> {
    const place = this.place(id, name);
    if (!this.promised.has(place)) return;
    try {
      for (const file of await readdir(place)) {
        await copyFile(path.join(place, file), path.join(target, file));
        // At once, so that the same pages are not in memory twice for longer than that.
        await rm(path.join(place, file));
      }
    } finally {
      await this.discard(id, name);
    }
  }

  /** Forgets the images of a dump, if there are any; never rejected. */
  async discard(id: WorkspaceId, name: SnapshotName): Promise<void> {
    const place = this.place(id, name);
    if (!this.promised.delete(place)) return;
    await rm(place, { recursive: true, force: true }).catch((error: unknown) =>
      this.log.warn(`memory images are left in ${place}: ${failureText(error)}`),
    );
  }

  private place(id: WorkspaceId, name: SnapshotName): string {
    return path.join(this.directory, `${id}.${name}`);
  }

  /** One after another: a second mount would hide what is in the first. */
  private mount(): Promise<void> {
    const mounted = this.mounting.then(() => this.mountUnlessMounted());
    this.mounting = mounted.catch(() => undefined);
    return mounted;
  }

  private async mountUnlessMounted(): Promise<void> {
    if (mountAt(this.directory)?.type === 'tmpfs') return;
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    // Half of the machine's memory at most, as tmpfs(5) has it by default.
    await this.run('mount', [
      ...['-t', 'tmpfs', '-o', 'mode=0700,nosuid,nodev,noexec'],
      'forkpoint-staging',
      this.directory,
    ]);
  }

  /**
   * Has the kernel find so much memory now rather than during the freeze: other caches make way for it, and on a virtual
   * machine the host underneath provides what was never used before, which takes four times as long as to fill it.
   */
  private async makeReady(place: string, bytes: number): Promise<void> {
    const file = path.join(place, 'ready');
    const handle = await open(file, 'wx', 0o600);
    try {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      for (let written = 0; written < bytes; written += CHUNK_BYTES) await handle.write(chunk);
    } finally {
      await handle.close();
      await rm(file);
    }
    this.readied = Math.max(this.readied, bytes);
  }
}

/** Rejected when it can't be read. */
async function readMemory(): Promise<HostMemory> {
  const text = await readFile('/proc/meminfo', 'utf8');
  const bytesOf = (key: string): number => {
    const kibibytes = new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1];
    if (kibibytes === undefined) throw new RangeError(`/proc/meminfo has no ${key}`);
    return Number(kibibytes) * 1024;
  };
  return { free: bytesOf('MemFree'), available: bytesOf('MemAvailable') };
}

import { chmod, mkdir, stat, statfs } from 'node:fs/promises';
import { ForkpointError } from '../../protocol/errors.ts';
import type { Pool } from '../../protocol/workspace.ts';
import { readHostFile, writeHostFile, type HostFile } from './hostFile.ts';
import type { Log } from './log.ts';
import { mountAt } from './mounts.ts';
import type { Paths } from './paths.ts';
import type { Run } from './run.ts';

/**
 * Mount options of a pool that we mount: nothing inside is a device for the host (H52), and what is deleted inside
 * doesn't punch holes into the file, which was allocated in full (H18; btrfs discards by itself where the device can).
 */
const MOUNT_OPTIONS = 'loop,nodev,noatime,nodiscard';

/** Looks after the pool's mount: nothing touches the pool before {@link PoolMount.ensure} has answered (H18). */
export class PoolMount {
  readonly #parts: { paths: Paths; run: Run; log: Log };
  /** The mount whose UUID was compared; another one is compared again. */
  #verified: string | null = null;
  #ensuring: Promise<HostFile> | null = null;

  constructor(parts: { paths: Paths; run: Run; log: Log }) {
    this.#parts = parts;
  }

  /**
   * Makes sure that this host's own pool is mounted, and mounts its loop file if need be. A btrfs file system that
   * an administrator mounted there is adopted: its UUID is recorded.
   * @throws `pool.missing` when nothing is mounted and nothing can be, `pool.foreign` when something else is
   */
  ensure(): Promise<HostFile> {
    this.#ensuring ??= this.#ensure().finally(() => (this.#ensuring = null));
    return this.#ensuring;
  }

  async #ensure(): Promise<HostFile> {
    const { paths, log } = this.#parts;
    const host = (await readHostFile(paths.hostFile)) ?? (await this.#adopt());
    let mount = mountAt(host.root);
    if (mount === null) {
      await this.#mountFile(host);
      mount = mountAt(host.root);
      if (mount === null) throw new ForkpointError('pool.missing', { path: host.root });
      log.info(`mounted the pool ${String(host.poolFile)} at ${host.root}`);
    }
    if (mount.id !== this.#verified) {
      const uuid = mount.type === 'btrfs' ? await this.#uuidOf(host.root) : null;
      if (uuid !== host.poolUuid) {
        log.error(
          `the file system at ${host.root} is ${uuid ?? mount.type}, not the pool ${host.poolUuid}: refused`,
        );
        throw new ForkpointError('pool.foreign', { path: host.root, uuid: host.poolUuid });
      }
      // Not where it is so: one that can only be read is looked at all the same.
      if (((await stat(host.root)).mode & 0o777) !== 0o700) await chmod(host.root, 0o700);
      this.#verified = mount.id;
    }
    return host;
  }

  /** Records a pool that is there without host.json: mounted by an administrator, or left by a set-up that was cut off. */
  async #adopt(): Promise<HostFile> {
    const { paths, log } = this.#parts;
    const mount = mountAt(paths.pool);
    let host: HostFile;
    if (mount !== null) {
      if (mount.type !== 'btrfs') throw new ForkpointError('pool.missing', { path: paths.pool });
      host = { schema: 1, poolUuid: await this.#uuidOf(paths.pool), root: paths.pool };
    } else {
      if (!(await exists(paths.poolFile))) throw new ForkpointError('pool.missing', { path: paths.pool });
      host = {
        schema: 1,
        poolUuid: await this.#uuidOf(paths.poolFile),
        poolFile: paths.poolFile,
        root: paths.pool,
      };
    }
    await writeHostFile(paths.hostFile, host);
    log.info(`adopted the pool ${host.poolUuid} at ${host.root}`);
    return host;
  }

  async #mountFile(host: HostFile): Promise<void> {
    if (host.poolFile === undefined || !(await exists(host.poolFile))) {
      throw new ForkpointError('pool.missing', { path: host.root });
    }
    await this.#fillHoles(host.poolFile);
    await mkdir(host.root, { recursive: true, mode: 0o700 });
    await this.#parts.run('mount', ['-t', 'btrfs', '-o', MOUNT_OPTIONS, host.poolFile, host.root]);
  }

  /** Allocates again what a trim of the host's file systems, or a copy, has made sparse. */
  async #fillHoles(poolFile: string): Promise<void> {
    const { size, blocks } = await stat(poolFile);
    // st_blocks counts 512 bytes each, whatever the file system's own blocks are (stat(2)).
    if (blocks * 512 >= size) return;
    this.#parts.log.warn(`${poolFile} has holes: ${String(size - blocks * 512)} bytes are allocated again`);
    await this.#parts.run('fallocate', ['--length', String(size), poolFile], { timeoutMs: 600_000 });
  }

  /** UUID of the btrfs that is mounted at, or lies in, `place`. */
  async #uuidOf(place: string): Promise<string> {
    const { stdout } = await this.#parts.run('btrfs', ['filesystem', 'show', '--raw', place]);
    const uuid = /uuid: ([0-9a-f-]{36})/.exec(stdout)?.[1];
    if (uuid === undefined) throw new ForkpointError('pool.missing', { path: place });
    return uuid;
  }
}

/** Part of the pool that creates can't use (H18): 5 %, at least 1 GiB. */
export function reserveOf(totalBytes: number): number {
  return Math.max(Math.ceil(totalBytes / 20), 1024 ** 3);
}

/** Size and free space of the pool mounted at `root`. */
export async function readPool(root: string): Promise<Pool> {
  const { bsize, blocks, bavail } = await statfs(root);
  const [totalBytes, freeBytes] = [blocks * bsize, bavail * bsize];
  return {
    path: root,
    totalBytes,
    freeBytes,
    reserveBytes: reserveOf(totalBytes),
    isLow: freeBytes < totalBytes / 10,
  };
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}

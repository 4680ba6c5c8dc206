import { lstat, mkdir, rmdir } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import { mountHolding } from '../host/mounts.ts';
import type { Run } from '../host/run.ts';

/** Inode number of the root directory of every btrfs subvolume (BTRFS_FIRST_FREE_OBJECTID). */
const SUBVOLUME_ROOT_INODE = 256;

/** More nested subvolumes than that in one workspace are refused: each is snapshotted inside the freeze. */
export const MAXIMUM_NESTED_SUBVOLUMES = 200;

/** The btrfs operations that Forkpoint needs, through the `btrfs` program. Paths are absolute. */
export class Subvolumes {
  /** For each root: the wait for what was deleted before it began, and the next one, which all share who came since. */
  private readonly waits = new Map<string, { next: Promise<void> | null; readonly current: Promise<void> }>();

  constructor(private readonly run: Run) {}

  /** Makes an empty subvolume; its parent directory must exist. */
  async create(directory: string): Promise<void> {
    await this.run('btrfs', ['-q', 'subvolume', 'create', '--', directory]);
  }

  /** Clones `source` as the subvolume `target`, which must not exist: `btrfs` would put the clone *into* an existing directory. */
  async snapshot(source: string, target: string, options: { isReadOnly: boolean }): Promise<void> {
    if (await exists(target)) {
      throw new ForkpointError('internal', { problem: `the subvolume ${target} exists already` });
    }
    await this.run('btrfs', [
      '-q',
      'subvolume',
      'snapshot',
      ...(options.isReadOnly ? ['-r'] : []),
      '--',
      source,
      target,
    ]);
  }

  /** Deletes one subvolume, without waiting until its space is free. It must have no nested ones. */
  async delete(directory: string): Promise<void> {
    await this.run('btrfs', ['-q', 'subvolume', 'delete', '--', directory]);
  }

  async setReadOnly(directory: string, isReadOnly: boolean): Promise<void> {
    await this.run('btrfs', ['property', 'set', '-ts', directory, 'ro', String(isReadOnly)]);
  }

  /** The read-only subvolumes of the file system mounted at `root`, as paths below it. */
  async readOnly(root: string): Promise<ReadonlySet<string>> {
    const mount = mountHolding(root);
    const { stdout } = await this.run('btrfs', ['subvolume', 'list', '-r', '--', root]);
    const found = new Set<string>();
    for (const line of stdout.split('\n')) {
      const listed = /^ID \d+ gen \d+ top level \d+ path (.+)$/.exec(line)?.[1];
      if (listed !== undefined)
        found.add(path.join(mount.mountPoint, path.relative(mount.root, path.join('/', listed))));
    }
    return found;
  }

  /** Writes all that the pool holds in memory to the disk (syncfs(2)). */
  async sync(directory: string): Promise<void> {
    await this.run('sync', ['-f', '--', directory], { timeoutMs: 600_000 });
  }

  /**
   * The subvolumes nested in `root`, as paths relative to it, outermost first. btrfs leaves them out of a snapshot,
   * where each appears as an empty directory (H4). Their names come from the container, so each is checked to be a
   * subvolume at just that place; a name that can't be told apart in the listing is an error.
   */
  async nested(root: string): Promise<string[]> {
    const found: string[] = [];
    const mount = mountHolding(root);
    const visit = async (parent: string): Promise<void> => {
      const { stdout } = await this.run('btrfs', ['subvolume', 'list', '-o', '--', path.join(root, parent)]);
      for (const line of stdout.split('\n')) {
        if (line === '') continue;
        const listed = /^ID \d+ gen \d+ top level \d+ path (.+)$/.exec(line)?.[1];
        if (listed === undefined)
          throw new ForkpointError('internal', { problem: `unexpected line of btrfs: ${line}` });
        // Listed from the top of the file system, of which the mount may show a part.
        const relative = path.relative(
          root,
          path.join(mount.mountPoint, path.relative(mount.root, path.join('/', listed))),
        );
        if (relative.startsWith('..') || !(await isSubvolume(path.join(root, relative)))) {
          throw new ForkpointError('internal', {
            problem: `the nested subvolume "${relative}" can't be found where it is listed`,
          });
        }
        found.push(relative);
        if (found.length > MAXIMUM_NESTED_SUBVOLUMES) {
          throw new ForkpointError('internal', {
            problem: `the workspace has more than ${String(MAXIMUM_NESTED_SUBVOLUMES)} nested subvolumes`,
          });
        }
        await visit(relative);
      }
    };
    await visit('');
    return found;
  }

  /**
   * Clones `source` together with `nested` ones, which lie under other paths (as a snapshot keeps them), into the writable
   * subvolume `target`.
   * @param nested where each nested snapshot is, and its place inside, outermost first
   */
  async assemble(
    source: string,
    target: string,
    nested: readonly { from: string; path: string }[],
  ): Promise<void> {
    await this.snapshot(source, target, { isReadOnly: false });
    for (const one of nested) {
      const place = path.join(target, one.path);
      // An empty directory stands where the subvolume was.
      await rmdir(place).catch((error: unknown) => {
        if (!isMissing(error)) throw error;
      });
      await mkdir(path.dirname(place), { recursive: true });
      await this.snapshot(one.from, place, { isReadOnly: false });
    }
  }

  /** Waits until the kernel has let go of what deleted subvolumes held, at most two minutes. */
  waitForDeleted(root: string): Promise<void> {
    const wait = this.waits.get(root);
    if (wait === undefined) {
      const current = this.run('btrfs', ['subvolume', 'sync', root], { timeoutMs: 120_000 })
        .then(() => undefined)
        .finally(() => this.waits.delete(root));
      this.waits.set(root, { current, next: null });
      return current;
    }
    // It takes half a minute, and many may be deleted meanwhile: a program for each would be hundreds.
    wait.next ??= wait.current.catch(() => undefined).then(() => this.waitForDeleted(root));
    return wait.next;
  }

  /** What deleting `directories` would free, in bytes, by the kernel's own count of shared extents. Slow: seconds for large trees. */
  async exclusiveBytes(directories: readonly string[]): Promise<number> {
    const { stdout } = await this.run('btrfs', ['filesystem', 'du', '-s', '--raw', '--', ...directories], {
      timeoutMs: 600_000,
    });
    let sum = 0;
    for (const line of stdout.split('\n').slice(1)) {
      const exclusive = /^\s*\d+\s+(\d+)\s/.exec(line)?.[1];
      if (exclusive !== undefined) sum += Number(exclusive);
    }
    return sum;
  }
}

/** Whether `directory` is the root of a subvolume. */
export async function isSubvolume(directory: string): Promise<boolean> {
  const stats = await lstat(directory).catch(() => null);
  return stats !== null && stats.isDirectory() && stats.ino === SUBVOLUME_ROOT_INODE;
}

/** Whether anything is at `file`, links not followed. */
export async function exists(file: string): Promise<boolean> {
  return (await lstat(file).catch(() => null)) !== null;
}

/** Whether `error` says that a file is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** For `catch`: null where a file is missing; other failures go on. */
export function nullIfMissing(error: unknown): null {
  if (isMissing(error)) return null;
  throw error;
}

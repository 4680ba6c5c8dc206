import { constants, copyFile, open, rename, rm, writeFile } from 'node:fs/promises';
import * as path from 'node:path';

/** Makes room for one more file on a full disk; answers whether it could. */
export type MakeRoom = () => Promise<boolean>;

/**
 * Writes `value` as JSON so that after a power cut either the old file or the whole new one is there. Mode 0600.
 * @param makeRoom called when the disk is full, and then it is tried once more
 */
export async function writeJsonDurably(file: string, value: unknown, makeRoom?: MakeRoom): Promise<void> {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  try {
    await writeWhole(file, text);
  } catch (error) {
    if (!isFull(error) || makeRoom === undefined || !(await makeRoom())) throw error;
    await writeWhole(file, text);
  }
}

/** The content is on the disk before the file bears its name, and both are before this ends. */
async function writeWhole(file: string, text: string): Promise<void> {
  const draft = `${file}.draft`;
  const temporary = `${file}.tmp`;
  await writeFile(draft, text, { mode: 0o600 });
  if (!(await clone(draft, temporary))) {
    // rename(2), fsync(2): what is renamed is on the disk with its new name once the directory is.
    await sync(draft);
    await rename(draft, file);
    await syncDirectory(path.dirname(file));
    return;
  }
  await rm(draft);
  await rename(temporary, file);
  await sync(file);
}

/**
 * Makes `target` a reflink of `source`, where the file system can: on btrfs, as the pool is. There one flush of the disk does
 * for both content and name, where fsync, rename and fsync take two, which wait for each other on a disk that is not known as
 * an SSD (btrfs_sync_log in fs/btrfs/tree-log.c). Cloning writes what the source holds and waits until it is on the disk
 * (btrfs_remap_file_range_prep in fs/btrfs/reflink.c), the clone and its rename are of one transaction or of two in that
 * order, and an fsync of a file that was renamed keeps its new name, too (btrfs_log_inode_parent in fs/btrfs/tree-log.c).
 */
async function clone(source: string, target: string): Promise<boolean> {
  try {
    await copyFile(source, target, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch (error) {
    if (isFull(error)) throw error;
    return false;
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOSPC';
}

/** Removes `file` for good: its directory is written too. A missing file is no error. */
export async function removeDurably(file: string): Promise<void> {
  await rm(file, { force: true });
  await syncDirectory(path.dirname(file));
}

/** Makes renames and removals in `directory` survive a power cut. */
export async function syncDirectory(directory: string): Promise<void> {
  await sync(directory);
}

/** Writes what the kernel holds of a file or directory to the disk (fsync(2)). */
async function sync(place: string): Promise<void> {
  const handle = await open(place, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

import { open, rename, rm } from 'node:fs/promises';
import * as path from 'node:path';

/** Makes room for one more file on a full disk; answers whether it could. */
export type MakeRoom = () => Promise<boolean>;

/**
 * Writes `value` as JSON so that after a power cut either the old file or the whole new one is there:
 * temporary name, fsync, rename, fsync of the directory (rename(2), fsync(2)). Mode 0600.
 * @param makeRoom called when the disk is full, and then it is tried once more
 */
export async function writeJsonDurably(file: string, value: unknown, makeRoom?: MakeRoom): Promise<void> {
  const temporary = `${file}.tmp`;
  try {
    await writeWhole(temporary, value);
  } catch (error) {
    if (!isFull(error) || makeRoom === undefined || !(await makeRoom())) throw error;
    await writeWhole(temporary, value);
  }
  await rename(temporary, file);
  await syncDirectory(path.dirname(file));
}

async function writeWhole(temporary: string, value: unknown): Promise<void> {
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(`${JSON.stringify(value, null, 2)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
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
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

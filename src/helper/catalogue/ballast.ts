import { open, stat } from 'node:fs/promises';
import type { Run } from '../host/run.ts';
import { nullIfMissing } from '../subvolumes/btrfs.ts';
import type { MakeRoom } from './durableFile.ts';

/** Size of the ballast in bytes: thousands of records. */
const BALLAST_BYTES = 32 * 1024 * 1024;

/**
 * How much of it one write drops, in bytes; more than that would go to those who have filled the disk. Each piece is allocated
 * on its own: btrfs frees an extent as a whole or not at all.
 */
const PIECE_BYTES = 4 * 1024 * 1024;

/**
 * A file that takes space while there is some and is dropped piece by piece when there is none (H18): the programs of
 * workspaces write past any reserve, and on a disk that is full to the last block nothing could be undone, finished or
 * deleted, because each of these begins with a record. btrfs wants a free data block even for a file that it keeps in its metadata.
 */
export class Ballast {
  constructor(
    private readonly file: string,
    private readonly run: Run,
  ) {}

  /** Takes the space again, where there is some. */
  async fill(): Promise<void> {
    let bytes = await this.size();
    if (bytes >= BALLAST_BYTES) return;
    const handle = await open(this.file, 'a', 0o600);
    await handle.close();
    for (; bytes < BALLAST_BYTES; bytes += PIECE_BYTES) {
      const place = ['--offset', String(bytes), '--length', String(PIECE_BYTES)];
      const { exitCode } = await this.run('fallocate', [...place, '--', this.file], { accept: [0, 1] });
      // The disk is full; it is tried again later.
      if (exitCode !== 0) return;
    }
  }

  /** Drops a piece, and waits until the file system can give it to another file: with its next transaction. */
  readonly drop: MakeRoom = async () => {
    const bytes = await this.size();
    if (bytes === 0) return false;
    const handle = await open(this.file, 'r+');
    try {
      await handle.truncate(Math.max(0, bytes - PIECE_BYTES));
    } finally {
      await handle.close();
    }
    await this.run('sync', ['-f', '--', this.file], { timeoutMs: 600_000 });
    return true;
  };

  private async size(): Promise<number> {
    const stats = await stat(this.file).catch(nullIfMissing);
    return stats?.size ?? 0;
  }
}

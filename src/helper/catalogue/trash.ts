import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import * as path from 'node:path';
import { failureText } from '../host/failureText.ts';
import type { Log } from '../host/log.ts';
import { exists, isSubvolume } from '../subvolumes/btrfs.ts';
import type { Subvolumes } from '../subvolumes/btrfs.ts';
import { syncDirectory } from './durableFile.ts';

/** Begins the name of a bin that is still needed, and so is not emptied before it is released. */
export const HELD = 'held-';

/** How deep below a trashed directory subvolumes are looked for; `snapshots/ID/NAME/volumes/DATA` lies deepest. */
const SEARCH_DEPTH = 4;

/**
 * Ends the name of a bin whose subvolumes may be deleted with those nested in them, which are kept elsewhere or were given up
 * by name; in others they are left (H4). In the name, because a full disk takes no file any more, but a directory still.
 */
const WITH_NESTED = '.all';

/** Where everything goes that is to be deleted: renamed at once, deleted in the background. */
export class Trash {
  private emptying: Promise<void> | null = null;
  /** Something was put in since the trash was last looked through. */
  private isFilled = false;
  private isStopped = false;

  constructor(
    private readonly directory: string,
    private readonly subvolumes: Subvolumes,
    private readonly log: Log,
  ) {}

  /** Makes a bin of that name, to which things are moved step by step; an existing one is used again. */
  async bin(name: string, options: { nestedMayGo: boolean }): Promise<string> {
    const bin = path.join(this.directory, `${name}${options.nestedMayGo ? WITH_NESTED : ''}`);
    await mkdir(bin, { recursive: true, mode: 0o700 });
    await syncDirectory(this.directory);
    return bin;
  }

  /** Lets a bin made by {@link bin} be emptied: those whose name begins with {@link HELD} are not. */
  async release(bin: string): Promise<void> {
    const ending = bin.endsWith(WITH_NESTED) ? WITH_NESTED : '';
    const name = path.basename(bin, ending).slice(HELD.length);
    await rename(bin, path.join(this.directory, `${name}-${randomBytes(6).toString('hex')}${ending}`));
  }

  /** Moves one file or directory to the trash. A missing one is no error: the move was done before. */
  async move(from: string, options: { nestedMayGo: boolean }): Promise<void> {
    if (!(await exists(from))) return;
    // Held until it is filled: what empties the trash meanwhile must not take it for a bin that nobody filled.
    const bin = await this.bin(`${HELD}${path.basename(from)}-${randomBytes(6).toString('hex')}`, options);
    await rename(from, path.join(bin, 'content'));
    await this.release(bin);
  }

  /** Deletes what is in the trash, now and then, one thing after another; never awaited by a request. */
  emptySoon(): void {
    this.isFilled = true;
    this.emptying ??= this.emptyAll().finally(() => {
      this.emptying = null;
    });
  }

  /** Ends emptying after the deletion under way. */
  async stop(): Promise<void> {
    this.isStopped = true;
    await this.emptying;
  }

  /** Resolves when all is deleted that was put in before, as far as it can be. */
  async emptied(): Promise<void> {
    await this.emptying;
  }

  get isEmptying(): boolean {
    return this.emptying !== null;
  }

  private async emptyAll(): Promise<void> {
    while (this.isFilled && !this.isStopped) {
      this.isFilled = false;
      await this.empty();
    }
  }

  private async empty(): Promise<void> {
    for (const name of await readdir(this.directory)) {
      if (this.isStopped) return;
      if (name.startsWith(HELD)) continue;
      const bin = path.join(this.directory, name);
      try {
        await this.deleteBin(bin);
      } catch (error) {
        this.log.warn(`${bin} could not be deleted, it is tried again later: ${failureText(error)}`);
      }
    }
  }

  private async deleteBin(bin: string): Promise<void> {
    const nestedMayGo = bin.endsWith(WITH_NESTED);
    for (const subvolume of await this.subvolumesBelow(bin, SEARCH_DEPTH)) {
      const nested = await this.subvolumes.nested(subvolume);
      if (nested.length > 0 && !nestedMayGo) {
        this.log.warn(
          `${subvolume} holds nested subvolumes that no snapshot is known to hold; it is left alone`,
        );
        return;
      }
      for (const one of nested.reverse()) await this.subvolumes.delete(path.join(subvolume, one));
      await this.subvolumes.delete(subvolume);
    }
    await rm(bin, { recursive: true, force: true });
    this.log.info(`deleted ${bin}`);
  }

  /** Subvolumes below `directory`; those nested in one of them are not listed. */
  private async subvolumesBelow(directory: string, depth: number): Promise<string[]> {
    if (depth === 0) return [];
    const found: string[] = [];
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const child = path.join(directory, entry.name);
      if (await isSubvolume(child)) found.push(child);
      else found.push(...(await this.subvolumesBelow(child, depth - 1)));
    }
    return found;
  }
}

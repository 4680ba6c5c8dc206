import { appendFile, mkdir, rename } from 'node:fs/promises';
import * as path from 'node:path';
import { syncDirectory } from './durableFile.ts';
import type { Layout } from './layout.ts';
import { exists } from '../subvolumes/btrfs.ts';

/** Where that goes which could be somebody's only copy and has no place any more: nothing in there is ever deleted by Forkpoint. */
export class LostAndFound {
  private readonly directory: string;

  /** @param at names the directory of this repair or failure */
  constructor(
    private readonly layout: Layout,
    at: Date,
  ) {
    const stamp = at.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
    this.directory = path.join(layout.lostAndFound(), stamp);
  }

  /**
   * Moves something of the pool there, under the same path, and answers where it is now; null where nothing was: it was
   * moved before.
   */
  async take(from: string, reason: string): Promise<string | null> {
    if (!(await exists(from))) return null;
    const relative = path.relative(this.layout.root, from);
    const target = await freePlace(path.join(this.directory, relative));
    await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
    await appendFile(path.join(this.directory, 'reasons.txt'), `${relative}: ${reason}\n`, { mode: 0o600 });
    await rename(from, target);
    await syncDirectory(path.dirname(target));
    await syncDirectory(path.dirname(from));
    return target;
  }
}

/** The place, or with the first number that makes it free. */
async function freePlace(place: string): Promise<string> {
  let candidate = place;
  for (let number = 2; await exists(candidate); number++) candidate = `${place}.${String(number)}`;
  return candidate;
}

import { ForkpointError } from '../../protocol/errors.ts';
import type { Log } from '../host/log.ts';
import type { Run } from '../host/run.ts';
import { readMemory } from './images.ts';
import { matchPages, pagesIn } from './pageMap.ts';
import type { Stretch } from './pageMap.ts';

/** Images of less are left alone, in bytes: that many small processes would cost more time than they free space. */
const LEAST_BYTES = 1024 * 1024;

/** At least that part of an image must be in the earlier one: the rest of it is written again. */
const LEAST_EQUAL = 1 / 4;

/** What is compared to tell whether it is: so much of so much, in bytes. */
const SAMPLE_BYTES = 64 * 1024;
const SAMPLE_EVERY_BYTES = 2 * 1024 * 1024;

/** That much is done at once, in bytes: a fraction of a second, after which it is looked whether something else is to be done. */
const BATCH_BYTES = 64 * 1024 * 1024;

/** One batch may take that long on a busy disk, in milliseconds: it has the lowest priority. */
const BATCH_MS = 600_000;

/** Shares the blocks of equal pages between memory images, outside of the daemon; see the program in assets.ts. */
export class PageSharing {
  private isPerlMissing = false;

  constructor(
    private readonly run: Run,
    private readonly program: string,
    private readonly log: Log,
  ) {}

  /**
   * Makes the images in `later` share with those in `earlier` the blocks of all pages that are equal at the same address of
   * the same process. The images stay whole, whenever and however it ends; it may be repeated.
   * @param names of the later images
   * @param pause awaited before each batch
   * @returns how many bytes are shared
   */
  async share(
    earlier: string,
    later: string,
    names: readonly string[],
    pause: () => Promise<void>,
    signal: AbortSignal,
  ): Promise<number> {
    let shared = 0;
    for (const name of names.filter((one) => one.startsWith('pagemap-'))) {
      const pair = await this.readPair(earlier, later, name);
      if (pair === null || this.isPerlMissing) continue;
      const ask = async (mode: 'try' | 'share', stretches: readonly Stretch[]): Promise<number> => {
        await pause();
        return this.ask(pair, mode, stretches, signal);
      };
      const matched = pair.stretches.filter(({ earlierOffset }) => earlierOffset !== null);
      const sample = sampleOf(matched);
      const equalPart = sample.length === 0 ? 0 : (await ask('try', sample)) / bytesIn(sample);
      if (equalPart * bytesIn(matched) < LEAST_EQUAL * bytesIn(pair.stretches)) continue;
      for (const batch of batchesOf(pair.stretches)) shared += await ask('share', batch);
    }
    return shared;
  }

  /** Null where there is no earlier image, or nothing to be gained. */
  private async readPair(earlier: string, later: string, name: string): Promise<Pair | null> {
    try {
      const [before, now] = await Promise.all([readMemory(earlier, name), readMemory(later, name)]);
      if (before === null || before.bytes === 0 || now === null || now.bytes < LEAST_BYTES) return null;
      const pageBytes = now.bytes / pagesIn(now.map);
      if (!Number.isInteger(pageBytes) || before.bytes !== pagesIn(before.map) * pageBytes)
        throw new RangeError('its pages are not the whole of its image');
      const stretches = matchPages(before.map, now.map, pageBytes);
      return { source: before.pages, target: now.pages, pageBytes, stretches };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.log.warn(`${name} in ${later} is not compared: ${error.message}`);
      return null;
    }
  }

  private async ask(
    { source, target, pageBytes }: Pair,
    mode: 'try' | 'share',
    stretches: readonly Stretch[],
    signal: AbortSignal,
  ): Promise<number> {
    const input = stretches
      .map(
        ({ offset, earlierOffset, bytes }) =>
          `${String(earlierOffset ?? '-')} ${String(offset)} ${String(bytes)}\n`,
      )
      .join('');
    try {
      const { stdout } = await this.run('perl', [this.program, source, target, String(pageBytes), mode], {
        input,
        signal,
        timeoutMs: BATCH_MS,
      });
      return Number(stdout.split(' ', 1)[0]);
    } catch (error) {
      if (ForkpointError.from(error).code !== 'host.toolMissing') throw error;
      this.isPerlMissing = true;
      this.log.warn(
        'there is no Perl on this host; snapshots do not share the memory that they have in common',
      );
      return 0;
    }
  }
}

/** An image and the earlier one of the same process or shared memory segment. */
interface Pair {
  readonly source: string;
  readonly target: string;
  readonly pageBytes: number;
  readonly stretches: readonly Stretch[];
}

function bytesIn(stretches: readonly Stretch[]): number {
  return stretches.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** A little of all that they span. */
function sampleOf(stretches: readonly Stretch[]): Stretch[] {
  return stretches.flatMap((stretch) => {
    const count = Math.ceil(stretch.bytes / SAMPLE_EVERY_BYTES);
    return Array.from({ length: count }, (_, index) =>
      partOf(stretch, index * SAMPLE_EVERY_BYTES, SAMPLE_BYTES),
    );
  });
}

/** All that they span, in pieces of {@link BATCH_BYTES}. */
function batchesOf(stretches: readonly Stretch[]): Stretch[][] {
  const batches: Stretch[][] = [];
  let room = 0;
  for (const stretch of stretches) {
    for (let from = 0; from < stretch.bytes;) {
      if (room === 0) {
        batches.push([]);
        room = BATCH_BYTES;
      }
      const part = partOf(stretch, from, room);
      batches.at(-1)?.push(part);
      from += part.bytes;
      room -= part.bytes;
    }
  }
  return batches;
}

/** What of a stretch begins at `from`, `bytes` at most. */
function partOf({ offset, earlierOffset, bytes: all }: Stretch, from: number, bytes: number): Stretch {
  return {
    offset: offset + from,
    earlierOffset: earlierOffset === null ? null : earlierOffset + from,
    bytes: Math.min(bytes, all - from),
  };
}

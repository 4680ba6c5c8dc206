import { readdir, readlink, rename, rm } from 'node:fs/promises';
import * as path from 'node:path';
import { replaceFile } from '../host/replaceFile.ts';
import type { Run } from '../host/run.ts';
import { nullIfMissing } from '../subvolumes/btrfs.ts';
import { readMemory } from './images.ts';
import type { MemoryImage } from './images.ts';
import { pagesIn, writePageMap } from './pageMap.ts';
import type { PageMapEntry } from './pageMap.ts';

/** The link in a directory of images to that of the dump they build upon (criu/include/crtools.h, CR_PARENT_LINK). */
const PARENT_LINK = 'parent';

/** What is not on the disk yet is written before it is referred to, at 16 MiB a second at least; in milliseconds for each byte. */
const JOIN_MS_PER_BYTE = 1000 / (16 * 2 ** 20);
const JOIN_MS = 60_000;

/** Pages, and where they are. */
interface Piece {
  readonly address: number;
  readonly bytes: number;
  readonly isLazy: boolean;
  readonly file: string;
  /** In bytes. */
  readonly offset: number;
}

/**
 * Makes the images of a dump that builds upon pre-dumps stand alone: what is in those is put among the pages of the last dump,
 * as references to the same blocks, and the link to them is removed. For a restore reads nothing but the last images lazily,
 * and snapshots are to be independent of each other. Rejected with a RangeError when a page is nowhere.
 * @param program from assets.ts
 */
export async function joinImages(run: Run, program: string, images: string): Promise<void> {
  for (const name of (await readdir(images)).filter((one) => one.startsWith('pagemap-'))) {
    const levels = await readLevels(images, name);
    const [last] = levels;
    if (!last?.map.entries.some(({ isInParent }) => isInParent)) continue;
    const pageBytes = pageBytesOf(levels);
    const pieces = resolve(levels, 0, pageBytes);
    await clonePages(run, program, pieces, `${last.pages}.joined`);
    const map = writePageMap({ ...last.map, entries: entriesOf(pieces, pageBytes) });
    await rename(`${last.pages}.joined`, last.pages);
    await replaceFile(path.join(images, name), map, 0o600);
  }
  await rm(path.join(images, PARENT_LINK), { force: true });
}

/** That page map of a dump, of the one before it, and so on. */
async function readLevels(images: string, name: string): Promise<MemoryImage[]> {
  const levels: MemoryImage[] = [];
  const passed = new Set<string>();
  for (let directory = images; ;) {
    if (passed.has(directory)) throw new RangeError('a pre-dump builds upon itself');
    passed.add(directory);
    const level = await readMemory(directory, name);
    if (level === null) return levels;
    levels.push(level);
    const parent = await readlink(path.join(directory, PARENT_LINK)).catch(nullIfMissing);
    if (parent === null) return levels;
    directory = path.resolve(directory, parent);
  }
}

/** Bytes of a page, which no image says. */
function pageBytesOf(levels: readonly MemoryImage[]): number {
  const sizes = new Set(
    levels.filter(({ map }) => pagesIn(map) > 0).map(({ map, bytes }) => bytes / pagesIn(map)),
  );
  const [size] = sizes;
  if (size === undefined || sizes.size > 1 || !Number.isInteger(size))
    throw new RangeError('the pages of a pre-dump are not the whole of its image');
  return size;
}

/** Where all that the map of a level names is. */
function resolve(levels: readonly MemoryImage[], index: number, pageBytes: number): Piece[] {
  const level = levels[index];
  if (!level) return [];
  let before: Piece[] | null = null;
  let next = 0;
  let offset = 0;
  return level.map.entries.flatMap(({ address, pages, isInParent, isLazy }) => {
    const bytes = pages * pageBytes;
    if (!isInParent) {
      const piece = { address, bytes, isLazy, file: level.pages, offset };
      offset += bytes;
      return [piece];
    }
    before ??= resolve(levels, index + 1, pageBytes).sort((a, b) => a.address - b.address);
    const found: Piece[] = [];
    for (let at = address; at < address + bytes;) {
      let candidate = before[next];
      while (candidate && candidate.address + candidate.bytes <= at) candidate = before[++next];
      if (!candidate || candidate.address > at)
        throw new RangeError(`no pre-dump holds the page at ${at.toString(16)}`);
      const inside = at - candidate.address;
      const part = Math.min(candidate.bytes - inside, address + bytes - at);
      found.push({ ...candidate, address: at, bytes: part, offset: candidate.offset + inside });
      at += part;
    }
    return found;
  });
}

/** Makes an image of these pieces, one after another, that shares its blocks with theirs. */
async function clonePages(
  run: Run,
  program: string,
  pieces: readonly Piece[],
  target: string,
): Promise<void> {
  const files = [...new Set(pieces.map(({ file }) => file))];
  let at = 0;
  const lines: string[] = [];
  for (let index = 0; index < pieces.length;) {
    const first = pieces[index];
    if (!first) break;
    let bytes = 0;
    // What is together in the image it comes from is one reference.
    for (; pieces[index]?.file === first.file && pieces[index]?.offset === first.offset + bytes; index++)
      bytes += pieces[index]?.bytes ?? 0;
    lines.push(
      `${String(files.indexOf(first.file))} ${String(first.offset)} ${String(at)} ${String(bytes)}\n`,
    );
    at += bytes;
  }
  await run('perl', [program, target, ...files], {
    input: lines.join(''),
    timeoutMs: JOIN_MS + at * JOIN_MS_PER_BYTE,
  });
}

/** The entries of their page map. */
function entriesOf(pieces: readonly Piece[], pageBytes: number): PageMapEntry[] {
  const found: { address: number; pages: number; isInParent: false; isLazy: boolean }[] = [];
  for (const { address, bytes, isLazy } of pieces) {
    const last = found.at(-1);
    if (last && last.isLazy === isLazy && last.address + last.pages * pageBytes === address)
      last.pages += bytes / pageBytes;
    else found.push({ address, pages: bytes / pageBytes, isInParent: false, isLazy });
  }
  return found;
}

import { createHash } from 'node:crypto';
import { chmod, readFile, readdir, stat } from 'node:fs/promises';
import * as path from 'node:path';
import { nullIfMissing } from '../subvolumes/btrfs.ts';
import { readPageMap } from './pageMap.ts';
import type { PageMap } from './pageMap.ts';

/** An image file as the snapshot's record has it. */
export interface ImageFile {
  readonly name: string;
  readonly bytes: number;
  /** SHA-256 in hexadecimal; absent for those over {@link HASHED_UP_TO_BYTES}, and for those nobody has hashed. */
  readonly sha256?: string | undefined;
}

/**
 * Images up to this size are hashed, in bytes: all that CRIU parses. The pages, which are larger, rely on btrfs' own
 * checksums: to read gigabytes before a restore would cost more than the restore.
 */
const HASHED_UP_TO_BYTES = 1024 * 1024;

/** Lets root alone read the images, which hold the workspace's secrets (H51): the runtimes leave them to the umask. */
export async function protectImages(images: string): Promise<void> {
  await Promise.all((await readdir(images)).map((name) => chmod(path.join(images, name), 0o600)));
}

/** Name and size of each file in `images`, sorted by name. */
export async function listImages(images: string): Promise<ImageFile[]> {
  const names = (await readdir(images)).sort();
  return Promise.all(
    names.map(async (name) => ({ name, bytes: (await stat(path.join(images, name))).size })),
  );
}

/** The memory of a process, or a segment that processes share, as images have it. */
export interface MemoryImage {
  readonly map: PageMap;
  /** Path of the image with its pages. */
  readonly pages: string;
  /** Size of that, zero where it is missing. */
  readonly bytes: number;
}

/** A page map by its name, and its pages; null where there is none. A RangeError is one that can't be read. */
export async function readMemory(images: string, name: string): Promise<MemoryImage | null> {
  const content = await readFile(path.join(images, name)).catch(nullIfMissing);
  if (content === null) return null;
  const map = readPageMap(content);
  const pages = path.join(images, `pages-${String(map.pagesId)}.img`);
  const facts = await stat(pages).catch(nullIfMissing);
  return { map, pages, bytes: facts?.size ?? 0 };
}

/** The same images, the small ones with their hashes. */
export function hashImages(images: string, files: readonly ImageFile[]): Promise<ImageFile[]> {
  return Promise.all(
    files.map(async (file) =>
      file.bytes > HASHED_UP_TO_BYTES
        ? file
        : { ...file, sha256: hashOf(await readFile(path.join(images, file.name))) },
    ),
  );
}

/** What is wrong with the images, each as the end of a sentence; empty while they are as they were recorded. */
export async function examineImages(images: string, files: readonly ImageFile[]): Promise<string[]> {
  const problems = await Promise.all(
    files.map(async ({ name, bytes, sha256 }) => {
      const place = path.join(images, name);
      const facts = await stat(place).catch(() => null);
      if (facts === null) return `its memory image "${name}" is missing`;
      if (facts.size !== bytes)
        return `its memory image "${name}" has ${String(facts.size)} of ${String(bytes)} bytes`;
      if (sha256 === undefined) return null;
      const content = await readFile(place).catch(() => null);
      if (content === null) return `its memory image "${name}" can't be read`;
      return hashOf(content) === sha256 ? null : `its memory image "${name}" was altered`;
    }),
  );
  return problems.filter((problem) => problem !== null);
}

function hashOf(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

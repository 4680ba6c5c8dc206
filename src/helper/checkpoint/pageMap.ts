/** What a `pagemap-*.img` says: which pages of a process, or of a shared memory segment, are in which image. */
export interface PageMap {
  /** The image with the pages is `pages-ID.img`; they stand in it one after another. */
  readonly pagesId: number;
  readonly entries: readonly PageMapEntry[];
  /** Its counts are in the wider field that CRIU has since 4.1. */
  readonly isWide: boolean;
}

/** Pages that follow one another. */
export interface PageMapEntry {
  readonly address: number;
  readonly pages: number;
  /** They are in the image of the parent dump, not in this one. */
  readonly isInParent: boolean;
  /** A lazy restore may leave them for later. */
  readonly isLazy: boolean;
}

/** A stretch of an image, in bytes. */
export interface Stretch {
  readonly offset: number;
  /** Where the same addresses stand in the earlier image; null where they are not in it. */
  readonly earlierOffset: number | null;
  readonly bytes: number;
}

/** The first words of such an image (criu.org/Images; criu/include/magic.h: IMG_COMMON_MAGIC, PAGEMAP_MAGIC). */
const MAGIC = [0x54564319, 0x56084025];

/** Flags of an entry (criu/include/pagemap.h: PE_PARENT, PE_LAZY, PE_PRESENT). */
const PARENT = 1;
const LAZY = 2;
const PRESENT = 4;

/** Reads a `pagemap-*.img`, whose messages are those of CRIU's images/pagemap.proto. Throws a RangeError at one that it can't read. */
export function readPageMap(image: Buffer): PageMap {
  if (image.readUInt32LE(0) !== MAGIC[0] || image.readUInt32LE(4) !== MAGIC[1])
    throw new RangeError('it is no page map');
  const messages: Map<number, number>[] = [];
  for (let at = 8; at < image.length;) {
    const end = at + 4 + image.readUInt32LE(at);
    if (end > image.length) throw new RangeError('the page map ends within a message');
    messages.push(readNumbers(image.subarray(at + 4, end)));
    at = end;
  }
  const [head, ...rest] = messages;
  const pagesId = head?.get(1);
  if (pagesId === undefined) throw new RangeError('the page map does not say where its pages are');
  const entries = rest.flatMap((entry) => {
    const address = entry.get(1);
    // The fifth field is a wider successor of the second.
    const pages = entry.get(5) ?? entry.get(2);
    if (address === undefined || pages === undefined)
      throw new RangeError('an entry of the page map is not whole');
    const isSaidToBeInParent = entry.get(3) === 1;
    const flags = entry.get(4) ?? (isSaidToBeInParent ? PARENT : PRESENT);
    const isInParent = isSaidToBeInParent || (flags & PARENT) !== 0;
    if (!isInParent && (flags & PRESENT) === 0) return [];
    return [{ address, pages, isInParent, isLazy: (flags & LAZY) !== 0 }];
  });
  return { pagesId, entries, isWide: rest.some((entry) => entry.has(5)) };
}

/** Makes a `pagemap-*.img` of it, as CRIU does (criu/page-xfer.c, write_pagemap_loc). */
export function writePageMap({ pagesId, entries, isWide }: PageMap): Buffer {
  const head = Buffer.alloc(8);
  MAGIC.forEach((word, index) => head.writeUInt32LE(word, index * 4));
  const messages = [
    writeNumbers([[1, pagesId]]),
    ...entries.map(({ address, pages, isInParent, isLazy }) => {
      const flags = (isInParent ? PARENT : PRESENT) | (isLazy ? LAZY : 0);
      return writeNumbers([
        [1, address],
        [2, isWide ? 0 : pages],
        [4, flags],
        ...(isWide ? [[5, pages] as const] : []),
      ]);
    }),
  ];
  return Buffer.concat([
    head,
    ...messages.flatMap((message) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(message.length);
      return [length, message];
    }),
  ]);
}

/** How many pages its image holds. */
export function pagesIn({ entries }: PageMap): number {
  return entries.reduce((sum, { pages, isInParent }) => sum + (isInParent ? 0 : pages), 0);
}

/**
 * The whole of the later image, stretch by stretch, with where the same addresses stand in the earlier one: mappings that
 * come, go and grow move all that stands behind them.
 */
export function matchPages(earlier: PageMap, later: PageMap, pageBytes: number): Stretch[] {
  const before = placesOf(earlier, pageBytes);
  const found: Stretch[] = [];
  let next = 0;
  for (const place of placesOf(later, pageBytes)) {
    const end = place.address + place.bytes;
    let at = place.address;
    const add = (until: number, earlierOffset: number | null): void => {
      found.push({ offset: place.offset + (at - place.address), earlierOffset, bytes: until - at });
      at = until;
    };
    while (at < end) {
      let candidate = before[next];
      while (candidate && candidate.address + candidate.bytes <= at) candidate = before[++next];
      if (!candidate || candidate.address >= end) add(end, null);
      else if (candidate.address > at) add(candidate.address, null);
      else
        add(Math.min(end, candidate.address + candidate.bytes), candidate.offset + (at - candidate.address));
    }
  }
  return joined(found.sort((a, b) => a.offset - b.offset));
}

interface Place {
  readonly address: number;
  readonly offset: number;
  readonly bytes: number;
}

/** The entries with where their pages stand, by address. */
function placesOf({ entries }: PageMap, pageBytes: number): Place[] {
  let offset = 0;
  const places = entries
    .filter(({ isInParent }) => !isInParent)
    .map(({ address, pages }) => {
      const place = { address, offset, bytes: pages * pageBytes };
      offset += place.bytes;
      return place;
    });
  return places.sort((a, b) => a.address - b.address);
}

/** The same stretches, each joined to the one before it where it goes on in both images. */
function joined(stretches: readonly Stretch[]): Stretch[] {
  const found: Stretch[] = [];
  for (const stretch of stretches) {
    const last = found.at(-1);
    if (last && last.offset + last.bytes === stretch.offset && goesOn(last, stretch))
      found[found.length - 1] = { ...last, bytes: last.bytes + stretch.bytes };
    else found.push(stretch);
  }
  return found;
}

function goesOn({ earlierOffset, bytes }: Stretch, next: Stretch): boolean {
  return earlierOffset === null ? next.earlierOffset === null : earlierOffset + bytes === next.earlierOffset;
}

/** The numbers of a protobuf message by their fields' (protobuf.dev/programming-guides/encoding); other fields are passed over. */
function readNumbers(message: Buffer): Map<number, number> {
  const found = new Map<number, number>();
  let at = 0;
  const readVarint = (): number => {
    let value = 0;
    // Ten bytes hold all 64 bits.
    for (let index = 0; index < 10; index++) {
      const byte = message.readUInt8(at++);
      value += (byte & 127) * 128 ** index;
      // Addresses of processes end far below; one that does not fit is none.
      if (value > Number.MAX_SAFE_INTEGER) throw new RangeError('a number of the page map is too large');
      if (byte < 128) return value;
    }
    throw new RangeError('a number of the page map does not end');
  };
  const skip = (bytes: number): void => {
    if (bytes > message.length - at) throw new RangeError('a field of the page map ends past its message');
    at += bytes;
  };
  while (at < message.length) {
    const key = readVarint();
    const wire = key % 8;
    if (wire === 0) found.set(Math.floor(key / 8), readVarint());
    else if (wire === 1) skip(8);
    else if (wire === 2) skip(readVarint());
    else if (wire === 5) skip(4);
    else throw new RangeError('a field of the page map is of an unknown kind');
  }
  return found;
}

/** A protobuf message of such fields; the inverse of {@link readNumbers}. */
function writeNumbers(fields: readonly (readonly [field: number, value: number])[]): Buffer {
  const bytes: number[] = [];
  const writeVarint = (value: number): void => {
    // Addresses are wider than what bitwise operators take.
    for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
    bytes.push(value);
  };
  for (const [field, value] of fields) {
    writeVarint(field * 8);
    writeVarint(value);
  }
  return Buffer.from(bytes);
}

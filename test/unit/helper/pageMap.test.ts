import assert from 'node:assert/strict';
import { matchPages, pagesIn, readPageMap, writePageMap } from '../../../src/helper/checkpoint/pageMap.ts';
import type { PageMap } from '../../../src/helper/checkpoint/pageMap.ts';
import { entry, flag, head, image, imageOf, page, type Field } from './pageMapImage.ts';

/** Addresses and numbers, in pages. */
function mapOf(...entries: [address: number, pages: number][]): PageMap {
  return {
    pagesId: 1,
    entries: entries.map(([address, pages]) => ({
      address: address * page,
      pages,
      isInParent: false,
      isLazy: false,
    })),
    isWide: true,
  };
}

/** Offsets and lengths in pages. */
function matched(
  earlier: PageMap,
  later: PageMap,
): [offset: number, earlier: number | null, length: number][] {
  return matchPages(earlier, later, page).map(({ offset, earlierOffset, bytes }) => [
    offset / page,
    earlierOffset === null ? null : earlierOffset / page,
    bytes / page,
  ]);
}

describe('a page map of CRIU', () => {
  it('tells the pages that its image holds', () => {
    const map = readPageMap(
      image(
        [[head.pagesId, 7]],
        [
          [entry.address, 0x5555_0000_0000],
          [entry.narrowPages, 3],
          [entry.flags, flag.present | flag.lazy],
          [entry.pages, 3],
        ],
        [
          [entry.address, 0x7fff_ffff_f000],
          [entry.narrowPages, 0],
          [entry.flags, flag.present],
          [entry.pages, 5_000_000_000],
        ],
      ),
    );
    assert.deepEqual(map, {
      pagesId: 7,
      entries: [
        { address: 0x5555_0000_0000, pages: 3, isInParent: false, isLazy: true },
        { address: 0x7fff_ffff_f000, pages: 5_000_000_000, isInParent: false, isLazy: false },
      ],
      isWide: true,
    });
    assert.equal(pagesIn(map), 5_000_000_003);
  });

  it('is written as CRIU writes it, before 4.1 and since', () => {
    const since = image(
      [[head.pagesId, 300]],
      [
        [entry.address, 0x7fff_ffff_f000],
        [entry.narrowPages, 0],
        [entry.flags, flag.present | flag.lazy],
        [entry.pages, 5_000_000_000],
      ],
      [
        [entry.address, page],
        [entry.narrowPages, 0],
        [entry.flags, flag.parent],
        [entry.pages, 1],
      ],
    );
    assert.deepEqual(writePageMap(readPageMap(since)), since);
    const before = image(
      [[head.pagesId, 1]],
      [
        [entry.address, page],
        [entry.narrowPages, 200],
        [entry.flags, flag.present],
      ],
    );
    assert.deepEqual(writePageMap(readPageMap(before)), before);
  });

  it('tells those that are in an image of a parent apart, and leaves out those that are nowhere', () => {
    const one = (...fields: Field[]): Field[] => [[entry.address, page], [entry.narrowPages, 1], ...fields];
    const map = readPageMap(
      image(
        [[head.pagesId, 1]],
        one([entry.flags, flag.parent]),
        one([entry.flags, flag.lazy]),
        one([entry.inParent, 1]),
        one([entry.inParent, 0]),
        one(),
      ),
    );
    assert.deepEqual(
      map.entries.map(({ isInParent }) => isInParent),
      [true, true, false, false],
    );
    assert.equal(pagesIn(map), 2);
  });

  it('may have fields of other kinds, which are passed over', () => {
    const pagesId = Buffer.from([8 * head.pagesId, 7]);
    const others = [
      // Of eight bytes, of a length that is told (also in two bytes), and of four.
      [8 * 9 + 1, ...Array<number>(8).fill(0xff)],
      [8 * 9 + 2, 3, 8 * head.pagesId, 1, 0xff],
      [8 * 9 + 2, 0],
      [8 * 9 + 2, 0x80 + 72, 1, ...Array<number>(200).fill(0xff)],
      [8 * 9 + 5, 8 * head.pagesId, 1, 0xff, 0xff],
    ].map((bytes) => Buffer.from(bytes));
    for (const other of others) {
      for (const message of [Buffer.concat([other, pagesId]), Buffer.concat([pagesId, other])])
        assert.equal(readPageMap(imageOf([message])).pagesId, 7, message.toString('hex'));
    }
  });

  it('whose fields are longer than their message is refused, in words', () => {
    const pagesId = [8 * head.pagesId, 7];
    for (const field of [
      [8 * 9 + 1, 0, 0, 0, 0, 0, 0, 0],
      [8 * 9 + 2, 3, 0, 0],
      [8 * 9 + 2, 0xff, 0xff, 0xff, 0x7f],
      [8 * 9 + 5, 0, 0, 0],
    ]) {
      assert.throws(
        () => readPageMap(imageOf([Buffer.from([...pagesId, ...field])])),
        /^RangeError: a field of the page map ends past its message$/,
      );
    }
    assert.throws(
      () => readPageMap(imageOf([Buffer.from([8 * head.pagesId, ...Array<number>(200).fill(0x80), 0])])),
      /^RangeError: a number of the page map does not end$/,
    );
  });

  it('that is cut short, or something else, is refused', () => {
    const whole = image(
      [[head.pagesId, 1]],
      [
        [entry.address, page],
        [entry.pages, 1],
      ],
    );
    for (let length = 0; length < whole.length; length++) {
      const cut = whole.subarray(0, length);
      // Between two messages nothing tells that there were more.
      if (length === 8 + 4 + 2) assert.deepEqual(readPageMap(cut).entries, []);
      else assert.throws(() => readPageMap(cut), RangeError, `${String(length)} bytes`);
    }
    assert.throws(() => readPageMap(Buffer.alloc(64)), RangeError);
    assert.throws(() => readPageMap(image([[head.pagesId, 1]], [[entry.pages, 1]])), RangeError);
    assert.throws(
      () =>
        readPageMap(
          image(
            [[head.pagesId, 1]],
            [
              [entry.address, 2 ** 63],
              [entry.pages, 1],
            ],
          ),
        ),
      RangeError,
    );
  });
});

describe('pages of two images', () => {
  it('are matched by their addresses, wherever they stand in them', () => {
    const earlier = mapOf([10, 2], [100, 5], [200, 4]);
    const later = mapOf([10, 1], [50, 3], [100, 5], [202, 4]);
    assert.deepEqual(matched(earlier, later), [
      [0, 0, 1],
      [1, null, 3],
      [4, 2, 5],
      [9, 9, 2],
      [11, null, 2],
    ]);
  });

  it('are joined where they go on in both', () => {
    assert.deepEqual(matched(mapOf([10, 2], [12, 2], [20, 3]), mapOf([10, 4], [20, 1], [21, 2])), [
      [0, 0, 7],
    ]);
    assert.deepEqual(matched(mapOf([10, 2], [13, 2]), mapOf([10, 5])), [
      [0, 0, 2],
      [2, null, 1],
      [3, 2, 2],
    ]);
  });

  it('are the whole of the later image, in its order, also where that is not the order of addresses', () => {
    assert.deepEqual(matched(mapOf([100, 2], [10, 2]), mapOf([100, 2], [10, 3])), [
      [0, 0, 4],
      [4, null, 1],
    ]);
    assert.deepEqual(matched(mapOf(), mapOf([10, 2])), [[0, null, 2]]);
    assert.deepEqual(matched(mapOf([10, 2]), mapOf()), []);
  });
});

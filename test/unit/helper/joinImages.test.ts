import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { joinImages } from '../../../src/helper/checkpoint/joinImages.ts';
import { readPageMap } from '../../../src/helper/checkpoint/pageMap.ts';
import type { Run } from '../../../src/helper/host/run.ts';
import { randomNumbers } from '../../host/random.ts';
import { cleanUp, temporaryDirectory } from './daemonHarness.ts';
import { entry, flag, head, image, page } from './pageMapImage.ts';

/** What a dump has of a page: its content, or that it is in the parent. */
type Dumped = ReadonlyMap<number, number | 'parent'>;

/** As with the pages of a stack among others. */
const isLazyAt = (address: number): boolean => address % 16 > 3;

/** Does with bytes what the program does with references to blocks. */
const copying: Run = (command, [, target = '', ...files], options) => {
  assert.equal(command, 'perl');
  const parts = String(options?.input)
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' ').map(Number));
  let end = 0;
  const pieces = parts.map(([index = -1, from = -1, to, bytes = 0]) => {
    assert.equal(to, end);
    end += bytes;
    return readFileSync(files[index] ?? '').subarray(from, from + bytes);
  });
  writeFileSync(target, Buffer.concat(pieces));
  return Promise.resolve({ exitCode: 0, stdout: '', stderr: '', ms: 0 });
};

describe('joining the images of a dump with those it builds upon', () => {
  let directory: string;
  beforeEach(() => (directory = temporaryDirectory()));
  afterEach(cleanUp);

  /** Writes the images of a process. */
  function write(name: string, pages: Dumped, parent: string | null, id = 1): string {
    const images = path.join(directory, name);
    if (!existsSync(images)) {
      mkdirSync(images);
      if (parent !== null) symlinkSync(path.join('..', parent), path.join(images, 'parent'));
    }
    const sorted = [...pages].sort(([a], [b]) => a - b);
    const entries = sorted.map(
      ([address, content]) =>
        [
          [entry.address, address * page],
          [entry.narrowPages, 0],
          [
            entry.flags,
            content === 'parent' ? flag.parent : flag.present | (isLazyAt(address) ? flag.lazy : 0),
          ],
          [entry.pages, 1],
        ] as const,
    );
    writeFileSync(
      path.join(images, `pagemap-${String(id)}.img`),
      image([[head.pagesId, id]], ...entries.map((fields) => [...fields])),
    );
    const contents = sorted.flatMap(([, content]) =>
      content === 'parent' ? [] : [Buffer.alloc(page, content)],
    );
    writeFileSync(path.join(images, `pages-${String(id)}.img`), Buffer.concat(contents));
    return images;
  }

  /** What the images say, from address to content. */
  function read(images: string, id = 1): Map<number, number> {
    const map = readPageMap(readFileSync(path.join(images, `pagemap-${String(id)}.img`)));
    const pages = readFileSync(path.join(images, `pages-${String(map.pagesId)}.img`));
    const found = new Map<number, number>();
    let at = 0;
    for (const { address, pages: count, isInParent, isLazy } of map.entries) {
      assert.equal(isInParent, false);
      for (let index = 0; index < count; index++, at += page) {
        const content = pages.subarray(at, at + page);
        assert.ok(content.every((byte) => byte === content[0]));
        found.set(address / page + index, content[0] ?? -1);
        assert.equal(isLazy, isLazyAt(address / page + index));
      }
    }
    assert.equal(at, pages.length, 'it holds more than its map says');
    return found;
  }

  it('H8 holds what was in memory, whichever dump has it, for memory of any shape', async () => {
    const random = randomNumbers(7);
    for (let round = 0; round < 60; round++) {
      const depth = 1 + Math.floor(random() * 4);
      const memory = new Map<number, number>();
      let parent: string | null = null;
      let images = '';
      for (let level = 0; level < depth; level++) {
        const dumped = new Map<number, number | 'parent'>();
        for (let address = 1; address < 60; address++) {
          const was = memory.has(address);
          // Mapped anew or changed; or unmapped.
          if (random() < (level === 0 ? 0.7 : 0.25)) {
            const content = Math.floor(random() * 256);
            memory.set(address, content);
            dumped.set(address, content);
          } else if (was && random() < 0.1) memory.delete(address);
          else if (was) dumped.set(address, 'parent');
        }
        images = write(`${String(round)}-${String(level)}`, dumped, parent);
        parent = path.basename(images);
      }
      await joinImages(copying, '/program', images);
      assert.deepEqual(read(images), memory, `round ${String(round)}`);
      assert.ok(!existsSync(path.join(images, 'parent')));
      assert.deepEqual(readdirSync(images).sort(), ['pagemap-1.img', 'pages-1.img']);
    }
  });

  it('leaves the images of a process that began meanwhile as they are', async () => {
    write('before', new Map([[1, 11]]), null, 1);
    const images = write('last', new Map([[1, 'parent']]), 'before', 1);
    write('last', new Map([[5, 55]]), 'before', 2);
    await joinImages(copying, '/program', images);
    assert.deepEqual([...read(images, 1)], [[1, 11]]);
    assert.deepEqual([...read(images, 2)], [[5, 55]]);
  });

  it('H8 refuses to make images in which a page would be missing', async () => {
    write('before', new Map([[1, 11]]), null);
    const images = write(
      'last',
      new Map([
        [1, 'parent'],
        [2, 'parent'],
      ]),
      'before',
    );
    await assert.rejects(joinImages(copying, '/program', images), /no pre-dump holds the page at 2000/);
    assert.ok(existsSync(path.join(images, 'parent')), 'the link is gone');
  });
});

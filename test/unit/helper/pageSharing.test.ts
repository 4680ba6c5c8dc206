import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { PageSharing } from '../../../src/helper/checkpoint/pageSharing.ts';
import type { Run } from '../../../src/helper/host/run.ts';
import { ForkpointError } from '../../../src/protocol/errors.ts';
import { cleanUp, memoryLog, temporaryDirectory } from './daemonHarness.ts';
import { entry, flag, head, image, page } from './pageMapImage.ts';

const MIB = 1024 ** 2;

describe('sharing the pages of two images', () => {
  let directory: string;
  /** What the program was asked for: its mode, and what of it in all, in bytes. */
  let asked: { mode: string; file: string; matched: number; bytes: number }[];

  beforeEach(() => {
    directory = temporaryDirectory();
    asked = [];
  });
  afterEach(cleanUp);

  /** Makes the images of one process: stretches of so many pages at such addresses, in pages. */
  function write(name: string, ...stretches: [address: number, pages: number][]): string {
    const images = path.join(directory, name);
    mkdirSync(images);
    const entries = stretches.map(([address, pages]) => [
      [entry.address, address * page] as const,
      [entry.flags, flag.present] as const,
      [entry.pages, pages] as const,
    ]);
    writeFileSync(path.join(images, 'pagemap-1.img'), image([[head.pagesId, 3]], ...entries));
    const pages = stretches.reduce((sum, [, count]) => sum + count, 0);
    writeFileSync(path.join(images, 'pages-3.img'), Buffer.alloc(pages * page));
    return images;
  }

  /** A program that finds that part of all that has a counterpart equal. */
  function finding(equal: number): Run {
    return (_command, [, , file = '', , mode = ''], options) => {
      const lines = String(options?.input)
        .trimEnd()
        .split('\n')
        .map((line) => line.split(' '));
      const sum = (some: string[][]): number => some.reduce((all, [, , bytes]) => all + Number(bytes), 0);
      const matched = sum(lines.filter(([before]) => before !== '-'));
      asked.push({ mode, file: path.basename(file), matched, bytes: sum(lines) });
      return Promise.resolve({ exitCode: 0, stdout: `${String(matched * equal)} 0\n`, stderr: '', ms: 0 });
    };
  }

  function share(run: Run, log = memoryLog()): (earlier: string, later: string) => Promise<number> {
    const names = ['core-1.img', 'pagemap-1.img', 'pages-3.img'];
    const sharing = new PageSharing(run, '/program', log);
    return (earlier, later) =>
      sharing.share(earlier, later, names, () => Promise.resolve(), new AbortController().signal);
  }

  it('asks for all of the later image, in batches, once a sample of it is found equal', async () => {
    const [earlier, later] = [write('a', [1_000, 40_000]), write('b', [10, 100], [1_000, 40_000])];
    assert.equal(await share(finding(1))(earlier, later), 40_000 * page);
    const [sample, ...batches] = asked;
    assert.equal(sample?.mode, 'try');
    assert.ok(sample.bytes < (40_000 * page) / 16);
    assert.ok(
      batches.every(
        ({ mode, file, bytes }) => mode === 'share' && file === 'pages-3.img' && bytes <= 64 * MIB,
      ),
    );
    assert.equal(
      batches.reduce((sum, { bytes }) => sum + bytes, 0),
      40_100 * page,
    );
  });

  it('leaves an image alone of which little is equal', async () => {
    const [earlier, later] = [write('a', [1_000, 1_000]), write('b', [1_000, 1_000])];
    assert.equal(await share(finding(0.2))(earlier, later), 0);
    assert.deepEqual(
      asked.map(({ mode }) => mode),
      ['try'],
    );
  });

  it('leaves an image alone of which little has a counterpart, or that is small', async () => {
    const run = share(finding(1));
    await run(write('a', [1_000, 1_000]), write('b', [1_800, 1_000]));
    await run(write('c', [1_000, 200]), write('d', [1_000, 200]));
    assert.deepEqual(
      asked.filter(({ mode }) => mode === 'share'),
      [],
    );
  });

  it('leaves an image alone whose map is of other pages, and says so', async () => {
    const log = memoryLog();
    const [earlier, later] = [write('a', [1_000, 1_000]), write('b', [1_000, 1_000])];
    writeFileSync(path.join(earlier, 'pages-3.img'), Buffer.alloc(page));
    assert.equal(await share(finding(1), log)(earlier, later), 0);
    assert.equal(log.lines.filter((line) => line.includes('is not compared')).length, 1);
  });

  it('says once that there is no Perl', async () => {
    const log = memoryLog();
    let runs = 0;
    const run = share(() => {
      runs++;
      return Promise.reject(new ForkpointError('host.toolMissing', { tool: 'perl', install: 'perl' }));
    }, log);
    const [earlier, later] = [write('a', [1_000, 1_000]), write('b', [1_000, 1_000])];
    for (let round = 0; round < 2; round++) assert.equal(await run(earlier, later), 0);
    assert.equal(runs, 1);
    assert.equal(log.lines.filter((line) => line.includes('no Perl')).length, 1);
  });
});

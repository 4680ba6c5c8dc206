import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { removeDurably, writeJsonDurably } from '../../../src/helper/catalogue/durableFile.ts';

describe('a record on the disk', () => {
  let directory: string;
  let file: string;

  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'forkpoint-durable-'));
    file = path.join(directory, 'record.json');
  });

  afterEach(() => {
    rmSync(directory, { recursive: true });
  });

  it("is root's alone, replaces the one before, and nothing else stays beside it", async () => {
    await writeJsonDurably(file, { turn: 1 });
    await writeJsonDurably(file, { turn: 2 });
    assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { turn: 2 });
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(directory), ['record.json']);
    await removeDurably(file);
    assert.deepEqual(readdirSync(directory), []);
  });

  it('is whole where an earlier write was cut short, and left longer drafts', async () => {
    for (const name of ['record.json.draft', 'record.json.tmp'])
      writeFileSync(path.join(directory, name), 'x'.repeat(10_000));
    await writeJsonDurably(file, { turn: 1 });
    assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { turn: 1 });
    assert.ok(!readdirSync(directory).includes('record.json.draft'));
  });

  it('that cannot be written leaves the one before', async () => {
    await writeJsonDurably(file, { turn: 1 });
    const circular: { self?: unknown } = {};
    circular.self = circular;
    await assert.rejects(writeJsonDurably(file, circular), TypeError);
    await assert.rejects(writeJsonDurably(path.join(directory, 'nowhere', 'record.json'), {}), /ENOENT/);
    assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { turn: 1 });
  });
});

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { Trash } from '../../../src/helper/catalogue/trash.ts';
import type { Finished, Run } from '../../../src/helper/host/run.ts';
import { Subvolumes } from '../../../src/helper/subvolumes/btrfs.ts';
import { cleanUp, gate, memoryLog, temporaryDirectory } from './daemonHarness.ts';

const done: Finished = { exitCode: 0, stdout: '', stderr: '', ms: 0 };
const nothing: Run = () => Promise.resolve(done);

describe('the trash', () => {
  afterEach(cleanUp);

  it('loses what is put in while it is being emptied, too', async () => {
    const directory = temporaryDirectory();
    const bins = path.join(directory, 'trash');
    mkdirSync(bins);
    const trash = new Trash(bins, new Subvolumes(nothing), memoryLog());
    const throwAway = async (name: string): Promise<void> => {
      const file = path.join(directory, name);
      mkdirSync(file);
      writeFileSync(path.join(file, 'content'), name);
      await trash.move(file, { nestedMayGo: true });
      trash.emptySoon();
    };
    for (const name of ['one', 'two', 'three', 'four']) await throwAway(name);
    await trash.emptied();
    for (const name of ['one', 'two', 'three', 'four'])
      assert.ok(!existsSync(path.join(directory, name)), name);
    assert.deepEqual(readdirSync(bins), []);
  });
});

describe('waiting for the space of what was deleted', () => {
  it('takes one program at a time, and one more for all who came meanwhile', async () => {
    const gates = Array.from({ length: 3 }, () => gate<Finished>());
    let started = 0;
    const subvolumes = new Subvolumes(() => gates[started++]?.opened ?? Promise.resolve(done));
    const first = subvolumes.waitForDeleted('/pool');
    const others = Array.from({ length: 50 }, () => subvolumes.waitForDeleted('/pool'));
    assert.equal(started, 1);
    gates[0]?.open(done);
    await first;
    let isOver = false;
    const all = Promise.all(others).then(() => (isOver = true));
    await new Promise(setImmediate);
    // What they deleted may have come after the first wait began.
    assert.equal(started, 2);
    assert.equal(isOver, false);
    gates[1]?.open(done);
    await all;
    assert.equal(started, 2);
  });
});

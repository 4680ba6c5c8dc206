import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { GracePeriods } from '../../../src/helper/host/gracePeriods.ts';
import { cleanUp, memoryLog, temporaryDirectory } from './daemonHarness.ts';

describe('short grace periods', () => {
  let note: string;
  let switchFile: string;
  let log: ReturnType<typeof memoryLog>;

  beforeEach(() => {
    const directory = temporaryDirectory();
    note = path.join(directory, 'note');
    switchFile = path.join(directory, 'switch');
    writeFileSync(switchFile, '0\n');
    log = memoryLog();
  });

  afterEach(cleanUp);

  const make = (): GracePeriods => new GracePeriods(note, log, switchFile);
  const isOn = (): boolean => readFileSync(switchFile, 'utf8').trim() === '1';

  it('last until the last who wanted them has ended, also badly', async () => {
    const periods = make();
    const end = new EventEmitter();
    const ending = periods.shortened(() => once(end, 'first'));
    const failing = periods.shortened(() => once(end, 'second'));
    assert.ok(isOn() && existsSync(note));
    end.emit('first', 'done');
    assert.deepEqual(await ending, ['done']);
    assert.ok(isOn());
    end.emit('error', new Error('not done'));
    await assert.rejects(failing, /not done/);
    assert.ok(!isOn() && !existsSync(note));
  });

  it('are left to who wants them so for good', async () => {
    writeFileSync(switchFile, '1\n');
    assert.ok(await make().shortened(() => Promise.resolve(!existsSync(note))));
    assert.ok(isOn());
    make().recover();
    assert.ok(isOn());
  });

  it('end with the next daemon when one was killed', async () => {
    void make().shortened(() => new Promise(() => undefined));
    assert.ok(isOn());
    const next = make();
    next.recover();
    assert.ok(!isOn() && !existsSync(note));
    assert.ok(await next.shortened(() => Promise.resolve(isOn())));
  });

  it('are done without where the kernel has no such switch', async () => {
    const periods = new GracePeriods(note, log, path.join(switchFile, 'nowhere'));
    assert.equal(await periods.shortened(() => Promise.resolve('done')), 'done');
    assert.ok(!existsSync(note));
  });
});

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { IdleMemory, releaseMemory } from '../../../src/helper/host/idleMemory.ts';
import { memoryLog } from './daemonHarness.ts';

/** In a function of its own, whose stack frame is gone with it. */
const makeGarbage = (): WeakRef<object> => new WeakRef({ ofNobody: true });

describe('the memory of an idle daemon', () => {
  it('is given back once after the work, and again after more of it', async () => {
    let released = 0;
    const idle = new IdleMemory({ isBusy: () => false, release: () => (released += 1) }, 20);
    for (let count = 0; count < 3; count += 1) idle.touch();
    await sleep(100);
    assert.equal(released, 1);
    idle.touch();
    await sleep(100);
    assert.equal(released, 2);
  });

  it('is not while there is work, nor when the daemon ends', async () => {
    let released = 0;
    let isBusy = true;
    const idle = new IdleMemory({ isBusy: () => isBusy, release: () => (released += 1) }, 10);
    idle.touch();
    await sleep(60);
    assert.equal(released, 0);
    isBusy = false;
    await sleep(60);
    assert.equal(released, 1);
    idle.touch();
    idle.stop();
    await sleep(40);
    assert.equal(released, 1);
  });

  it('is given back by the collection of all garbage', async () => {
    const garbage = makeGarbage();
    // What was just looked at is kept until the end of the turn (WeakRef in ECMAScript).
    await sleep(1);
    const log = memoryLog();
    releaseMemory(log);
    assert.equal(garbage.deref(), undefined);
    assert.match(log.lines.join('\n'), /^at rest: resident memory from \d+ to \d+ MB, \d+ ms$/);
    assert.equal(Reflect.get(globalThis, 'gc'), undefined);
  });
});

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { together } from '../../../src/helper/host/together.ts';

describe('work that goes on side by side', () => {
  it('gives all that it came to', async () => {
    assert.deepEqual(await together([Promise.resolve(1), sleep(1, 'two')]), [1, 'two']);
  });

  it('has come to rest when a piece of it is known to have failed', async () => {
    let isAtRest = false;
    const slow = sleep(30).then(() => {
      isAtRest = true;
    });
    await assert.rejects(together([slow, Promise.reject(new Error('the first')), slow]), /the first/);
    assert.ok(isAtRest);
  });
});

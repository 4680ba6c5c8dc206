import assert from 'node:assert/strict';
import { backoffMs } from '../../../../src/extension/hosts/backoff.ts';

describe('trying again', () => {
  it('waits from one second, doubled, to a minute', () => {
    assert.deepEqual(
      [0, 1, 2, 3, 4, 5, 6, 7, 1000].map((attempt) => backoffMs(attempt, 1)),
      [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000],
    );
  });

  it('spreads several windows over the second half of the wait', () => {
    assert.equal(backoffMs(3, 0), 4000);
    const waits = new Set(Array.from({ length: 50 }, () => backoffMs(6)));
    assert.ok(waits.size > 10);
    assert.ok([...waits].every((ms) => ms >= 30000 && ms <= 60000));
  });
});

import assert from 'node:assert/strict';
import { newestFirst } from '../../../src/protocol/timelineOrder.ts';
import type { SnapshotRecord } from '../../../src/helper/catalogue/records.ts';

describe('the order of a timeline', () => {
  // The time and the name are all that is looked at.
  const record = (createdAt: string, name: string) => ({ createdAt, name }) as SnapshotRecord;

  it('is that of time, and within a second that of the numbers', () => {
    const early = record('2026-03-04T14:30:44.900Z', 'snap-20260304-143044');
    const second = '2026-03-04T14:30:45.000Z';
    const names = ['', '-2', '-9', '-10', '-11'].map((end) => `snap-20260304-143045${end}`);
    const oldestFirst = [early, ...names.map((name) => record(second, name))];
    const shuffled = [3, 0, 5, 2, 4, 1].map((at) => oldestFirst[at] ?? assert.fail());
    assert.deepEqual(shuffled.sort(newestFirst), oldestFirst.toReversed());
  });
});

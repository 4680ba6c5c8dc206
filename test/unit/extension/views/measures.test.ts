import assert from 'node:assert/strict';
import { ageText, elapsedText, sizeText, untilText } from '../../../../src/extension/views/measures.ts';
import { plain } from '../plainTranslator.ts';

const now = Date.UTC(2026, 2, 4);
const minute = 60_000;
const day = 24 * 60 * minute;

describe('measures', () => {
  it('tell ages in the largest unit that fits', () => {
    const age = (ms: number) => ageText(plain, new Date(now - ms).toISOString(), now);
    assert.deepEqual(
      [
        -5000,
        0,
        minute - 1,
        minute,
        3 * minute,
        60 * minute,
        day,
        13 * day,
        21 * day,
        90 * day,
        800 * day,
      ].map(age),
      [
        'just now',
        'just now',
        'just now',
        '1 minute ago',
        '3 minutes ago',
        '1 hour ago',
        '1 day ago',
        '13 days ago',
        '3 weeks ago',
        '3 months ago',
        '2 years ago',
      ],
    );
  });

  it('tell what comes, and round what has only just begun', () => {
    const until = (ms: number) => untilText(plain, new Date(now + ms).toISOString(), now);
    assert.deepEqual([-1, 1000, 7 * day - 20_000, 90 * minute].map(until), [
      'soon',
      'soon',
      'in 7 days',
      'in 1 hour',
    ]);
  });

  it('tell durations', () => {
    assert.deepEqual([4.2, 420, 1500, 12_345].map(elapsedText), ['4 ms', '0.4 s', '1.5 s', '12 s']);
  });

  it('tell sizes as the editor does', () => {
    assert.deepEqual([0, 512, 1536, 36 * 1024 ** 2, 3 * 1024 ** 4].map(sizeText), [
      '0B',
      '512B',
      '1.50KB',
      '36.00MB',
      '3.00TB',
    ]);
  });
});

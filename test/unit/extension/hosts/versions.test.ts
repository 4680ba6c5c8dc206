import assert from 'node:assert/strict';
import { compareVersions } from '../../../../src/extension/hosts/versions.ts';

describe('versions', () => {
  it('are ordered by number, not by letter', () => {
    const ordered = [
      '',
      '0.9.10',
      '1.0.0-alpha',
      '1.0.0-beta.2',
      '1.0.0-beta.11',
      '1.0.0',
      '1.2.3',
      '1.10.0',
      '18.19.0',
    ];
    const sorted = [...ordered].reverse().sort(compareVersions);
    assert.deepEqual(sorted, ordered);
  });

  it('are equal with and without the v', () => {
    assert.equal(compareVersions('v18.19.0', '18.19.0'), 0);
  });
});

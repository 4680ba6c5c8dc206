import assert from 'node:assert/strict';
import { isListed } from '../../../src/helper/engines/appArmor.ts';

describe('the list of AppArmor profiles', () => {
  const profiles = 'containers-default-0.67.1 (enforce)\nrunc (unconfined)\n/usr/bin/man (a) (complain)\n';

  it('has a name with every mode', () => {
    for (const name of ['containers-default-0.67.1', 'runc', '/usr/bin/man (a)'])
      assert.equal(isListed(profiles, name), true, name);
  });

  it('has no part of a name', () => {
    for (const name of ['containers-default-0.67', 'run', '(enforce)'])
      assert.equal(isListed(profiles, name), false, name);
  });
});

import assert from 'node:assert/strict';
import { canVerifyHere, hostKeyAlgorithms } from '../../../../src/extension/hosts/hostKeyAlgorithms.ts';

const all = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
];

describe('the host key algorithms that are offered', () => {
  it('are in the order of OpenSSH for a host that is not known', () => {
    assert.deepEqual(hostKeyAlgorithms([], null), all);
  });

  it('H38 begin with those of the keys on record, an RSA key standing for both of its hashes', () => {
    assert.deepEqual(hostKeyAlgorithms(['ssh-rsa', 'ecdsa-sha2-nistp384'], null).slice(0, 4), [
      'ecdsa-sha2-nistp384',
      'rsa-sha2-512',
      'rsa-sha2-256',
      'ssh-ed25519',
    ]);
  });

  it('are no others than the configuration allows', () => {
    assert.deepEqual(hostKeyAlgorithms(['ssh-ed25519'], ['rsa-sha2-256', 'ssh-dss']), ['rsa-sha2-256']);
  });

  it('H39 leave out what the runtime can not check', () => {
    assert.deepEqual(
      hostKeyAlgorithms(['ssh-ed25519'], null, (algorithm) => algorithm !== 'ssh-ed25519'),
      all.slice(1),
    );
  });

  it('H39 are tried on this runtime by making and checking a signature', () => {
    assert.deepEqual(
      all.filter((algorithm) => canVerifyHere(algorithm as Parameters<typeof canVerifyHere>[0])),
      all,
    );
  });
});

import assert from 'node:assert/strict';
import { interpretConfig, parseKeywordLines } from '../../../../src/extension/hosts/resolvedConfig.ts';
import type { ResolvedConfig } from '../../../../src/extension/hosts/resolvedConfig.ts';
import { forbiddenAlgorithms, unservedOptions } from '../../../../src/extension/hosts/sessionAlgorithms.ts';

function config(lines: string): ResolvedConfig {
  return interpretConfig('box', { host: 'box', user: null, port: null }, parseKeywordLines(lines), null);
}

describe('the algorithms of a session by ssh2', () => {
  it('are all that ssh2 offers where the configuration says nothing', () => {
    assert.deepEqual(forbiddenAlgorithms(config(''), 'cipher'), []);
    assert.deepEqual(unservedOptions(config('')), []);
  });

  it('are no others than the configuration allows', () => {
    assert.deepEqual(forbiddenAlgorithms(config('ciphers aes256-gcm@openssh.com,aes256-ctr'), 'cipher'), [
      'chacha20-poly1305@openssh.com',
      'aes128-gcm@openssh.com',
      'aes128-ctr',
      'aes192-ctr',
    ]);
  });

  it('are none where the configuration allows only what ssh2 lacks', () => {
    assert.deepEqual(
      unservedOptions(config('kexalgorithms mlkem768x25519-sha256\nmacs umac-128@openssh.com')),
      ['KexAlgorithms', 'MACs'],
    );
  });
});

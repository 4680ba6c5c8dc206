import assert from 'node:assert/strict';
import { readAskpassPrompt } from '../../../../src/extension/hosts/askpass.ts';

// Prompts of OpenSSH 8.2 to 10, as its sources put them together.
describe('what ssh asks', () => {
  const cases: [string, string, ReturnType<typeof readAskpassPrompt>][] = [
    ["dev@192.0.2.7's password: ", '', { kind: 'password', user: 'dev', who: 'dev@192.0.2.7' }],
    ['(dev@box.example.org) Password: ', '', { kind: 'password', user: 'dev', who: 'dev@box.example.org' }],
    [
      "Enter passphrase for key '/home/me/my keys/id_ed25519': ",
      '',
      { kind: 'passphrase', keyFile: '/home/me/my keys/id_ed25519' },
    ],
    ['(dev@box) Verification code: ', '', { kind: 'other', text: '(dev@box) Verification code: ' }],
    [
      "The authenticity of host '[192.0.2.7]:2222 ([192.0.2.7]:2222)' can't be established.\nED25519 key fingerprint is SHA256:AgCsAQH44Q2zGkkCu1fnF2lCCy7bvcrZWXpmYmkMp6k.\nThis key is not known by any other names.\nAre you sure you want to continue connecting (yes/no/[fingerprint])? ",
      '',
      {
        kind: 'hostKey',
        knownAs: '[192.0.2.7]:2222',
        keyType: 'ED25519',
        fingerprint: 'SHA256:AgCsAQH44Q2zGkkCu1fnF2lCCy7bvcrZWXpmYmkMp6k',
      },
    ],
    [
      "The authenticity of host 'box (192.0.2.7)' can't be established.\nRSA key fingerprint is: SHA256:eim9pkbd0OGd80QZy61lF53R+mEkOxup9rkX41UVoF4\nAre you sure you want to continue connecting (yes/no/[fingerprint])? ",
      '',
      {
        kind: 'hostKey',
        knownAs: 'box',
        keyType: 'RSA',
        fingerprint: 'SHA256:eim9pkbd0OGd80QZy61lF53R+mEkOxup9rkX41UVoF4',
      },
    ],
    [
      'Confirm user presence for key ED25519-SK SHA256:abc',
      'none',
      { kind: 'notice', text: 'Confirm user presence for key ED25519-SK SHA256:abc' },
    ],
    [
      'Enter PIN for ED25519-SK key /home/me/.ssh/id_ed25519_sk: ',
      '',
      { kind: 'other', text: 'Enter PIN for ED25519-SK key /home/me/.ssh/id_ed25519_sk: ' },
    ],
  ];
  for (const [prompt, hint, expected] of cases) {
    it(`${expected.kind}: ${prompt.split('\n')[0] ?? ''}`, () =>
      assert.deepEqual(readAskpassPrompt(prompt, hint), expected));
  }
});

import assert from 'node:assert/strict';
import { explainSshFailure, sshArguments } from '../../../../src/extension/hosts/opensshTransport.ts';
import { interpretConfig, parseKeywordLines } from '../../../../src/extension/hosts/resolvedConfig.ts';
import type { ResolvedConfig } from '../../../../src/extension/hosts/resolvedConfig.ts';

function config(lines = ''): ResolvedConfig {
  const options = parseKeywordLines(
    `hostname 192.0.2.7\nport 2222\nuser dev\nuserknownhostsfile /tmp/known\n${lines}`,
  );
  return interpretConfig('box', { host: 'box', user: null, port: null }, options, null);
}

const CHANGED = `@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
It is also possible that a host key has just been changed.
The fingerprint for the ED25519 key sent by the remote host is
SHA256:AgCsAQH44Q2zGkkCu1fnF2lCCy7bvcrZWXpmYmkMp6k.
Please contact your system administrator.
Add correct host key in /tmp/known to get rid of this message.
Offending ED25519 key in /tmp/known:3
  remove with:
  ssh-keygen -f "/tmp/known" -R "[192.0.2.7]:2222"
Host key for [192.0.2.7]:2222 has changed and you have requested strict checking.
Host key verification failed.`;

describe('why ssh failed', () => {
  it('H38 a changed key: which file, which name, which fingerprint', () => {
    const problem = explainSshFailure(config(), CHANGED, true);
    assert.equal(problem.code, 'hostKeyChanged');
    assert.deepEqual(problem.args, {
      host: 'box',
      file: '/tmp/known',
      knownAs: '[192.0.2.7]:2222',
      keyType: 'ED25519',
      fingerprint: 'SHA256:AgCsAQH44Q2zGkkCu1fnF2lCCy7bvcrZWXpmYmkMp6k',
    });
  });

  it("a changed key, with a host's banner that would have people copy more than the command", () => {
    const banner = CHANGED.replaceAll('/tmp/known', '/tmp/$(id)').replaceAll('[192.0.2.7]:2222', 'x;id');
    const { args } = explainSshFailure(config(), banner, true);
    assert.deepEqual([args['file'], args['knownAs']], ['/tmp/known', '192.0.2.7']);
  });

  const cases: [string, string, boolean, string][] = [
    [
      'a revoked key',
      'WARNING: REVOKED HOST KEY DETECTED!\nHost key verification failed.',
      true,
      'hostKeyRevoked',
    ],
    [
      'an unknown key that may not be asked for (H36)',
      'Host key verification failed.',
      false,
      'needsGesture',
    ],
    ['an unknown key that was refused', 'Host key verification failed.', true, 'hostKeyRefused'],
    [
      'a password that may not be asked for (H36)',
      'dev@192.0.2.7: Permission denied (publickey,password).',
      false,
      'needsGesture',
    ],
    ['nobody is let in', 'dev@192.0.2.7: Permission denied (publickey).', true, 'authenticationFailed'],
    [
      'too many keys',
      'Received disconnect from 192.0.2.7 port 22:2: Too many authentication failures',
      true,
      'authenticationFailed',
    ],
    ['nothing listens', 'ssh: connect to host 192.0.2.7 port 2222: Connection refused', true, 'unreachable'],
    [
      'no such name',
      'ssh: Could not resolve hostname nowhere.test: Name or service not known',
      true,
      'unreachable',
    ],
    ['no answer', 'ssh: connect to host 192.0.2.7 port 22: Connection timed out', true, 'unreachable'],
    [
      'a broken configuration',
      '/home/me/.ssh/config: line 3: Bad configuration option: foo',
      true,
      'configurationInvalid',
    ],
    ['the host goes away', 'Timeout, server 192.0.2.7 not responding.', true, 'connectionLost'],
    ['no reason at all', '', true, 'connectionLost'],
  ];
  for (const [title, said, couldAsk, code] of cases) {
    it(`${title}: ${code}`, () => assert.equal(explainSshFailure(config(), said, couldAsk).code, code));
  }

  it('with strict checking an unknown key is refused, asked or not', () => {
    const said =
      'No ED25519 host key is known for box and you have requested strict checking.\nHost key verification failed.';
    assert.equal(explainSshFailure(config('stricthostkeychecking true'), said, false).code, 'hostKeyRefused');
  });
});

describe('the arguments of ssh', () => {
  it("leave the user's configuration alone but for what the session needs", () => {
    const args = sshArguments(config(), 'as configured').join(' ');
    assert.equal(
      args,
      '-T -x -a -o ClearAllForwardings=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=3 -o ConnectTimeout=20 -- box',
    );
  });

  it("keep the user's own timeouts", () => {
    const args = sshArguments(config('serveraliveinterval 5\nconnecttimeout 3'), 'as configured').join(' ');
    assert.doesNotMatch(args, /ServerAlive|ConnectTimeout/);
  });

  it('H36 forbid questions where none may be asked', () => {
    assert.match(sshArguments(config(), 'never').join(' '), /-o BatchMode=yes/);
  });

  it('H38 never let a changed key pass, whatever StrictHostKeyChecking says', () => {
    assert.match(
      sshArguments(config('stricthostkeychecking false'), 'as configured').join(' '),
      /StrictHostKeyChecking=accept-new/,
    );
  });

  it('undo what would take the session away from its command', () => {
    const args = sshArguments(
      config('remotecommand tmux attach\nsessiontype none\nstdinnull yes\nforkafterauthentication yes'),
      'never',
    );
    for (const option of [
      'RemoteCommand=none',
      'SessionType=default',
      'StdinNull=no',
      'ForkAfterAuthentication=no',
    ]) {
      assert.ok(args.includes(option), option);
    }
  });
});

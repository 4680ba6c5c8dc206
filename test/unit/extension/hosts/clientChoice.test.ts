import assert from 'node:assert/strict';
import { chooseClient, ssh2Obstacles } from '../../../../src/extension/hosts/clientChoice.ts';
import type { Surroundings } from '../../../../src/extension/hosts/clientChoice.ts';
import { parseKnownHosts } from '../../../../src/extension/hosts/knownHosts.ts';
import { HostProblemError } from '../../../../src/extension/hosts/problems.ts';
import { interpretConfig, parseKeywordLines } from '../../../../src/extension/hosts/resolvedConfig.ts';

const ed25519 = 'AAAAC3NzaC1lZDI1NTE5AAAAIOXbWtJebGOBYEiizDBvC+66q6orqdlHNP0dY7gjezUO';
const securityKey =
  'AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIOXbWtJebGOBYEiizDBvC+66q6orqdlHNP0dY7gjezUOAAAABHNzaDo=';

const plain: Surroundings = {
  identities: [],
  certificateFiles: [],
  agentKeyTypes: ['ssh-ed25519', 'ssh-rsa'],
  hasKerberosTicket: false,
  knownHosts: [],
};

/** The reasons against ssh2, given lines as `ssh -G` prints them. */
function obstacles(lines: string, surroundings: Partial<Surroundings> = {}): string[] {
  const options = parseKeywordLines(`hostname example.org\nport 22\nuser dev\n${lines}`);
  const config = interpretConfig('box', { host: 'box', user: null, port: null }, options, null);
  return ssh2Obstacles(config, { ...plain, ...surroundings });
}

describe('the SSH client', () => {
  const honoured: [string, string][] = [
    ['a plain configuration', ''],
    [
      'options that are switched off',
      'proxycommand none\nproxyjump none\ncontrolpath none\npkcs11provider none\nhostbasedauthentication no',
    ],
    ['GSSAPI as Debian has it for everybody, without a ticket', 'gssapiauthentication yes'],
    ['a shared connection that nobody configured', 'controlmaster false\ncontrolpersist no'],
    [
      'an agent, keys, ports and timeouts',
      'identityagent /tmp/agent\nidentitiesonly yes\nserveraliveinterval 30',
    ],
  ];
  for (const [title, lines] of honoured) {
    it(`is ssh2 with ${title}`, () => {
      assert.deepEqual(obstacles(lines), []);
      assert.equal(chooseClient('box', 'auto', true, obstacles(lines)).client, 'ssh2');
    });
  }

  const refused: [string, string, Partial<Surroundings>, RegExp][] = [
    ['ProxyJump', 'proxyjump bastion', {}, /ProxyJump/],
    ['ProxyCommand', 'proxycommand nc %h %p', {}, /ProxyCommand/],
    ['a shared connection', 'controlmaster auto\ncontrolpath ~/.ssh/%C', {}, /ControlPath/],
    ['PKCS #11', 'pkcs11provider /usr/lib/opensc.so', {}, /PKCS11Provider/],
    ['KnownHostsCommand', 'knownhostscommand /bin/keys %H', {}, /KnownHostsCommand/],
    ['RevokedHostKeys', 'revokedhostkeys /etc/ssh/revoked', {}, /RevokedHostKeys/],
    ['host-based authentication', 'hostbasedauthentication yes', {}, /HostbasedAuthentication/],
    ['GSSAPI and a ticket', 'gssapiauthentication yes', { hasKerberosTicket: true }, /Kerberos/],
    [
      'a certificate',
      '',
      { certificateFiles: ['/home/dev/.ssh/id_rsa-cert.pub'] },
      /certificate, .*id_rsa-cert/,
    ],
    [
      'a certificate in the agent',
      '',
      { agentKeyTypes: ['ssh-ed25519-cert-v01@openssh.com'] },
      /agent holds a certificate/,
    ],
    [
      'a FIDO key in the agent',
      '',
      { agentKeyTypes: ['sk-ssh-ed25519@openssh.com'] },
      /agent holds a security key/,
    ],
    [
      'a FIDO key in a file',
      '',
      {
        identities: [
          {
            kind: 'public',
            file: 'id_ed25519_sk',
            publicKey: Buffer.from(securityKey, 'base64'),
            keyType: 'sk-ssh-ed25519@openssh.com',
          },
        ],
      },
      /id_ed25519_sk is on a security key/,
    ],
    [
      'a PKCS #8 key',
      '',
      { identities: [{ kind: 'foreign', file: 'id_rsa' }] },
      /id_rsa is of a form that only OpenSSH reads/,
    ],
    [
      'a host that shows a certificate (H38)',
      '',
      { knownHosts: parseKnownHosts(`@cert-authority *.org ssh-ed25519 ${ed25519}`, 'f') },
      /shows a certificate/,
    ],
    [
      'a host whose key ssh2 can not check (H39)',
      '',
      { knownHosts: parseKnownHosts(`example.org sk-ssh-ed25519@openssh.com ${securityKey}`, 'f') },
      /can't be checked here/,
    ],
  ];
  for (const [title, lines, surroundings, reason] of refused) {
    it(`is OpenSSH with ${title}, and says why`, () => {
      const choice = chooseClient('box', 'auto', true, obstacles(lines, surroundings));
      assert.equal(choice.client, 'openssh');
      assert.match(choice.reasons.join('\n'), reason);
    });
  }

  it('is the one that the setting names', () => {
    assert.equal(chooseClient('box', 'openssh', true, []).client, 'openssh');
    const forced = chooseClient('box', 'ssh2', true, ['ProxyJump is set']);
    assert.deepEqual(forced, { client: 'ssh2', reasons: ['ProxyJump is set'] });
  });

  it('is missing, with the reason, when only OpenSSH would do and there is none', () => {
    assert.throws(
      () => chooseClient('box', 'auto', false, ['ProxyJump is set']),
      (error) =>
        error instanceof HostProblemError &&
        error.code === 'sshClientMissing' &&
        error.args['reason'] === 'ProxyJump is set',
    );
  });
});

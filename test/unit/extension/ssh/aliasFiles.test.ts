import assert from 'node:assert/strict';
import { checkResult } from '../../../../src/extension/hosts/session.ts';
import {
  aliasFor,
  configText,
  knownHostsText,
  proxyCommand,
  withInclude,
  type SshAlias,
} from '../../../../src/extension/ssh/aliasFiles.ts';
import { ForkpointError } from '../../../../src/protocol/errors.ts';

const web: SshAlias = {
  alias: 'forkpoint-web',
  host: 'build1',
  workspace: 'ws-0123456789ab',
  access: {
    user: 'root',
    port: 2222,
    hostKeyAlias: 'forkpoint-ws-0123456789ab',
    hostKey: 'ssh-ed25519 AAAA',
  },
  proxyCommand: 'ssh -- build1 forkpoint',
};
const files = { identityFile: '/home/me/with blank/100%/id', knownHostsFile: '/home/me/known_hosts' };
const destination = { user: null, host: 'build1', port: null };

describe('names for ssh', () => {
  it('are those of the workspaces, with the host where two hosts have one of that name', () => {
    assert.equal(aliasFor('web', 'build1', []), 'forkpoint-web');
    assert.equal(aliasFor('web', 'dev@build2:22', [web]), 'forkpoint-web-dev-build2-22');
  });

  it('are refused when they could mean more than a name', () => {
    for (const name of ['*', 'a b', '-oProxyCommand=x', 'a\nHost *', '$(id)', '!web', 'a?', '']) {
      assert.throws(() => aliasFor(name, 'build1', []), name);
    }
  });

  it('come with a host key that is always checked', () => {
    const text = configText([web], files);
    assert.match(text, /^Host forkpoint-web$/m);
    assert.match(text, /^ {2}StrictHostKeyChecking yes$/m);
    assert.match(text, /^ {2}IdentityFile "\/home\/me\/with blank\/100%%\/id"$/m);
    assert.equal(knownHostsText([web]), 'forkpoint-ws-0123456789ab ssh-ed25519 AAAA\n');
  });

  it('reach the workspace through its host, as root there', () => {
    assert.equal(
      proxyCommand({ destination, configFile: null, user: 'dev' }, 'ws-0123456789ab'),
      'ssh -T -o ClearAllForwardings=yes -- build1 sudo -n /usr/local/bin/forkpoint ssh proxy -c ws-0123456789ab',
    );
    assert.equal(
      proxyCommand({ destination, configFile: '/my files/config', user: 'root' }, 'ws-0123456789ab'),
      'ssh -T -o ClearAllForwardings=yes -F "/my files/config" -- build1 /usr/local/bin/forkpoint ssh proxy -c ws-0123456789ab',
    );
  });

  it('never bring anything to the shell that it would take apart', () => {
    for (const host of ['a;id', 'a$(id)', 'a`id`', 'a"b', 'a&b"', "a'\nb"]) {
      assert.throws(
        () =>
          proxyCommand(
            { destination: { ...destination, host: `${host}"` }, configFile: null, user: 'dev' },
            'ws-1',
          ),
        host,
      );
    }
    assert.throws(() => proxyCommand({ destination, configFile: null, user: 'dev' }, 'ws;id'));
    assert.throws(() => configText([web], { ...files, identityFile: '/a"\nProxyCommand x' }));
  });
});

describe('what a hostile host answers to be written for ssh', () => {
  const isInternal = (error: unknown): boolean =>
    error instanceof ForkpointError && error.code === 'internal';
  const config = (alias: SshAlias): string => configText([alias], files);
  const knownHosts = (alias: SshAlias): string => knownHostsText([alias]);
  const spoiled = {
    user: {
      values: ['root\n  ProxyCommand sh -c id', 'root\rx', 'a b', '', 'root\u2028x', '%u', '"root"', '-x y'],
      writers: [config],
    },
    hostKeyAlias: {
      values: ['forkpoint-ws-0123456789ab\n  ProxyCommand id', '*', 'a,b', '@cert-authority *', '#x', ''],
      writers: [config, knownHosts],
    },
    hostKey: {
      values: ['ssh-ed25519 AAAA\n* ssh-ed25519 BBBB', 'ssh-ed25519 AAAA\r', 'ssh-ed25519\tAAAA', '\0', ''],
      writers: [knownHosts],
    },
  };

  it('is taken when it is what the helper answers', () => {
    assert.deepEqual(checkResult('ssh/enable', web.access), web.access);
  });

  for (const [field, { values, writers }] of Object.entries(spoiled))
    it(`is refused when its ${field} is more than that, by the session and by the writers alike`, () => {
      for (const value of values) {
        const access = { ...web.access, [field]: value };
        assert.throws(() => checkResult('ssh/enable', access), isInternal, JSON.stringify(value));
        for (const write of writers)
          assert.throws(() => write({ ...web, access }), isInternal, JSON.stringify(value));
      }
    });

  it('is refused when its host key has options, a comment or another type than is asked for', () => {
    for (const hostKey of ['ssh-rsa AAAA', 'ssh-ed25519 AAAA root@host', 'ssh-ed25519', 'ssh-ed25519 !'])
      assert.throws(() => checkResult('ssh/enable', { ...web.access, hostKey }), isInternal, hostKey);
  });

  it('begins no line of its own where an older version has kept it', () => {
    for (const proxyCommand of ['ssh x\nHost *', 'ssh x\r', 'ssh \u2028'])
      assert.throws(() => configText([{ ...web, proxyCommand }], files), isInternal, proxyCommand);
    assert.throws(() => configText([{ ...web, alias: 'forkpoint-web *' }], files), isInternal);
  });

  it('types nothing into a terminal that was not shown', () => {
    const terminal = { session: 'main', multiplexer: null, isNew: true, command: ['sh'], env: {} };
    checkResult('terminal/open', { ...terminal, install: 'apt-get update && apt-get install -y tmux' });
    for (const install of ['apt-get install tmux\rcurl x | sh', 'a\nb', 'a\u001b[8m', ''])
      assert.throws(() => checkResult('terminal/open', { ...terminal, install }), isInternal, install);
  });
});

describe("the user's ssh configuration", () => {
  it('gets one line at its top, once', () => {
    const before = 'Host *\n  ForwardAgent no\n';
    const after = withInclude(before, '/home/me/forkpoint config') ?? '';
    assert.ok(after.endsWith(before));
    assert.equal(after.split('\n').filter((line) => line.startsWith('Include ')).length, 1);
    assert.ok(after.indexOf('Include "/home/me/forkpoint config"') < after.indexOf('Host *'));
    assert.equal(withInclude(after, '/home/me/forkpoint config'), null);
  });
});

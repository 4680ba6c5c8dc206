import assert from 'node:assert/strict';
import {
  aliasFor,
  configText,
  knownHostsText,
  proxyCommand,
  withInclude,
  type SshAlias,
} from '../../../../src/extension/ssh/aliasFiles.ts';

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

import assert from 'node:assert/strict';
import { isSameHost, parseAuthority, parseHostEntry } from '../../../../src/extension/model/authority.ts';
import type { FolderPlace } from '../../../../src/extension/model/authority.ts';

const hex = (text: string) => Buffer.from(text).toString('hex');
const ssh = (host: string, user: string | null = null, port: number | null = null): FolderPlace => ({
  kind: 'ssh',
  host,
  user,
  port,
});

/** Authorities as they stand in the addresses of real windows (the hexadecimal ones as their extensions write them). */
const authorities: [string, string, FolderPlace][] = [
  ['no remote', '', { kind: 'local' }],
  ['an alias, as Remote - SSH writes it', 'ssh-remote+build1', ssh('build1')],
  ['an alias in an encoded address', 'ssh-remote%2Bbuild1', ssh('build1')],
  ['a user and host', 'ssh-remote+dev@build1.example.org', ssh('build1.example.org', 'dev')],
  ['a user, host and port', 'ssh-remote+dev@10.0.0.5:2222', ssh('10.0.0.5', 'dev', 2222)],
  ['an IPv6 address in brackets', 'ssh-remote+[fd00::1]:2222', ssh('fd00::1', null, 2222)],
  ['an IPv6 address without', 'ssh-remote+fd00::1', ssh('fd00::1')],
  [
    'an alias with capitals, as JSON in hexadecimal',
    'ssh-remote+7b22686f73744e616d65223a224275696c6431227d',
    ssh('Build1'),
  ],
  [
    'user and port as JSON in hexadecimal',
    `ssh-remote+${hex('{"hostName":"build1","user":"dev","port":2222}')}`,
    ssh('build1', 'dev', 2222),
  ],
  ['a host name that could be hexadecimal', 'ssh-remote+cafe', ssh('cafe')],
  ['a host name that is hexadecimal for text', 'ssh-remote+6465', ssh('6465')],
  [
    'an attached container by its name, as JSON in hexadecimal',
    'attached-container+7b22636f6e7461696e65724e616d65223a222f666f726b706f696e742d776562227d',
    { kind: 'container', names: ['forkpoint-web'], hostPath: null, on: null },
  ],
  [
    'an attached container by its id in hexadecimal',
    `attached-container+${hex('0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef')}`,
    {
      kind: 'container',
      names: ['0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'],
      hostPath: null,
      on: null,
    },
  ],
  [
    'an attached container on a remote',
    `attached-container+${hex('{"containerName":"/forkpoint-web"}')}@ssh-remote+build1`,
    {
      kind: 'container',
      names: ['forkpoint-web'],
      hostPath: null,
      on: { host: 'build1', user: null, port: null },
    },
  ],
  [
    'an attached container of an engine reached by SSH',
    `attached-container+${hex('{"containerName":"/forkpoint-web","settings":{"host":"ssh://dev@build1:2222"}}')}`,
    {
      kind: 'container',
      names: ['forkpoint-web'],
      hostPath: null,
      on: { host: 'build1', user: 'dev', port: 2222 },
    },
  ],
  [
    'a dev container by its folder in hexadecimal',
    `dev-container+${hex('/home/dev/project')}`,
    { kind: 'container', names: [], hostPath: '/home/dev/project', on: null },
  ],
  [
    'a dev container as JSON in hexadecimal, on a remote',
    `dev-container+${hex(
      '{"hostPath":"/home/dev/project","localDocker":false,"settings":{"context":"default"},"configFile":{"$mid":1,"path":"/home/dev/project/.devcontainer/devcontainer.json","scheme":"vscode-fileHost"}}',
    )}@ssh-remote+build1`,
    {
      kind: 'container',
      names: [],
      hostPath: '/home/dev/project',
      on: { host: 'build1', user: null, port: null },
    },
  ],
  ['WSL', 'wsl+Ubuntu-24.04', { kind: 'elsewhere', remote: 'wsl' }],
  ['a tunnel', 'tunnel+my-machine', { kind: 'elsewhere', remote: 'tunnel' }],
  ['a codespace', 'codespaces+fluffy-space', { kind: 'elsewhere', remote: 'codespaces' }],
  ['a web server', '127.0.0.1:8080', { kind: 'elsewhere', remote: '127.0.0.1:8080' }],
  ['broken JSON in hexadecimal', `ssh-remote+${hex('{"hostName"')}`, ssh(hex('{"hostName"'))],
  ['a lone percent sign', 'ssh-remote+100%', ssh('100%')],
];

describe('the authority of a window', () => {
  for (const [what, authority, place] of authorities) {
    it(`is read: ${what}`, () => assert.deepEqual(parseAuthority(authority), place));
  }
});

describe('a host of the settings', () => {
  it('is read in all its spellings', () => {
    assert.deepEqual(parseHostEntry('build1'), { host: 'build1', user: null, port: null });
    assert.deepEqual(parseHostEntry(' dev@build1:2222 '), { host: 'build1', user: 'dev', port: 2222 });
    assert.deepEqual(parseHostEntry('ssh://dev@build1:2222/'), { host: 'build1', user: 'dev', port: 2222 });
    assert.deepEqual(parseHostEntry('[fd00::1]:22'), { host: 'fd00::1', user: null, port: 22 });
  });

  it('is the same host when what both tell is the same', () => {
    const same = (a: string, b: string) => isSameHost(parseHostEntry(a), parseHostEntry(b));
    assert.ok(same('build1', 'Build1'));
    assert.ok(same('build1', 'dev@build1:2222'));
    assert.ok(!same('root@build1', 'dev@build1'));
    assert.ok(!same('build1:22', 'build1:2222'));
    assert.ok(!same('build1', 'build2'));
  });
});

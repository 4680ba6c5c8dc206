import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import * as path from 'node:path';
import { listAliases } from '../../../../src/extension/hosts/aliases.ts';
import {
  interpretConfig,
  parseKeywordLines,
  resolveConfig,
} from '../../../../src/extension/hosts/resolvedConfig.ts';
import type { ResolvedConfig } from '../../../../src/extension/hosts/resolvedConfig.ts';

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** The configuration that `ssh -G` would tell by these lines. */
function told(lines: string): ResolvedConfig {
  return interpretConfig('box', { host: 'box', user: null, port: null }, parseKeywordLines(lines), null);
}

describe('the SSH configuration', () => {
  let directory = '';
  let file = '';
  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-config-'));
    file = path.join(directory, 'config');
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('lists aliases with what is included, without wildcards and negations, each once', async () => {
    await mkdir(path.join(directory, 'conf.d'));
    await writeFile(
      path.join(directory, 'conf.d', '10-work.conf'),
      'Host work-1 work-2\n  User me\nHost *.corp\n  User you\n',
    );
    await writeFile(path.join(directory, 'conf.d', '.hidden.conf'), 'Host hidden\n');
    await writeFile(path.join(directory, 'more config'), 'Host quoted\n');
    await writeFile(
      file,
      `Include ${directory}/conf.d/*.conf\nInclude "${directory}/more config" ${directory}/missing\nHost box "two" !three\nHost work-1\nHost *\n  User all\n`,
    );
    assert.deepEqual(await listAliases(file), ['work-1', 'work-2', 'quoted', 'box', 'two']);
  });

  it('without a file has no aliases', async () => {
    assert.deepEqual(await listAliases(path.join(directory, 'missing')), []);
  });

  it('that includes itself is read to an end', async () => {
    await writeFile(file, `Include ${file}\nHost box\n`);
    assert.deepEqual(await listAliases(file), ['box']);
  });

  it('is read from the files where there is no ssh', async () => {
    await writeFile(path.join(directory, 'extra'), 'Host other\n  User wrong\n');
    await writeFile(
      file,
      [
        `Include ${directory}/extra`,
        'Port 2200',
        'Host box',
        '  HostName %h.example.org',
        '  User dev',
        '  IdentityFile ~/.ssh/one',
        '  IdentityFile ~/.ssh/two',
        '  ProxyJump bastion',
        'Host *',
        '  User nobody',
        '  UserKnownHostsFile ~/a ~/b',
        '  HashKnownHosts yes',
      ].join('\n'),
    );
    const { config } = await resolveConfig('box', { log: silent, configFile: file, withoutOpenSsh: true });
    assert.equal(config.hostName, 'box.example.org');
    assert.equal(config.port, 2200);
    assert.equal(config.user, 'dev');
    assert.deepEqual(config.identityFiles, [
      path.join(homedir(), '.ssh', 'one'),
      path.join(homedir(), '.ssh', 'two'),
    ]);
    assert.deepEqual(config.userKnownHostsFiles, [path.join(homedir(), 'a'), path.join(homedir(), 'b')]);
    assert.equal(config.hashKnownHosts, true);
    assert.deepEqual(config.options.get('proxyjump'), ['bastion']);
  });

  it('is read from the files as ssh itself reads it', async () => {
    await writeFile(
      path.join(directory, 'extra'),
      'Host box\n  IdentityFile ~/.ssh/included\nHost other\n  User wrong\n',
    );
    await writeFile(
      file,
      [
        `Include ${directory}/extra`,
        'Host box !other',
        '  HostName %h.example.org',
        '  User dev',
        '  IdentityFile ~/.ssh/one',
        '  UserKnownHostsFile ~/a ~/b',
        '  HostKeyAlias alias',
        'Match host *.example.org',
        '  Port 2200',
        'Host *',
        '  User nobody',
        '  Port 22',
        '  IdentitiesOnly yes',
        '  StrictHostKeyChecking accept-new',
      ].join('\n'),
    );
    const asked = await resolveConfig('box', { log: silent, configFile: file });
    const read = await resolveConfig('box', { log: silent, configFile: file, withoutOpenSsh: true });
    assert.equal(asked.hasOpenSsh, true);
    assert.deepEqual({ ...read.config, options: null }, { ...asked.config, options: null });
  });

  it('gives way to what the spelling of the host says', async () => {
    await writeFile(file, 'Host box\n  User dev\n  Port 2200\n');
    const { config } = await resolveConfig('me@box:2222', {
      log: silent,
      configFile: file,
      withoutOpenSsh: true,
    });
    assert.deepEqual([config.user, config.port, config.hostName], ['me', 2222, 'box']);
  });

  it('refuses a spelling that ssh would take for an option', async () => {
    await assert.rejects(
      resolveConfig('-oProxyCommand=id', { log: silent, configFile: file, withoutOpenSsh: true }),
      {
        code: 'configurationInvalid',
      },
    );
  });

  it('has what OpenSSH has where nothing is set', () => {
    const config = told('hostname box\nport 22\nuser me');
    assert.equal(config.strictHostKeyChecking, 'ask');
    assert.equal(config.userKnownHostsFiles[0], path.join(homedir(), '.ssh', 'known_hosts'));
    assert.equal(config.hostKeyAlias, null);
  });

  const strictness: [string, ResolvedConfig['strictHostKeyChecking']][] = [
    ['true', 'yes'],
    ['yes', 'yes'],
    ['ask', 'ask'],
    ['accept-new', 'accept-new'],
    ['false', 'no'],
    ['off', 'no'],
  ];
  for (const [value, expected] of strictness) {
    it(`reads StrictHostKeyChecking ${value} as ${expected}`, () => {
      assert.equal(told(`stricthostkeychecking ${value}`).strictHostKeyChecking, expected);
    });
  }

  it('names the agent: a path with tokens, none, a variable', () => {
    const before = process.env['FORKPOINT_TEST_AGENT'];
    process.env['FORKPOINT_TEST_AGENT'] = '/run/agent';
    try {
      assert.equal(
        told('identityagent ~/.agent/%r').identityAgent,
        path.join(homedir(), `.agent/${told('').user}`),
      );
      assert.equal(told('identityagent none').identityAgent, null);
      assert.equal(told('identityagent $FORKPOINT_TEST_AGENT').identityAgent, '/run/agent');
    } finally {
      if (before === undefined) delete process.env['FORKPOINT_TEST_AGENT'];
      else process.env['FORKPOINT_TEST_AGENT'] = before;
    }
  });
});

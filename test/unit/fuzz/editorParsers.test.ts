import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { readConfigText, wildcard } from '../../../src/extension/hosts/configFiles.ts';
import { parseAnswer } from '../../../src/extension/hosts/helperInstall.ts';
import { NoMarkerError, splitAtMarker } from '../../../src/extension/hosts/markedOutput.ts';
import { explainSshFailure } from '../../../src/extension/hosts/opensshTransport.ts';
import { interpretConfig, parseKeywordLines } from '../../../src/extension/hosts/resolvedConfig.ts';
import { checkResult } from '../../../src/extension/hosts/session.ts';
import { isSameHost, parseAuthority, parseHostEntry } from '../../../src/extension/model/authority.ts';
import { branchOfHead, gitDirectoryOfFile } from '../../../src/extension/model/gitBranch.ts';
import { parsePorts } from '../../../src/extension/model/ports.ts';
import { configText, knownHostsText, type SshAlias } from '../../../src/extension/ssh/aliasFiles.ts';
import { isOperationName, operations } from '../../../src/protocol/operations.ts';
import { SshAccessSchema } from '../../../src/protocol/reach.ts';
import { markerLine } from '../../../src/protocol/session.ts';
import { cleanUp, temporaryDirectory } from '../helper/daemonHarness.ts';
import { each, Inputs, rounds, timeoutMs } from './inputs.ts';

describe('whatever a host, a repository or a file tells it, the editor', function () {
  this.timeout(timeoutMs);

  let inputs: Inputs;

  before(() => {
    inputs = new Inputs();
  });

  after(cleanUp);

  it("writes no line of ssh's files that is not one of its own", () => {
    const whole: SshAlias = {
      alias: 'forkpoint-web',
      host: 'build1',
      workspace: 'ws-0123456789ab',
      access: {
        ...{ user: 'root', port: 2222, hostKeyAlias: 'forkpoint-ws-0123456789ab' },
        hostKey: 'ssh-ed25519 AAAA',
      },
      proxyCommand: 'ssh -- build1 forkpoint',
    };
    const files = { identityFile: '/home/me/id', knownHostsFile: '/home/me/known hosts' };
    const words = ['\n  ', 'ProxyCommand ', 'Host ', '*', 'root', 'forkpoint-ws-0123456789ab', 'AAAA', ' '];
    const hostile = (own: string): string =>
      inputs.one([own, `${own}${inputs.text(words)}`, inputs.text(words)]);
    const known = new Set([
      ...['Host', 'HostName', 'User', 'HostKeyAlias', 'HostKeyAlgorithms', 'StrictHostKeyChecking'],
      ...['UserKnownHostsFile', 'GlobalKnownHostsFile', 'IdentityFile', 'IdentitiesOnly', 'ProxyCommand'],
    ]);
    return each(
      (): SshAlias => ({
        ...whole,
        alias: hostile(whole.alias),
        proxyCommand: hostile(whole.proxyCommand),
        access: {
          port: 2222,
          user: hostile(whole.access.user),
          hostKeyAlias: hostile(whole.access.hostKeyAlias),
          hostKey: hostile(whole.access.hostKey),
        },
      }),
      (alias) => {
        const keywords = configText([alias, whole], files)
          .split(/[\r\n]/)
          .filter((line) => line !== '' && !line.startsWith('#'))
          .map((line) => line.trim().split(' ')[0] ?? '');
        assert.deepEqual(keywords.slice(0, known.size), [...known]);
        assert.equal(keywords.length, 2 * known.size);
        const keys = knownHostsText([alias, whole]);
        assert.match(keys, /^(?:[\w.+/=$-]+(?: [\w.+/=$-]+)+\n){2}$/);
        if (SshAccessSchema.safeParse(alias.access).success) assert.match(keys, /^forkpoint-ws-/);
      },
    );
  });

  it('takes of the answers of a host those that are as agreed, and changes nothing of them', () =>
    each(
      () => {
        const name = inputs.one(Object.keys(operations).filter(isOperationName));
        const value = inputs.value(['snapshot', 'name', 'workspace', 'ok', 'user', 'port', 'error'], 4);
        return [name, inputs.one<unknown>([value, [], {}, null, [value]])] as const;
      },
      ([name, value]) => {
        const result = checkResult(name, value);
        assert.deepEqual(checkResult(name, result), result);
        // What passed by chance is empty.
        assert.ok(Array.isArray(value) || typeof value === 'object', JSON.stringify(value));
      },
    ));

  it('parts what a login shell prints from what the helper prints, however it comes', () =>
    each(
      () => ({
        noise: inputs.text(['forkpoint-session ', '\n', '0123']),
        output: Buffer.from(inputs.text(['forkpoint-session ', '\n'])),
        end: inputs.one(['\n', '\r\n', '']),
        size: 1 + inputs.below(40),
      }),
      async ({ noise, output, end, size }) => {
        const source = new PassThrough();
        const split = splitAtMarker(source, '0123456789abcdef');
        const after = buffer(split.output);
        const bytes = Buffer.concat([Buffer.from(`${noise}${markerLine('0123456789abcdef')}${end}`), output]);
        for (let at = 0; at < bytes.length; at += size) source.write(bytes.subarray(at, at + size));
        source.end();
        const isWhole = end !== '' || output.includes('\n');
        const found = await split.marked.catch((error: unknown) => {
          assert.ok(!isWhole && error instanceof NoMarkerError, String(error));
          return null;
        });
        if (found === null) return;
        assert.equal(found, Buffer.from(noise).toString('utf8', 0, 4096));
        const rest = end === '' ? output.subarray(output.indexOf('\n') + 1) : output;
        assert.deepEqual(await after, rest);
      },
    ));

  it('takes the first line of an installation when it is an answer', () =>
    each(
      () => inputs.one([inputs.text(['{"error":', '{"digest":"a"}', '\n']), JSON.stringify(inputs.value())]),
      (printed) => {
        const answer = parseAnswer(printed);
        assert.ok(answer === null || 'error' in answer || typeof answer.digest === 'string', printed);
        const whole = { digest: 'ab', version: '1.0.0', current: inputs.below(2) === 0 };
        const line = `\n \n${JSON.stringify(whole)}\n`;
        assert.deepEqual(parseAnswer(`${line}${printed}`), whole);
      },
    ));

  it('tells why ssh failed without words that a shell would take apart', () => {
    const config = interpretConfig(
      'box',
      { host: 'box', user: null, port: null },
      parseKeywordLines('hostname 192.0.2.7\nport 22\nuser dev\nuserknownhostsfile /tmp/known'),
      null,
    );
    const words = [
      ...['REMOTE HOST IDENTIFICATION HAS CHANGED', '\nOffending ED25519 key in ', '/tmp/known', ':3'],
      ...['\nHost key for ', ' has changed', 'is marked as revoked', ' in ', 'Host key verification failed'],
      ...['Permission denied (', ')', 'The ED25519 host key', 'SHA256:abc', '$(id)', ';id', '`id`', '\n'],
    ];
    const changed = 'REMOTE HOST IDENTIFICATION HAS CHANGED\n';
    return each(
      () => {
        const odd = inputs.text(words);
        return inputs.one([
          odd,
          `${changed}Offending ED25519 key in ${odd}:3\nHost key for ${odd} has changed`,
          `Host key x is marked as revoked in ${odd}`,
        ]);
      },
      (said) => {
        const { args } = explainSshFailure(config, said, inputs.below(2) === 0);
        // They stand in a command that the text gives people to copy.
        for (const name of ['knownAs', 'file']) assert.doesNotMatch(args[name] ?? '', /[;|&$`<>\n]/);
      },
    );
  });

  it('reads where a window is, and hosts as they are written, to names and ports that lead back', () => {
    const hex = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('hex');
    return each(
      () => {
        const odd = inputs.text(['@', ':', '22', '[', ']', '+', 'ssh-remote', 'dev-container', 'host']);
        const named = inputs.value(['hostName', 'host', 'user', 'port', 'containerName', 'settings']);
        return {
          odd,
          authority: inputs.one([
            odd,
            `ssh-remote+${odd}`,
            `ssh-remote+${hex(named)}`,
            `attached-container+${hex(named)}@ssh-remote+${odd}`,
          ]),
          host: inputs.one(['build1', 'a.example.org', '2001:db8::1']),
          port: inputs.one([null, 1 + inputs.below(65535)]),
          user: inputs.one([null, 'dev', 'dev@corp']),
        };
      },
      ({ odd, authority, host, port, user }) => {
        const place = parseAuthority(authority);
        if (place.kind === 'ssh') assert.ok(authority !== '' && isSameHost(place, place));
        if (place.kind === 'container') assert.ok(place.names.every((name) => typeof name === 'string'));
        assert.ok(isSameHost(parseHostEntry(odd), parseHostEntry(odd)));
        const bracketed = host.includes(':') && port !== null ? `[${host}]` : host;
        const entry = `${user === null ? '' : `${user}@`}${bracketed}${port === null ? '' : `:${String(port)}`}`;
        assert.deepEqual(parseHostEntry(entry), { host, port, user });
        assert.deepEqual(parseAuthority(`ssh-remote+${encodeURIComponent(entry)}`), {
          ...{ kind: 'ssh', host, port, user },
        });
      },
    );
  });

  it('reads of a repository one branch and one directory, each in one line', () =>
    each(
      () => inputs.text(['gitdir: ', 'ref: refs/heads/', 'main', '\n', '\r\n', '../.git', ' '.repeat(5000)]),
      (content) => {
        for (const found of [gitDirectoryOfFile(content), branchOfHead(content)]) {
          assert.ok(found === null || (found !== '' && !/[\r\n]/.test(found)), JSON.stringify(found));
          assert.ok(found === null || content.includes(found));
        }
        assert.equal(gitDirectoryOfFile(`gitdir: ../a\n${content}`), '../a');
        assert.equal(branchOfHead(`ref: refs/heads/a/b\n${content}`), 'a/b');
      },
    ));

  it('reads ports that there are, and those that it writes', () =>
    each(
      () => ({
        odd: inputs.text(['8080:80', ':', ' ', ',', '65536', '0:1', '99999:1']),
        pairs: Array.from({ length: inputs.below(4) }, () => ({
          hostPort: 1 + inputs.below(65535),
          containerPort: 1 + inputs.below(65535),
        })),
        separator: inputs.one([' ', ', ', ',', '\t']),
      }),
      ({ odd, pairs, separator }) => {
        const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65535;
        for (const { hostPort, containerPort } of parsePorts(odd) ?? [])
          assert.ok(isPort(hostPort) && isPort(containerPort), odd);
        const written = pairs.map(
          ({ hostPort, containerPort }) => `${String(hostPort)}:${String(containerPort)}`,
        );
        assert.deepEqual(parsePorts(written.join(separator)), pairs);
      },
    ));

  it('reads a configuration of ssh with what it includes, to an end, and its patterns', () => {
    const home = process.env['HOME'];
    const directory = temporaryDirectory();
    process.env['HOME'] = directory;
    mkdirSync(path.join(directory, '.ssh'));
    const file = path.join(directory, '.ssh/config');
    writeFileSync(path.join(directory, '.ssh/more'), 'Host more\n  Port 1\n');
    const words = ['Host ', 'Include ', 'more', 'config', '*', '?', '\n', ' ', '\t', '"', '='];
    return each(
      () => {
        // No path of the machine, which may have files without an end (/dev).
        const again = inputs.one(['', 'Include config config config\n']);
        const text = `${again}${inputs.text(words)}`.replace(/[/~\0]/g, '');
        writeFileSync(file, text);
        return text;
      },
      async (text) => {
        const read = await readConfigText(file);
        const own = text.split(/\r?\n/).filter((line) => !/include/i.test(line));
        for (const line of own) assert.ok(Buffer.from(read).includes(Buffer.from(line)), line);
        const plain = text.replace(/[*?\n\r\u2028\u2029]/g, '');
        assert.match(plain, wildcard(plain));
        assert.match(`a${plain}b`, wildcard(`a${'*'.repeat(40)}b`));
        assert.doesNotMatch('a'.repeat(60), wildcard(`${'*'.repeat(40)}${plain}b`));
      },
      Math.ceil(rounds / 2),
    ).finally(() => {
      process.env['HOME'] = home;
    });
  });
});

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import type { HostConnection } from '../../src/extension/hosts/host.ts';
import type { HostStream } from '../../src/extension/hosts/streams.ts';
import { parseDestination } from '../../src/extension/hosts/destination.ts';
import {
  configText,
  knownHostsText,
  proxyCommand,
  type SshAlias,
} from '../../src/extension/ssh/aliasFiles.ts';
import { STREAM_WINDOW, type TerminalSize } from '../../src/protocol/streams.ts';
import type { TestHost } from './machine/machine.ts';
import { makeRootfs } from './small/smallWorkspace.ts';
import { readBuiltHelper, User, writeSshConfig } from './sshUser.ts';
import { ask, failsWith, sharedHost, TestWorkspace, until } from './workspace.ts';

/** A server on loopback alone: answers each line, or sends as many bytes as a line asks for. */
const SERVER = `
import hashlib, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            word, _, rest = line.decode().strip().partition(" ")
            if word == "send":
                self.wfile.write(bytes(range(256)) * (int(rest) // 256))
            elif word == "hash":
                print(hashlib.sha256(self.rfile.read(int(rest))).hexdigest(), file=open("/hash", "w"))
                self.wfile.write(open("/hash", "rb").read())
            else:
                self.wfile.write(("%s %s\\n" % (word, rest)).encode())
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128
Server(("127.0.0.1", 7000), Handler).serve_forever()
`;

const MEGABYTES_100 = 100 * 1024 * 1024;

const sha256 = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex');

async function hashOf(stream: Readable): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(stream, hash);
  return hash.digest('hex');
}

/** The screen's side of a terminal: keeps what was printed, and waits for words. */
class Screen {
  text = '';

  constructor(readonly stream: HostStream) {
    stream.setEncoding('utf8').on('data', (piece: string) => (this.text += piece));
  }

  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    try {
      await until(() => pattern.test(this.text));
    } catch (cause) {
      throw new Error(`${String(pattern)} is not in ${JSON.stringify(this.text.slice(-2000))}`, { cause });
    }
    const found = pattern.exec(this.text);
    assert.ok(found);
    return found;
  }
}

describe('reaching into a workspace', function () {
  this.timeout(180_000);
  let host: TestHost;
  let workspace: TestWorkspace;
  let directory: string;
  let configFile: string;
  const connections = new Map<'ssh2' | 'openssh', HostConnection>();

  before(async function () {
    this.timeout(600_000);
    host = await sharedHost();
    workspace = await TestWorkspace.create(host, 'reach', {
      publish: [{ hostPort: 7070, containerPort: 7000 }],
    });
    await workspace.python('/server.py', SERVER);
    directory = await mkdtemp(join(tmpdir(), 'forkpoint-reach-'));
    configFile = await writeSshConfig(join(directory, 'config'), host);
    const helper = await readBuiltHelper();
    for (const client of ['ssh2', 'openssh'] as const) {
      const user = new User();
      user.consents.set('box', true);
      const connection = user.connection('box', { client, configFile, helper });
      connections.set(client, connection);
      await connection.connect({ interactive: true });
    }
    await until(async () =>
      (await ask(host, 'ports/list', { container: 'reach' })).some(({ process }) => process),
    );
  });

  after(async () => {
    for (const connection of connections.values()) connection.dispose();
    await rm(directory, { recursive: true, force: true });
    await ask(host, 'containers/delete', { container: 'reach', withSnapshots: true });
  });

  const by = (client: 'ssh2' | 'openssh'): HostConnection => {
    const connection = connections.get(client);
    assert.ok(connection);
    return connection;
  };

  const openTerminal = async (
    client: 'ssh2' | 'openssh',
    session: string,
    container = 'reach',
    size: TerminalSize = { columns: 100, rows: 30 },
  ): Promise<Screen> =>
    new Screen(
      await by(client).openStream({
        kind: 'terminal',
        container,
        session,
        size,
        historyLines: 5000,
      }),
    );

  const dial = (client: 'ssh2' | 'openssh', port: number): Promise<HostStream> =>
    by(client).openStream({ kind: 'port', container: 'reach', port });

  it('"terminal exec" passes input, output, errors and exit status on, byte for byte', async () => {
    const result = await host.exec([
      'sh',
      '-euc',
      `head -c 10000000 /dev/urandom > /tmp/sent
       forkpoint terminal exec -c reach -- cat < /tmp/sent | cmp - /tmp/sent
       set +e
       echo in | forkpoint terminal exec -c reach -- sh -c 'cat; echo "two  words: $1" >&2; exit 9' sh 'a "b" $c'
       echo "status $?"`,
    ]);
    assert.equal(result.stdout, 'in\nstatus 9\n');
    assert.equal(result.stderr, 'two  words: a "b" $c\n');
    const missing = await host.exec(['forkpoint', 'terminal', 'exec', '-c', 'nobody', '--', 'true']);
    assert.equal(missing.exitCode, 1);
    assert.match(missing.stderr, /workspace\.notFound/);
  });

  for (const client of ['ssh2', 'openssh'] as const) {
    it(`a terminal over ${client} has a size, colours, UTF-8 and takes a paste of 100 kB`, async () => {
      const screen = await openTerminal(client, `look-${client}`);
      assert.equal(screen.stream.opened.terminal?.multiplexer, 'tmux');
      assert.equal(screen.stream.opened.terminal.isNew, true);
      screen.stream.write(
        'echo "it has $(stty size), $(tput colors)"; printf "\\033[31mr\\303\\266t\\033[0m %s\\n" done\n',
      );
      await screen.shows(/it has 30 100, 256/);
      // oxlint-disable-next-line no-control-regex -- escape sequences are what it looks for
      await screen.shows(/\u001b\[31m(\u001b\[[0-9;]*m)*röt.*done/s);
      screen.stream.resize({ columns: 71, rows: 17 });
      await until(async () => {
        screen.text = '';
        screen.stream.write('stty size\n');
        await screen.shows(/\d+ \d+\s/);
        return /17 71/.test(screen.text);
      });
      const line = 'ä1234567890 paste '.repeat(50);
      const pasted = `${line}\n`.repeat(Math.ceil(100_000 / Buffer.byteLength(line)));
      screen.stream.write(`stty -echo; cat > /pasted-${client}; stty echo; echo all is there\n`);
      await screen.shows(/all is there/);
      screen.text = '';
      screen.stream.write(pasted);
      screen.stream.write('\u0004');
      await screen.shows(/all is there/);
      const { stdout } = await host.exec(['sha256sum', workspace.inside(`/pasted-${client}`)]);
      assert.equal(stdout.split(' ')[0], sha256(pasted));
      screen.stream.write('exit\n');
      assert.deepEqual(await screen.stream.over, { status: 0, wasLost: false, wasSentAway: false });
    });
  }

  it('a terminal that is attached again is not resized to anything but its own size on the way', async () => {
    const first = await openTerminal('ssh2', 'sized');
    first.stream.write(
      `sh -c 'trap "stty size >> /sizes" WINCH; echo "be"gun; while :; do sleep 0.02; done'\n`,
    );
    await first.shows(/begun/);
    for (const [columns, rows] of [
      [100, 30],
      [120, 40],
    ] as const) {
      const again = await openTerminal('ssh2', 'sized', 'reach', { columns, rows });
      // Longer than tmux waits between two resizes of a pane.
      await delay(600);
      again.stream.write('unheard\n');
      await again.shows(/unheard/);
    }
    const { stdout } = await host.exec(['cat', workspace.inside('/sizes')]);
    assert.deepEqual([...new Set(stdout.trim().split('\n'))], ['40 120']);
  });

  it('a terminal is kept by snapshots taken while it is attached, and is back after a restore', async () => {
    const first = await openTerminal('ssh2', 'kept');
    first.stream.write('seq 1 3000; remembered=$((6 * 7)); cd /srv; sleep 98765 & echo "fin"ished\n');
    await first.shows(/finished/);
    const { name, stateful } = await workspace.snapshot();
    assert.equal(stateful, true);
    // The snapshot sent whoever was attached away, the session lives.
    assert.equal((await first.stream.over).wasSentAway, true);

    const second = await openTerminal('ssh2', 'kept');
    assert.equal(second.stream.opened.terminal?.isNew, false);
    await second.shows(/1500\r\n1501\r\n/);
    second.stream.write('remembered=lost; kill %1; clear; tmux -L forkpoint clear-history\n');
    await workspace.restore(name);
    assert.equal((await second.stream.over).wasSentAway, true);

    const third = await openTerminal('openssh', 'kept');
    assert.equal(third.stream.opened.terminal?.isNew, false);
    await third.shows(/1500\r\n1501\r\n/);
    third.stream.write('echo "it is $remembered in $PWD"; jobs\n');
    await third.shows(/it is 42 in \/srv/);
    await third.shows(/Running\s+sleep 98765/);
    third.stream.endSession();
    await third.stream.over;
    const { stdout } = await workspace.try('tmux -L forkpoint list-sessions || true');
    assert.doesNotMatch(stdout, /kept/);
  });

  for (const multiplexer of ['screen', 'dtach'] as const) {
    it(`without tmux, ${multiplexer} keeps the shell`, async () => {
      const hidden = ['tmux', 'screen', 'dtach'].filter((name) => name !== multiplexer);
      await workspace.sh(hidden.map((name) => `mv /usr/bin/${name} /usr/bin/${name}.hidden`).join('\n'));
      try {
        const first = await openTerminal('ssh2', 'other');
        assert.equal(first.stream.opened.terminal?.multiplexer, multiplexer);
        first.stream.write('kept=$((3 * 7)); stty size; echo ready\n');
        await first.shows(/30 100[^]*ready/);
        const { name, stateful, statelessReason } = await workspace.snapshot();
        assert.ok(stateful, statelessReason ?? '');
        await first.stream.over;
        await workspace.restore(name);
        const second = await openTerminal('ssh2', 'other');
        assert.equal(second.stream.opened.terminal?.isNew, false);
        second.stream.write('echo "it is $kept"\n');
        await second.shows(/it is 21/);
        second.stream.endSession();
        await second.stream.over;
      } finally {
        await workspace.sh(hidden.map((name) => `mv /usr/bin/${name}.hidden /usr/bin/${name}`).join('\n'));
      }
    });
  }

  it('without any of them a terminal is a plain shell, which says so, with its exit status', async () => {
    await makeRootfs(host);
    await TestWorkspace.create(host, 'bare', { rootfs: '/srv/small' });
    try {
      const screen = await openTerminal('openssh', 'plain', 'bare');
      assert.equal(screen.stream.opened.terminal?.multiplexer, null);
      screen.stream.write('exit 7\n');
      assert.deepEqual(await screen.stream.over, { status: 7, wasLost: false, wasSentAway: false });
      await failsWith(
        'ssh.serverMissing',
        ask(host, 'ssh/enable', { container: 'bare', key: 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA me' }),
      );
      await ask(host, 'containers/stop', { container: 'bare', timeout: 0 });
      await failsWith('workspace.notRunning', openTerminal('ssh2', 'plain', 'bare'));
    } finally {
      await ask(host, 'containers/delete', { container: 'bare' });
    }
  });

  it('lists what listens, by whom, and what is published', async () => {
    const ports = await ask(host, 'ports/list', { container: 'reach' });
    const port = ports.find((one) => one.port === 7000);
    assert.deepEqual(port?.addresses, ['127.0.0.1']);
    assert.equal(port.process?.name, 'python3');
    assert.deepEqual(port.published, ['127.0.0.1:7070']);
  });

  for (const [client, bytes] of [
    ['ssh2', MEGABYTES_100],
    ['openssh', MEGABYTES_100 / 4],
  ] as const) {
    it(`a port that listens on loopback alone is reached over ${client}, ${bytes / 2 ** 20} MB unchanged`, async () => {
      const receiving = await dial(client, 7000);
      receiving.end(`send ${bytes}\n`);
      const expected = createHash('sha256');
      const block = Buffer.from(Array.from({ length: 65_536 }, (_, index) => index & 255));
      for (let sent = 0; sent < bytes; sent += block.length) expected.update(block);
      assert.equal(await hashOf(receiving), expected.digest('hex'));

      const sending = await dial(client, 7000);
      const data = randomBytes(10 * 1024 * 1024);
      sending.write(`hash ${data.length}\n`);
      sending.end(data);
      const [answer] = (await sending.take(1).toArray()) as [Buffer];
      assert.equal(answer.toString().trim(), sha256(data));
    });
  }

  it('a port of the host is not reached, only one of the workspace', async () => {
    const server = 'setsid -f python3 -m http.server 7099 >/dev/null 2>&1';
    await host.run(['sh', '-c', server]);
    const answers = async (): Promise<boolean> =>
      (await host.exec(['curl', '-sS', '-o', '/dev/null', 'http://127.0.0.1:7099/'])).exitCode === 0;
    try {
      await until(answers);
      for (const client of ['ssh2', 'openssh'] as const) {
        const { args } = await failsWith('port.unreachable', dial(client, 7099));
        assert.equal(args['reason'], 'ECONNREFUSED');
      }
      assert.ok(await answers());
    } finally {
      await host.run(['pkill', '-f', 'http[.]server 7099']);
    }
  });

  it('carries 50 connections at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const stream = await dial('ssh2', 7000);
        stream.end(`hello ${index}\n`);
        return Buffer.concat((await stream.toArray()) as Buffer[]).toString();
      }),
    );
    assert.deepEqual(
      answers,
      answers.map((_, index) => `hello ${index}\n`),
    );
  });

  it('a reader that reads nothing stops the sender, and nobody else', async () => {
    const idle = await dial('ssh2', 7000);
    idle.write(`send ${MEGABYTES_100}\n`);
    await until(() => idle.readableLength > 0);
    const other = await dial('ssh2', 7000);
    other.end('still here\n');
    assert.equal(Buffer.concat((await other.toArray()) as Buffer[]).toString(), 'still here\n');
    assert.ok(idle.readableLength <= STREAM_WINDOW, String(idle.readableLength));
    idle.destroy();
  });

  it('says when nothing listens there, and goes on after a restore', async () => {
    const failure = await failsWith('port.unreachable', dial('ssh2', 7001));
    assert.deepEqual(failure.args, { port: 7001, workspace: 'reach', reason: 'ECONNREFUSED' });
    const held = await dial('ssh2', 7000);
    held.write('before it\n');
    await until(() => held.readableLength > 0);
    const { name } = await workspace.snapshot();
    await workspace.restore(name);
    // Its server was replaced, and it is told so.
    held.resume();
    await once(held, 'end');
    held.end();
    assert.equal((await held.over).wasLost, false);
    const stream = await dial('ssh2', 7000);
    stream.end('after it\n');
    assert.equal(Buffer.concat((await stream.toArray()) as Buffer[]).toString(), 'after it\n');
    // The server's ends of the connections that were carried from outside are closed, not left to wait for ever.
    await until(
      async () => (await workspace.sh('ss -Htn state connected "( sport = :7000 )" | wc -l')).trim() === '0',
    );
  });

  describe("by the system's own ssh", () => {
    let alias: SshAlias;
    let aliases: string;

    const ssh = (command: string, args: readonly string[]) =>
      execa(command, args, { reject: false, timeout: 120_000, stdin: 'ignore' });

    before(async () => {
      const identityFile = join(directory, 'id_ed25519');
      await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', identityFile]);
      // Before SSH is enabled, so that a restore brings back a time without a server.
      const before = await workspace.snapshot({ alias: 'before-ssh' });
      assert.ok(before.stateful);
      const access = await ask(host, 'ssh/enable', {
        container: 'reach',
        key: (await readFile(`${identityFile}.pub`, 'utf8')).trim(),
      });
      const destination = parseDestination('box');
      assert.ok(destination);
      alias = {
        alias: 'forkpoint-reach',
        host: 'box',
        workspace: workspace.id,
        access,
        proxyCommand: proxyCommand({ destination, configFile, user: 'dev' }, workspace.id),
      };
      const files = { identityFile, knownHostsFile: join(directory, 'known_hosts') };
      aliases = join(directory, 'aliases');
      await writeFile(aliases, configText([alias], files));
      await writeFile(files.knownHostsFile, knownHostsText([alias]));
    });

    it('"ssh forkpoint-NAME" gets in, and its server is a child of init', async () => {
      const result = await ssh('ssh', ['-F', aliases, 'forkpoint-reach', 'hostname; exit 5']);
      assert.equal(result.stdout, 'reach', result.stderr);
      assert.equal(result.exitCode, 5);
      const processes = await workspace.sh('ps -eo ppid=,args=');
      assert.match(processes, /^\s*1 sshd: .*\[listener\]/m);
      const listening = await ask(host, 'ports/list', { container: 'reach' });
      assert.deepEqual(listening.find(({ port }) => port === alias.access.port)?.addresses, ['127.0.0.1']);
    });

    it('scp brings 100 MB there and back unchanged, and rsync a directory', async () => {
      const file = join(directory, 'large');
      await writeFile(file, randomBytes(MEGABYTES_100));
      const there = await ssh('scp', ['-F', aliases, file, 'forkpoint-reach:/large']);
      assert.equal(there.exitCode, 0, there.stderr);
      const expected = await hashOf(createReadStream(file));
      assert.equal((await host.run(['sha256sum', workspace.inside('/large')])).split(' ')[0], expected);
      const back = await ssh('scp', ['-F', aliases, 'forkpoint-reach:/large', `${file}.back`]);
      assert.equal(back.exitCode, 0, back.stderr);
      assert.equal(await hashOf(createReadStream(`${file}.back`)), expected);
      const synced = await ssh('rsync', [
        ...['-a', '-e', `ssh -F ${aliases}`],
        ...[`${directory}/known_hosts`, 'forkpoint-reach:/synced/'],
      ]);
      assert.equal(synced.exitCode, 0, synced.stderr);
      assert.equal(await workspace.sh('cat /synced/known_hosts'), knownHostsText([alias]));
    });

    it('after a restore to a time before SSH, the server is there again with the same host key', async () => {
      await workspace.restore('before-ssh');
      assert.equal((await workspace.try('pgrep -x sshd')).exitCode, 1);
      const result = await ssh('ssh', ['-F', aliases, 'forkpoint-reach', 'cat /etc/hostname']);
      assert.equal(result.stdout, 'reach', result.stderr);
    });

    it("a host key that is not the workspace's is refused", async () => {
      const known = join(directory, 'known_hosts');
      const other = join(directory, 'other');
      await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', other]);
      const [type, key] = (await readFile(`${other}.pub`, 'utf8')).split(' ');
      await writeFile(known, `${alias.access.hostKeyAlias} ${type} ${key}\n`);
      const result = await ssh('ssh', ['-F', aliases, 'forkpoint-reach', 'true']);
      assert.equal(result.exitCode, 255);
      assert.match(result.stderr, /HOST IDENTIFICATION HAS CHANGED|Host key verification failed/);
    });
  });
});

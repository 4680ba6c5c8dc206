import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { ErrorData } from '../../src/protocol/errors.ts';
import type { Installed } from '../../src/protocol/install.ts';
import type { Result } from '../../src/protocol/operations.ts';
import { PROTOCOL_VERSION } from '../../src/protocol/session.ts';
import { provideLoopDevices } from './loopDevices.ts';
import { bootHost, type ExecResult, type TestHost } from './machine/machine.ts';
import { repositoryDirectory } from './machine/paths.ts';
import { forkpoint as forkpointWith, withoutUnit } from './small/smallWorkspace.ts';

const logFile = '/var/log/forkpoint/helper.log';
const hostFile = '/etc/forkpoint/host.json';
const socketFile = '/run/forkpoint/forkpoint.sock';

describe('the daemon on a host', () => {
  let host: TestHost;

  before(async function () {
    this.timeout(600_000);
    host = await bootHost({ name: 'daemon-test', poolSizeBytes: 2 * 1024 ** 3, ifRunning: 'replace' });
  });

  after(async function () {
    this.timeout(60_000);
    await host.down();
  });

  afterEach(async () => {
    await endDaemon();
  });

  const forkpoint = (...words: string[]): Promise<ExecResult> => host.exec(['forkpoint', ...words]);

  /** Process id of the daemon that runs, or of the last one. */
  async function daemonProcess(): Promise<number> {
    const started = await host.run(['sed', '-n', 's/.*started, process \\([0-9]*\\),.*/\\1/p', logFile]);
    return Number(started.trim().split('\n').at(-1));
  }

  async function startDaemon(): Promise<number> {
    await host.run(['forkpoint', 'host', 'logs']);
    return daemonProcess();
  }

  /** Ends the daemon if one runs, and waits until it is gone. */
  async function endDaemon(signal = 'TERM'): Promise<void> {
    const pid = String(await daemonProcess());
    await host.exec(['kill', `-${signal}`, pid]);
    for (let tries = 0; tries < 100; tries += 1) {
      if ((await host.exec(['test', '-d', `/proc/${pid}`])).exitCode !== 0) return;
      await sleep(50);
    }
    assert.fail(`daemon ${pid} did not end`);
  }

  /** What the command line says as JSON on stderr. */
  async function failureOf(...words: string[]): Promise<ErrorData> {
    const { exitCode, stdout, stderr } = await forkpoint(...words, '--json');
    assert.deepEqual([exitCode, stdout], [1, ''], stderr);
    return JSON.parse(stderr) as ErrorData;
  }

  it('H19: is the only one; another says so and exits', async () => {
    await startDaemon();
    const { exitCode, stdout, stderr } = await forkpoint('daemon');
    assert.equal(exitCode, 75);
    assert.equal(stdout, '');
    assert.match(stderr, /another daemon runs on this host already/);
  });

  it('H19: leaves its lock to the next one when it is killed, though what it started may live on', async () => {
    const pid = await startDaemon();
    await endDaemon('KILL');
    const next = await startDaemon();
    assert.notEqual(next, pid);
    // No child keeps the lock: of all processes only the daemon has the file open.
    const holders = await host.run([
      'sh',
      '-c',
      'ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c "forkpoint/lock$"',
    ]);
    assert.equal(holders.trim(), '1');
  });

  it('H50: is reached by root alone', async () => {
    await startDaemon();
    const connecting = `require('net').connect('${socketFile}').on('connect', () => console.log('connected'))
      .on('error', (error) => console.log(error.code))`;
    const asDev = ['setpriv', '--reuid', 'dev', '--regid', 'dev', '--clear-groups', '--'];
    assert.equal(await host.run([...asDev, 'node', '-e', connecting]), 'EACCES\n');
    const { exitCode, stderr } = await host.exec([...asDev, 'forkpoint', 'containers', 'list']);
    assert.equal(exitCode, 1);
    assert.match(stderr, /\(host\.needsRoot\)\nHint: Put sudo/);
    assert.equal(
      await host.run(['stat', '-c', '%a %U', '/run/forkpoint', socketFile]),
      '700 root\n600 root\n',
    );
  });

  it('H51: logs to a file of root alone', async () => {
    await startDaemon();
    assert.equal(
      await host.run(['stat', '-c', '%a %U', '/var/log/forkpoint', logFile]),
      '700 root\n600 root\n',
    );
  });

  it('H50: runs with an environment, a session and files of its own', async () => {
    const dialled = await host.exec([
      'sh',
      '-c',
      'SECRET=1 NODE_OPTIONS=--no-warnings forkpoint host logs >/dev/null',
    ]);
    assert.equal(dialled.exitCode, 0, dialled.stderr);
    const pid = String(await daemonProcess());
    const environment = await host.run([
      'sh',
      '-c',
      `tr '\\0' '\\n' </proc/${pid}/environ | sed 's/=.*//' | sort`,
    ]);
    // Where systemd starts it, it is by the launcher, which lets the kind of the terminal through.
    const expected = 'HOME\nLANG\nMALLOC_ARENA_MAX\nMALLOC_TRIM_THRESHOLD_\nPATH\n';
    assert.equal(environment.replace(/^TERM\n/m, ''), expected);
    const files = await host.run([
      'readlink',
      `/proc/${pid}/fd/0`,
      `/proc/${pid}/fd/1`,
      `/proc/${pid}/fd/2`,
      `/proc/${pid}/cwd`,
    ]);
    // systemd has what it writes beside its log go to the journal.
    const isUnit = (await host.exec(['systemctl', 'is-active', 'forkpoint.service'])).exitCode === 0;
    assert.equal(
      isUnit ? files.replace(/^socket:\[\d+\]$/gm, logFile) : files,
      `/dev/null\n${logFile}\n${logFile}\n/\n`,
    );
    assert.equal((await host.run(['ps', '-o', 'sid=', '-p', pid])).trim(), pid);
  });

  it('H37: is joined to a caller over SSH, byte for byte behind the marker', async () => {
    const hello = JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'session/hello',
      params: { client: 'test', clientVersion: '1', protocol: PROTOCOL_VERSION },
    });
    const { stdout } = await execa(
      'ssh',
      [...host.sshArguments(), 'sudo', '-n', '/usr/local/bin/forkpoint', 'dial-stdio', '--marker', 'c0ffee'],
      {
        input: `Content-Length: ${String(hello.length)}\r\n\r\n${hello}`,
        stripFinalNewline: false,
        timeout: 30_000,
      },
    );
    const [, length, body] =
      /^forkpoint-session c0ffee\nContent-Length: (\d+)\r\n\r\n(.*)$/s.exec(stdout) ?? [];
    assert.ok(length !== undefined && body !== undefined, stdout);
    assert.equal(body.length, Number(length));
    const { result } = JSON.parse(body) as { result: { hostname: string } };
    assert.equal(`${result.hostname}\n`, await host.run(['hostname']));
    // The SSH connection is gone, the daemon is not.
    assert.equal((await host.exec(['test', '-d', `/proc/${String(await daemonProcess())}`])).exitCode, 0);
  });

  it('exits by itself when nobody needs it', async () => {
    await startDaemon();
    const content = await host.run(['cat', hostFile]);
    await endDaemon();
    await writeHostFile({ ...(JSON.parse(content) as object), idleExitSeconds: 1 });
    const pid = String(await startDaemon());
    for (let tries = 0; (await host.exec(['test', '-d', `/proc/${pid}`])).exitCode === 0; tries += 1) {
      assert.ok(tries < 100, 'it still runs');
      await sleep(100);
    }
    assert.match(await host.run(['forkpoint', 'logs', '--lines', '2']), /idle for 1 s/);
    assert.equal((await host.exec(['test', '-e', socketFile])).exitCode, 1);
    await writeHostFile(JSON.parse(content) as object);
  });

  describe('with its pool', () => {
    it('H18: refuses one that is not its own, and leaves it untouched', async () => {
      await startDaemon();
      await endDaemon();
      const content = await host.run(['cat', hostFile]);
      const filesBefore = await host.run(['find', host.description.pool]);
      const uuid = '01234567-89ab-4def-8123-456789abcdef';
      await writeHostFile({ ...(JSON.parse(content) as object), poolUuid: uuid });
      const failure = await failureOf('containers', 'list');
      assert.deepEqual([failure.code, failure.args], ['pool.foreign', { path: host.description.pool, uuid }]);
      const info = JSON.parse(await host.run(['forkpoint', 'host', 'info', '--json'])) as Result<'host/info'>;
      assert.equal(info.pool, null);
      assert.equal(info.findings.find(({ subject }) => subject === 'pool')?.level, 'error');
      assert.equal(await host.run(['find', host.description.pool]), filesBefore);

      // The right one is taken without a new start.
      await writeHostFile(JSON.parse(content) as object);
      assert.deepEqual(JSON.parse(await host.run(['forkpoint', 'containers', 'list', '--json'])), []);
    });

    it('H18: makes one that is allocated in full and stays so, mounts it when it is not mounted, and makes no second', async () => {
      await provideLoopDevices(host);
      await startDaemon();
      await endDaemon();
      await host.run(['umount', host.description.pool]);
      assert.equal((await failureOf('containers', 'list')).code, 'pool.missing');
      assert.equal((await failureOf('host', 'setup', '--size', '2GiB')).code, 'pool.exists');
      assert.equal((await forkpoint('host', 'logs')).exitCode, 0);

      await host.run(['rm', hostFile]);
      const tooLarge = await failureOf('host', 'setup', '--size', '100TiB');
      assert.equal(tooLarge.code, 'disk.full');
      await host.run(['forkpoint', 'host', 'setup', '--size', '2GiB']);
      assert.equal((await failureOf('host', 'setup')).code, 'pool.exists');
      const options = await host.run(['findmnt', '-no', 'OPTIONS', host.description.pool]);
      assert.match(options, /nodev/);
      assert.doesNotMatch(options, /discard=/);
      assert.equal(await host.run(['stat', '-c', '%a', host.description.pool]), '700\n');

      const allocated = async (): Promise<number> =>
        Number(await host.run(['stat', '-c', '%b', '/var/lib/forkpoint-pool.img'])) * 512;
      assert.ok((await allocated()) >= 2 * 1024 ** 3);
      await host.run([
        'sh',
        '-c',
        `cd ${host.description.pool} && head -c 200M /dev/urandom >x && sync && rm x && sync`,
      ]);
      await host.run(['btrfs', 'filesystem', 'sync', host.description.pool]);
      assert.ok((await allocated()) >= 2 * 1024 ** 3, 'deleting has made the pool file sparse');

      await endDaemon();
      await host.run(['umount', host.description.pool]);
      await host.run([
        'fallocate',
        '--punch-hole',
        '--offset',
        '1GiB',
        '--length',
        '64MiB',
        '/var/lib/forkpoint-pool.img',
      ]);
      assert.deepEqual(JSON.parse(await host.run(['forkpoint', 'containers', 'list', '--json'])), []);
      assert.ok((await allocated()) >= 2 * 1024 ** 3, 'the hole is still there');

      // A set-up that was cut off before it wrote host.json: the pool counts.
      await endDaemon();
      await host.run(['umount', host.description.pool]);
      const made = JSON.parse(await host.run(['cat', hostFile])) as object;
      await host.run(['rm', hostFile]);
      await startDaemon();
      assert.deepEqual(JSON.parse(await host.run(['cat', hostFile])), made);
    });
  });

  describe('and the helper that is installed', () => {
    /** Installs a helper whose version is `version`, from a file as the install program leaves it. */
    async function install(version: string, node = 'node'): Promise<ExecResult> {
      const built = await readFile(`${repositoryDirectory}/dist/helper.cjs`, 'utf8');
      await host.exec(['sh', '-c', 'cat >/root/helper.cjs'], {
        input: built.replaceAll('"0.1.0"', `"${version}"`),
      });
      return host.exec([node, '/root/helper.cjs', 'install', '--marker', 'abc']);
    }

    function installedBy({ exitCode, stdout, stderr }: ExecResult): Installed {
      assert.equal(exitCode, 0, stderr);
      assert.match(stdout, /^forkpoint-session abc\n\{.*\}\n$/);
      return JSON.parse(stdout.split('\n')[1] ?? '') as Installed;
    }

    it('is replaced by a newer one once it is idle, and never by an older one', async () => {
      await startDaemon();
      const newer = installedBy(await install('0.2.0'));
      assert.deepEqual([newer.version, newer.current], ['0.2.0', true]);
      const info = JSON.parse(await host.run(['forkpoint', 'host', 'info', '--json'])) as Result<'host/info'>;
      assert.equal(info.version, '0.2.0');
      assert.match(await host.run(['forkpoint', 'logs']), /daemon ends: helper 0\.2\.0 .* takes over/);

      const older = installedBy(await install('0.1.5'));
      assert.deepEqual([older.version, older.current], ['0.1.5', false]);
      assert.equal(await host.run(['forkpoint', '--version']), '0.2.0\n');
      // An older client's own helper goes on with the newer daemon.
      const list = await host.run([
        'node',
        `/usr/local/lib/forkpoint/${older.digest}/helper.cjs`,
        'containers',
        'list',
        '--json',
      ]);
      assert.deepEqual(JSON.parse(list), []);
      assert.equal(
        await host.run(['stat', '-c', '%a %U', `/usr/local/lib/forkpoint/${older.digest}/helper.cjs`]),
        '644 root\n',
      );
    });

    it('H50: refuses a Node that others than root can change', async () => {
      await host.run([
        'sh',
        '-c',
        'mkdir -p /home/dev/bin && cp "$(readlink -f "$(command -v node)")" /home/dev/bin/node',
      ]);
      await host.run([
        'sh',
        '-c',
        'mkdir -p /opt/open && cp /home/dev/bin/node /opt/open/node && chmod 777 /opt/open',
      ]);
      for (const node of ['/home/dev/bin/node', '/opt/open/node']) {
        const { exitCode, stdout, stderr } = await install('0.3.0', node);
        assert.equal(exitCode, 1);
        assert.match(stderr, /\(host\.nodeUnfit\)/);
        assert.equal(
          (JSON.parse(stdout.split('\n')[1] ?? '') as { error: ErrorData }).error.code,
          'host.nodeUnfit',
        );
      }
      assert.notEqual(await host.run(['forkpoint', '--version']), '0.3.0\n');
    });

    it('removes helpers that are old and neither current nor running', async () => {
      const directory = (digest: string): string => `/usr/local/lib/forkpoint/${digest.repeat(64)}`;
      await host.run(['mkdir', directory('1'), directory('2')]);
      await host.run(['touch', '-d', '40 days ago', directory('1')]);
      const { digest } = installedBy(await install('9.0.0'));
      await host.run(['touch', '-d', '40 days ago', `/usr/local/lib/forkpoint/${digest}`]);
      installedBy(await install('8.0.0'));
      assert.equal((await host.exec(['test', '-d', directory('1')])).exitCode, 1);
      assert.equal((await host.exec(['test', '-d', directory('2')])).exitCode, 0);
      assert.equal((await host.exec(['test', '-d', `/usr/local/lib/forkpoint/${digest}`])).exitCode, 0);
    });
  });

  // The last: it takes the unit away.
  describe('and the set-up of a host', () => {
    it('has a whole pool or none after any step in which it is killed', async () => {
      const setUp = ['host', 'setup', '--size', '2GiB'];
      const poolFile = '/var/lib/forkpoint-pool.img';
      const clear = async (): Promise<void> => {
        await endDaemon('KILL');
        const script = `! mountpoint -q ${host.description.pool} || umount ${host.description.pool}`;
        await host.run(['sh', '-c', `${script}; rm -f ${hostFile} ${poolFile}`]);
      };
      await provideLoopDevices(host);
      await withoutUnit(host);
      await startDaemon();
      await clear();
      const { timing } = JSON.parse(
        await host.run(['forkpoint', ...setUp, '--json']),
      ) as Result<'host/setup'>;
      const steps = timing.map(({ step }) => step);
      const points = steps.flatMap((step) => [`${step}:before`, step]);
      assert.ok(points.includes('name'));
      for (const [index, point] of points.entries()) {
        await clear();
        const cut = await forkpointWith(host, setUp, { FORKPOINT_CRASH_AT: `set-up/${point}` });
        assert.notEqual(cut.exitCode, 0, point);
        if (index < points.indexOf('name')) await host.run(['forkpoint', ...setUp]);
        else assert.equal((await failureOf(...setUp)).code, 'pool.exists', point);
        assert.deepEqual(JSON.parse(await host.run(['forkpoint', 'containers', 'list', '--json'])), []);
        const made = JSON.parse(await host.run(['cat', hostFile])) as { poolFile: string };
        assert.equal(made.poolFile, poolFile, point);
        assert.equal((await host.exec(['test', '-e', `${poolFile}.new`])).exitCode, 1, point);
      }
    });
  });

  async function writeHostFile(content: object): Promise<void> {
    await host.exec(['sh', '-c', `cat >${hostFile}`], { input: JSON.stringify(content) });
  }
});

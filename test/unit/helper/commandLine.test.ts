import * as assert from 'node:assert/strict';
import * as path from 'node:path';
import { ForkpointError } from '../../../src/protocol/errors.ts';
import { isOperationName, operations, type Result } from '../../../src/protocol/operations.ts';
import { SnapshotNameSchema, WorkspaceIdSchema } from '../../../src/protocol/names.ts';
import type { Services } from '../../../src/helper/service/services.ts';
import { Client } from '../../../src/helper/doors/client.ts';
import { runCommandLine } from '../../../src/helper/doors/cli/commandLine.ts';
import { createLogFile } from '../../../src/helper/host/logFile.ts';
import { cleanUp, gate, startTestDaemon, type TestDaemon } from './daemonHarness.ts';

const name = SnapshotNameSchema.parse('snap-20260304-143045');

/** What a run of the command line printed and how it ended. */
interface Run {
  status: number;
  out: string;
  err: string;
}

/** Where no check of the host is asked for. */
const noCheck = (): Promise<never> => Promise.reject(new Error('nobody asked for a check'));

/** Runs the command line against a daemon that speaks through a real socket. */
async function run(
  daemon: TestDaemon,
  args: readonly string[],
  interrupted = new AbortController().signal,
): Promise<Run> {
  const printed = { out: '', err: '' };
  const status = await runCommandLine(args, {
    out: (text) => (printed.out += text),
    err: (text) => (printed.err += text),
    showsProgress: false,
    interrupted,
    paths: daemon.paths,
    connect: async () => {
      const client = new Client(await daemon.connectSocket());
      await client.hello(daemon.parts.program);
      return client;
    },
    checkHost: noCheck,
  });
  return { status, ...printed };
}

/** A daemon whose operation ends with what it was asked, as a failure's detail. */
async function daemonThatRepeats(operation: keyof Services): Promise<TestDaemon> {
  return startTestDaemon({
    services: {
      [operation]: (params: unknown) =>
        Promise.reject(new ForkpointError('undo.nothing', {}, { detail: JSON.stringify(params) })),
    },
  });
}

/** The parameters that reach the service when the command line is given these words. */
async function paramsOf(
  operation: keyof Services,
  args: readonly string[],
): Promise<Record<string, unknown>> {
  const { err } = await run(await daemonThatRepeats(operation), [
    ...args,
    ...(args.includes('--') ? [] : ['--json']),
  ]);
  const detail = /^ {2}(\{.*\})$/m.exec(err)?.[1] ?? (JSON.parse(err) as { detail: string }).detail;
  return JSON.parse(detail) as Record<string, unknown>;
}

describe('the command line', () => {
  afterEach(cleanUp);

  it('has every operation of the table, each with help', async () => {
    const daemon = await startTestDaemon();
    for (const operation of Object.keys(operations)) {
      assert.ok(isOperationName(operation));
      const { status, out } = await run(daemon, [...operation.split('/'), '--help']);
      assert.equal(status, 0, operation);
      assert.match(out.replace(/\s+/g, ' '), new RegExp(operations[operation].description.slice(0, 30)));
    }
  });

  describe('creates a workspace from', () => {
    it('a directory, which may be given relative to where one is, with all that it takes', async () => {
      const params = await paramsOf('containers/create', [
        ...['containers', 'create', 'web', '--rootfs', 'some/dir', '--shm-bytes', '1GiB'],
        ...['--volume', 'data:/var/lib/data', '--volume', 'logs:/var/log'],
        ...['--publish', '8080:80', '--publish', '0.0.0.0:443:8443', '--publish', '[::1]:5432:5432'],
        ...['--env', 'A=1', '--env', 'B=x=y z'],
        ...['--', 'serve', '--json', '-c', 'x'],
      ]);
      assert.deepEqual(params, {
        name: 'web',
        rootfs: path.resolve('some/dir'),
        shmBytes: 1024 ** 3,
        volume: [
          { name: 'data', path: '/var/lib/data' },
          { name: 'logs', path: '/var/log' },
        ],
        publish: [
          { ip: '127.0.0.1', hostPort: 8080, containerPort: 80 },
          { ip: '0.0.0.0', hostPort: 443, containerPort: 8443 },
          { ip: '::1', hostPort: 5432, containerPort: 5432 },
        ],
        env: { A: '1', B: 'x=y z' },
        command: ['serve', '--json', '-c', 'x'],
      });
    });

    it('an image, with the defaults', async () => {
      const params = await paramsOf('containers/create', [
        'containers',
        'create',
        'web',
        '--image',
        'debian:13',
      ]);
      assert.deepEqual(params, {
        ...{ name: 'web', image: 'debian:13', volume: [], publish: [], env: {}, command: [] },
        shmBytes: 268435456,
      });
    });
  });

  it('takes expiries in fractions of days', async () => {
    const params = await paramsOf('snapshots/create', [
      'snapshots',
      'create',
      '-c',
      'web',
      '--expiry',
      '0.5',
    ]);
    assert.equal(params['expiry'], 0.5);
  });

  it('clears what can be cleared', async () => {
    const params = await paramsOf('snapshots/alias', [
      'snapshots',
      'alias',
      '-c',
      'web',
      '--name',
      'a',
      '--clear',
    ]);
    assert.equal(params['alias'], null);
  });

  describe('refuses with status 2, before it asks the daemon,', () => {
    const words: Record<string, string> = {
      'an unknown command': 'explode',
      'an unknown verb': 'snapshots explode',
      'an unknown option': 'snapshots list -c web --all',
      'a missing option': 'snapshots list',
      'a missing name': 'containers create',
      'a word too many': 'containers list web',
      'a name that breaks the rule': 'snapshots show -c web --name ../x',
      'a number that is none': 'snapshots create -c web --expiry soon',
      'an expiry of 0 days': 'snapshots create -c web --expiry 0',
      'an expiry beyond ten years': 'snapshots create -c web --expiry 3651',
      'a mode that does not exist': 'snapshots create -c web --mode magic',
      'a size that is none': 'host setup --size big',
      'a port that is none': 'containers create web --image x --publish 80',
      'a port out of range': 'containers create web --image x --publish 70000:80',
      'a volume without a path': 'containers create web --image x --volume data',
      'a variable without a value': 'containers create web --image x --env A',
      'neither a value nor --clear': 'snapshots note -c web --name a',
      'both a value and --clear': 'snapshots note -c web --name a --note x --clear',
      'nothing at all': '',
      'a group alone': 'snapshots',
    };
    for (const [what, line] of Object.entries(words)) {
      it(what, async () => {
        const daemon = await startTestDaemon();
        const { status, out, err } = await run(daemon, line === '' ? [] : line.split(' '));
        assert.equal(status, 2);
        assert.equal(out, '');
        assert.notEqual(err, '');
        assert.ok(!daemon.log.lines.some((logged) => logged.startsWith('#')), 'an operation was started');
      });
    }
  });

  it('tells a failure with its code, detail and hint, and ends with status 1', async () => {
    const daemon = await startTestDaemon({
      services: {
        'snapshots/delete': () =>
          Promise.reject(
            new ForkpointError('snapshot.protected', { name: 'x\u001b[2J' }, { detail: 'one\ntwo\u0007' }),
          ),
      },
    });
    const args = ['snapshots', 'delete', '-c', 'web', '--name', 'x'];
    assert.deepEqual(await run(daemon, args), {
      status: 1,
      out: '',
      err: `forkpoint: Snapshot "x\\u{1b}[2J" is protected. It was not deleted. (snapshot.protected)
  one
  two\\u{7}
Hint: Remove the protection first: "forkpoint snapshots unprotect".
`,
    });
    const { status, out, err } = await run(daemon, [...args, '--json']);
    assert.deepEqual([status, out], [1, '']);
    assert.equal((JSON.parse(err) as { code: string }).code, 'snapshot.protected');
  });

  it('shows sizes in a failure as people read them', async () => {
    const daemon = await startTestDaemon({
      services: {
        'snapshots/create': () =>
          Promise.reject(
            new ForkpointError('pool.full', { freeBytes: 1024 ** 3, neededBytes: 5 * 1024 ** 3 }),
          ),
      },
    });
    const { err } = await run(daemon, ['snapshots', 'create', '-c', 'web']);
    assert.match(err, /1\.0 GiB free and 5\.0 GiB are needed/);
  });

  it('prints the exact result as JSON', async () => {
    const daemon = await startTestDaemon({
      services: { 'snapshots/delete': () => Promise.resolve({ name, alias: null, timing: [] }) },
    });
    const { status, out, err } = await run(daemon, [
      'snapshots',
      'delete',
      '-c',
      'web',
      '--name',
      'x',
      '--json',
    ]);
    assert.deepEqual([status, err], [0, '']);
    assert.deepEqual(JSON.parse(out), { name, alias: null, timing: [] });
  });

  it('ends with status 1 when one of several forks failed, and prints them all', async () => {
    const forks = (...outcomes: boolean[]): Result<'containers/copy'> =>
      outcomes.map((ok, index) => ({
        name: `try-${String(index + 1)}`,
        ok,
        workspace: null,
        error: ok ? null : new ForkpointError('port.taken', { port: 80 }).toData(),
        stateful: true,
        origin: {
          workspace: WorkspaceIdSchema.parse('ws-000000000001'),
          name: 'shop',
          snapshot: name,
          forkIndex: index + 1,
          at: '2026-01-01T00:00:00Z',
        },
        hookFailure: null,
        totalMs: 1,
        timing: [{ step: `wake-${String(index + 1)}`, ms: 7 }],
      }));
    for (const [result, expected] of [
      [forks(true, true), 0],
      [forks(true, false, true), 1],
    ] as const) {
      const daemon = await startTestDaemon({
        services: { 'containers/copy': () => Promise.resolve(result) },
      });
      const args = ['containers', 'copy', '-c', 'shop', '--name', 'try', '--count', '3'];
      const told = await run(daemon, args);
      assert.equal(told.status, expected);
      for (const { name: fork } of result) assert.match(told.out, new RegExp(`^${fork} `, 'm'));
      const json = await run(daemon, [...args, '--json']);
      assert.deepEqual([json.status, JSON.parse(json.out)], [expected, result]);
      const timed = await run(daemon, [...args, '--timing']);
      for (const { name: fork, timing } of result)
        assert.match(timed.out, new RegExp(`^STEP +${fork}\n${String(timing[0]?.step)} +7 ms$`, 'm'));
    }
  });

  it('prints how long the steps took', async () => {
    const daemon = await startTestDaemon({
      services: {
        'snapshots/delete': () =>
          Promise.resolve({
            name,
            alias: null,
            timing: [
              { step: 'journal', ms: 2 },
              { step: 'trash', ms: 12.3 },
            ],
          }),
      },
    });
    const { out } = await run(daemon, ['snapshots', 'delete', '-c', 'web', '--name', 'x', '--timing']);
    assert.match(out, /STEP +TIME\njournal +\d+ ms\ntrash +\d+ ms\n/);
  });

  it('cancels what it asked for when interrupted', async () => {
    const interruption = new AbortController();
    const daemon = await startTestDaemon({
      services: {
        'snapshots/create': async (_params, { signal }) => {
          interruption.abort();
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          throw new ForkpointError('operation.cancelled');
        },
      },
    });
    const { status, err } = await run(daemon, ['snapshots', 'create', '-c', 'web'], interruption.signal);
    assert.equal(status, 1);
    assert.match(err, /operation\.cancelled/);
  });

  it('says so when the daemon ends in the middle', async () => {
    const finish = gate();
    const daemon = await startTestDaemon({
      services: { 'host/trash': () => finish.opened.then(() => []) },
    });
    let told = '';
    const running = runCommandLine(['host', 'trash', '--json'], {
      out: () => undefined,
      err: (text) => (told += text),
      showsProgress: false,
      interrupted: new AbortController().signal,
      paths: daemon.paths,
      connect: async () => {
        const socket = await daemon.connectSocket();
        const client = new Client(socket);
        await client.hello(daemon.parts.program);
        setTimeout(() => socket.destroy(), 50);
        return client;
      },
      checkHost: noCheck,
    });
    assert.equal(await running, 1);
    assert.equal((JSON.parse(told) as { code: string }).code, 'operation.interrupted');
    finish.open();
  });

  it('shows the log without the daemon', async function () {
    if (process.getuid?.() !== 0) {
      const daemon = await startTestDaemon();
      assert.match((await run(daemon, ['logs'])).err, /host\.needsRoot/);
      return;
    }
    const daemon = await startTestDaemon();
    const log = createLogFile(daemon.paths.logFile);
    for (const line of ['one', 'two', 'three']) log.info(line);
    const { status, out } = await run(daemon, ['logs', '--lines', '2']);
    assert.equal(status, 0);
    assert.match(out, /two\n.*three\n$/);
    assert.doesNotMatch(out, /one/);
  });

  it('makes hostile names harmless where it shows them', async () => {
    const daemon = await startTestDaemon({
      services: {
        'host/trash': () =>
          Promise.resolve([
            { workspace: 'x\r\u001b[31mroot\u202e', name, alias: null, expiredAt: '2026-01-01T00:00:00Z' },
          ]),
      },
    });
    const { out } = await run(daemon, ['host', 'trash']);
    assert.match(out, /x\\u\{d\}\\u\{1b\}\[31mroot\\u\{202e\}/);
    // oxlint-disable-next-line no-control-regex -- that is what must not be there
    assert.doesNotMatch(out, /[\u0000-\u0009\u000b-\u001f\u202e]/);
  });
});

import * as assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { CancellationTokenSource } from 'vscode-jsonrpc/node';
import { ForkpointError } from '../../../src/protocol/errors.ts';
import type { Result } from '../../../src/protocol/operations.ts';
import { SnapshotNameSchema, WorkspaceIdSchema } from '../../../src/protocol/names.ts';
import {
  changedNotification,
  helloRequest,
  operationRequest,
  progressNotification,
  PROTOCOL_VERSION,
  restoredNotification,
  retireRequest,
  type Progress,
} from '../../../src/protocol/session.ts';
import { Daemon } from '../../../src/helper/doors/daemon.ts';
import { cleanUp, clientOn, countTimers, failureOf, framed, gate, startTestDaemon } from './daemonHarness.ts';

const trash = operationRequest('host/trash');
const list = operationRequest('containers/list');
const recover = operationRequest('snapshots/recover');
const deleted: Result<'snapshots/delete'> = {
  name: SnapshotNameSchema.parse('snap-20260101-000000'),
  alias: null,
  timing: [],
};
const remove = operationRequest('snapshots/delete');
const aSnapshot = { container: 'web', name: 'before' };

describe('the daemon', () => {
  afterEach(cleanUp);

  it('H19: is the only one, until it has ended', async () => {
    const { parts, daemon } = await startTestDaemon();
    assert.equal(await Daemon.start(parts), null);

    await daemon.stop('test');
    const next = await Daemon.start(parts);
    assert.ok(next !== null);
    await next.stop('test');
  });

  it('H50: listens where nobody but its own user can connect', async () => {
    const { paths } = await startTestDaemon();
    assert.equal(statSync(paths.runDirectory).mode & 0o777, 0o700);
    assert.equal(statSync(paths.socket).mode & 0o777, 0o600);
    assert.equal(statSync(paths.lock).mode & 0o777, 0o600);
  });

  it('removes its socket when it ends', async () => {
    const { paths, daemon } = await startTestDaemon();
    await daemon.stop('test');
    assert.ok(!existsSync(paths.socket));
  });

  describe('at the handshake', () => {
    const hello = (protocol: number): { client: string; clientVersion: string; protocol: number } => ({
      client: 'test',
      clientVersion: '1',
      protocol,
    });

    it('says who it is', async () => {
      const { connectSocket, parts } = await startTestDaemon();
      const { connection } = clientOn(await connectSocket());
      const welcome = await connection.sendRequest(helloRequest, hello(PROTOCOL_VERSION));
      assert.equal(welcome.version, parts.program.version);
      assert.equal(welcome.digest, parts.program.digest);
      assert.equal(welcome.protocol, PROTOCOL_VERSION);
    });

    it('speaks its own version with a client that is newer', async () => {
      const { connectSocket } = await startTestDaemon();
      const { connection } = clientOn(await connectSocket());
      const welcome = await connection.sendRequest(helloRequest, hello(PROTOCOL_VERSION + 7));
      assert.equal(welcome.protocol, PROTOCOL_VERSION);
    });

    it('refuses a client that is too old', async () => {
      const { connectSocket } = await startTestDaemon();
      const { connection } = clientOn(await connectSocket());
      const failure = await failureOf(connection.sendRequest(helloRequest, hello(0)));
      assert.equal(failure.code, 'daemon.incompatible');
      assert.deepEqual(failure.args, { theirs: PROTOCOL_VERSION, ours: 0 });
    });

    it('does nothing before it', async () => {
      const { connectSocket } = await startTestDaemon({
        services: { 'host/trash': () => Promise.resolve([]) },
      });
      const { connection } = clientOn(await connectSocket());
      assert.equal((await failureOf(connection.sendRequest(trash, {}, {}))).code, 'request.invalid');
    });
  });

  describe('checks what it is asked', () => {
    it('refuses an operation that does not exist', async () => {
      const { connection } = await (await startTestDaemon()).connect();
      const failure = await failureOf(connection.sendRequest('snapshots/explode', [{}, {}]));
      assert.equal(failure.code, 'request.invalid');
      assert.match(failure.message, /snapshots\/explode/);
    });

    it('names the parameter that is wrong', async () => {
      const { connection } = await (await startTestDaemon()).connect();
      const failure = await failureOf(
        connection.sendRequest(operationRequest('snapshots/create'), { container: 'web', expiry: 4000 }, {}),
      );
      assert.equal(failure.code, 'request.invalid');
      assert.match(failure.message, /"expiry": .*3650/);
    });

    it('refuses a parameter that it does not know, rather than leave it unheeded', async () => {
      const { connection } = await (await startTestDaemon()).connect();
      const failure = await failureOf(connection.sendRequest(remove, { ...aSnapshot, onlyIfOld: true }, {}));
      assert.equal(failure.code, 'request.invalid');
      assert.match(failure.message, /onlyIfOld/);
    });

    for (const name of ['../etc', '-rf', '.hidden', 'a b', 'x'.repeat(65), '', 'line\nbreak']) {
      it(`refuses ${JSON.stringify(name.slice(0, 20))} as a name`, async () => {
        const { connection } = await (await startTestDaemon()).connect();
        const failure = await failureOf(connection.sendRequest(remove, { container: 'web', name }, {}));
        assert.equal(failure.code, 'name.invalid');
        assert.ok(!failure.message.includes('\n'));
      });
    }

    it('closes a connection that is not in its language, and serves the others', async () => {
      const { connect, connectSocket } = await startTestDaemon({
        services: { 'host/trash': () => Promise.resolve([]) },
      });
      const { connection } = await connect();
      const stranger = await connectSocket();
      const closed = once(stranger.resume(), 'end');
      stranger.on('error', () => undefined);
      stranger.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await closed;
      assert.deepEqual(await connection.sendRequest(trash, {}, {}), []);
    });
  });

  it('forgets half a message when its client is gone', async () => {
    const { connectSocket, connect } = await startTestDaemon();
    await connect();
    const before = countTimers();
    for (let count = 0; count < 5; count += 1) {
      const socket = await connectSocket();
      const closed = once(socket, 'close');
      socket.end(framed({ id: 1, method: 'session/hello', params: {} }).subarray(0, -1));
      socket.resume();
      await closed;
    }
    // The daemon hears of it a moment later on a busy machine; and a timer of something else may have ended.
    for (let looks = 0; countTimers() > before && looks < 100; looks++) await sleep(20);
    assert.ok(countTimers() <= before);
  });

  it('refuses a wish to take over that names no version, and stays', async () => {
    const { connection } = await (await startTestDaemon()).connect();
    const failure = await failureOf(connection.sendRequest(retireRequest.method, { version: 1 }));
    assert.equal(failure.code, 'request.invalid');
  });

  it('gives a failure with its code, arguments and detail', async () => {
    const { connect } = await startTestDaemon({
      services: {
        'snapshots/delete': () =>
          Promise.reject(
            new ForkpointError('snapshot.inUse', { name: 'x', reason: 'y' }, { detail: 'last words' }),
          ),
      },
    });
    const { connection } = await connect();
    const failure = await failureOf(connection.sendRequest(remove, aSnapshot, {}));
    assert.deepEqual(failure.toData(), {
      code: 'snapshot.inUse',
      args: { name: 'x', reason: 'y' },
      detail: 'last words',
    });
  });

  it('finishes an operation whose client is gone, and gives its result to the repeated request', async () => {
    const started = gate();
    const finish = gate();
    let runs = 0;
    const { connect } = await startTestDaemon({
      services: {
        'snapshots/delete': async (_params, call) => {
          runs += 1;
          started.open();
          await finish.opened;
          assert.ok(!call.signal.aborted);
          return deleted;
        },
      },
    });
    const first = await connect();
    first.connection.sendRequest(remove, aSnapshot, { idempotencyKey: 'k1' }).catch(() => undefined);
    await started.opened;
    first.socket.destroy();

    const second = await connect();
    const repeated = second.connection.sendRequest(remove, aSnapshot, { idempotencyKey: 'k1' });
    finish.open();
    assert.deepEqual(await repeated, deleted);
    const third = await connect();
    assert.deepEqual(
      await third.connection.sendRequest(remove, aSnapshot, { idempotencyKey: 'k1' }),
      deleted,
    );
    assert.equal(runs, 1);
  });

  it('runs a request again that has another key, or none', async () => {
    let runs = 0;
    const { connect } = await startTestDaemon({
      services: { 'snapshots/delete': () => Promise.resolve(((runs += 1), deleted)) },
    });
    const { connection } = await connect();
    for (const meta of [{ idempotencyKey: 'a' }, { idempotencyKey: 'b' }, {}, {}]) {
      await connection.sendRequest(remove, aSnapshot, meta);
    }
    assert.equal(runs, 4);
  });

  it('refuses a key that belongs to another request', async () => {
    const { connect } = await startTestDaemon({
      services: { 'snapshots/delete': () => Promise.resolve(deleted) },
    });
    const { connection } = await connect();
    await connection.sendRequest(remove, aSnapshot, { idempotencyKey: 'a' });
    const other = connection.sendRequest(remove, { ...aSnapshot, name: 'other' }, { idempotencyKey: 'a' });
    assert.equal((await failureOf(other)).code, 'request.keyReused');
  });

  it('lets a service end when its client cancels', async () => {
    const started = gate();
    const { connect } = await startTestDaemon({
      services: {
        'host/trash': async (_params, { signal }) => {
          started.open();
          await once(signal, 'abort');
          throw new ForkpointError('operation.cancelled');
        },
      },
    });
    const { connection } = await connect();
    const cancellation = new CancellationTokenSource();
    const request = connection.sendRequest(trash, {}, {}, cancellation.token);
    await started.opened;
    cancellation.cancel();
    assert.equal((await failureOf(request)).code, 'operation.cancelled');
  });

  it('tells the steps to the client that asked, and to no other', async () => {
    const { connect } = await startTestDaemon({
      services: {
        'host/trash': (_params, call) => {
          call.progress('look');
          call.partial([1]);
          call.progress('leap', true);
          return Promise.resolve([]);
        },
      },
    });
    const [asking, watching] = [await connect(), await connect()];
    const told: Progress[] = [];
    const overheard: Progress[] = [];
    asking.connection.onNotification(progressNotification, (progress) => void told.push(progress));
    watching.connection.onNotification(progressNotification, (progress) => void overheard.push(progress));
    await asking.connection.sendRequest(trash, {}, { progressToken: 't' });
    await watching.connection.sendRequest(trash, {}, {});
    assert.deepEqual(told, [
      { token: 't', step: 'look', isPastPointOfNoReturn: false },
      { token: 't', step: 'look', isPastPointOfNoReturn: false, partial: [1] },
      { token: 't', step: 'leap', isPastPointOfNoReturn: true },
    ]);
    assert.deepEqual(overheard, []);
  });

  it('tells every client what changed and what was restored', async () => {
    const { connect, emit } = await startTestDaemon();
    const clients = [await connect(), await connect()];
    const workspace = WorkspaceIdSchema.parse('ws-0123456789ab');
    const restored = { workspace, generation: 2, restored: deleted.name, safety: null };
    const heard = clients.map(({ connection }) => [
      new Promise((resolve) => connection.onNotification(changedNotification.method, resolve)),
      new Promise((resolve) => connection.onNotification(restoredNotification.method, resolve)),
    ]);
    emit().changed({ workspace, created: null });
    emit().restored(restored);
    for (const events of heard)
      assert.deepEqual(await Promise.all(events), [{ workspace, created: null }, restored]);
  });

  it('answers a client that has closed its input', async () => {
    const finish = gate();
    const { connect } = await startTestDaemon({
      services: { 'host/trash': () => finish.opened.then(() => []) },
    });
    const { connection, socket } = await connect();
    const request = connection.sendRequest(trash, {}, {});
    await sleep(20);
    const closed = once(socket, 'close');
    socket.end();
    await sleep(150);
    finish.open();
    assert.deepEqual(await request, []);
    await closed;
  });

  it('answers all that a client has asked before it closed its input, however busy it is', async () => {
    const { connectSocket } = await startTestDaemon({
      services: {
        'host/trash': () => {
          // Nothing else happens meanwhile, as when many clients are served.
          for (const end = performance.now() + 20; performance.now() < end;);
          return Promise.resolve([]);
        },
      },
    });
    const socket = await connectSocket();
    const said = buffer(socket);
    const hello = { client: 'test', clientVersion: '1', protocol: PROTOCOL_VERSION };
    const asked = Array.from({ length: 20 }, (_, id) => ({ id, method: 'host/trash', params: [{}, {}] }));
    for (const message of [{ id: 'hello', method: 'session/hello', params: hello }, ...asked])
      socket.write(framed(message));
    socket.end();
    const answers = (await said).toString().match(/"id":("hello"|\d+)/g) ?? [];
    assert.equal(answers.length, 21);
  });

  it('waits for what is under way before it ends, and begins nothing more', async () => {
    const started = gate();
    const finish = gate();
    const { connect, daemon } = await startTestDaemon({
      services: {
        'host/trash': async () => {
          started.open();
          await finish.opened;
          return [];
        },
      },
    });
    const { connection } = await connect();
    const underWay = connection.sendRequest(trash, {}, {});
    await started.opened;
    const stopped = daemon.stop('test');
    assert.equal((await failureOf(connection.sendRequest(list, {}, {}))).code, 'daemon.unreachable');
    finish.open();
    assert.deepEqual(await underWay, []);
    await stopped;
  });

  describe('without a pool', () => {
    const missing = new ForkpointError('pool.missing', { path: '/var/lib/forkpoint' });

    it('H18: does nothing with workspaces, and can be set up', async () => {
      let isThere = false;
      const order: string[] = [];
      const { connect } = await startTestDaemon({
        pool: {
          ensure: () =>
            isThere ? Promise.resolve({ schema: 1, poolUuid: '', root: '/' }) : Promise.reject(missing),
        },
        recover: () => Promise.resolve(void order.push('recovered')),
        services: { 'host/trash': () => Promise.resolve((order.push('listed'), [])) },
        hostServices: { 'host/logs': () => Promise.resolve(['a line']) },
      });
      const { connection } = await connect();
      assert.equal((await failureOf(connection.sendRequest(trash, {}, {}))).code, 'pool.missing');
      assert.deepEqual(await connection.sendRequest(operationRequest('host/logs'), {}, {}), ['a line']);
      assert.deepEqual(order, []);

      isThere = true;
      await Promise.all([connection.sendRequest(trash, {}, {}), connection.sendRequest(trash, {}, {})]);
      assert.deepEqual(order, ['recovered', 'listed', 'listed']);

      isThere = false;
      assert.equal((await failureOf(connection.sendRequest(trash, {}, {}))).code, 'pool.missing');
    });
  });

  it('does nothing before an earlier crash is recovered from, and tries that again', async () => {
    let attempts = 0;
    const { connect } = await startTestDaemon({
      recover: () => ((attempts += 1) < 3 ? Promise.reject(new Error('not yet')) : Promise.resolve()),
      services: { 'host/trash': () => Promise.resolve([]) },
    });
    const { connection } = await connect();
    assert.equal((await failureOf(connection.sendRequest(trash, {}, {}))).code, 'internal');
    assert.deepEqual(await connection.sendRequest(trash, {}, {}), []);
    assert.equal(attempts, 3);
  });

  describe('when idle', () => {
    it('exits', async () => {
      const { daemon } = await startTestDaemon({ idleExitSeconds: 0.1 });
      await daemon.ended;
    });

    it('stays for a client', async () => {
      const { daemon, connect } = await startTestDaemon({ idleExitSeconds: 0.1 });
      const { socket } = await connect();
      assert.equal(await Promise.race([daemon.ended.then(() => 'ended'), sleep(400, 'stayed')]), 'stayed');
      socket.destroy();
      await daemon.ended;
    });

    it('stays for an expiry that is due', async () => {
      let hasWork = true;
      const { daemon } = await startTestDaemon({ idleExitSeconds: 0.1, hasWork: () => hasWork });
      assert.equal(await Promise.race([daemon.ended.then(() => 'ended'), sleep(400, 'stayed')]), 'stayed');
      hasWork = false;
      await daemon.ended;
    });
  });

  describe('asked to make room for another helper', () => {
    const another = (version: string): { version: string; digest: string } => ({
      version,
      digest: 'e'.repeat(64),
    });

    it('goes when nothing is under way', async () => {
      const { connectSocket, daemon } = await startTestDaemon({ version: '1.0.0' });
      const { connection } = clientOn(await connectSocket());
      assert.deepEqual(await connection.sendRequest(retireRequest, another('1.1.0')), {
        retires: true,
        reason: null,
      });
      await daemon.ended;
    });

    it('stays while something is', async () => {
      const started = gate();
      const finish = gate();
      const { connect } = await startTestDaemon({
        services: { 'host/trash': () => (started.open(), finish.opened.then(() => [])) },
      });
      const { connection } = await connect();
      const underWay = connection.sendRequest(trash, {}, {});
      await started.opened;
      const { retires, reason } = await connection.sendRequest(retireRequest, another('9.0.0'));
      assert.equal(retires, false);
      assert.match(reason ?? '', /host\/trash is under way/);
      finish.open();
      await underWay;
    });

    it('H2: stays while memory of a lazy restore is being read, though not for an expiry to come', async () => {
      let isBusy = true;
      const { connect, daemon } = await startTestDaemon({ isBusy: () => isBusy, hasWork: () => true });
      const { connection } = await connect();
      assert.equal((await connection.sendRequest(retireRequest, another('9.0.0'))).retires, false);
      isBusy = false;
      assert.equal((await connection.sendRequest(retireRequest, another('9.0.0'))).retires, true);
      await daemon.ended;
    });

    it('stays when the other is older', async () => {
      const { connect } = await startTestDaemon({ version: '1.0.0' });
      const { connection } = await connect();
      assert.equal((await connection.sendRequest(retireRequest, another('0.9.0'))).retires, false);
    });
  });

  it("H51: logs no value of a workspace's environment and no word of its command", async () => {
    const { connect, log } = await startTestDaemon();
    const { connection } = await connect();
    await failureOf(
      connection.sendRequest(
        operationRequest('containers/create'),
        { name: 'web', image: 'debian', env: { TOKEN: 'hunter2' }, command: ['serve', '--password=hunter3'] },
        {},
      ),
    );
    assert.ok(log.lines.some((line) => line.includes('env: {TOKEN}')));
    assert.doesNotMatch(log.lines.join('\n'), /hunter/);
  });

  it('answers requests of one client while another of them is running', async () => {
    const finish = gate();
    const { connect } = await startTestDaemon({
      services: {
        'snapshots/recover': () =>
          finish.opened.then(() => Promise.reject(new ForkpointError('undo.nothing', {}))),
        'host/trash': () => Promise.resolve([]),
      },
    });
    const { connection } = await connect();
    const slow = failureOf(connection.sendRequest(recover, aSnapshot, {}));
    assert.deepEqual(await connection.sendRequest(trash, {}, {}), []);
    finish.open();
    assert.equal((await slow).code, 'undo.nothing');
  });
});

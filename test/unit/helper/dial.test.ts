import * as assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';
import { dial, dialSocket, type DialParts } from '../../../src/helper/doors/dial.ts';
import type { Client } from '../../../src/helper/doors/client.ts';
import { joinStdio } from '../../../src/helper/doors/stdio.ts';
import { launcherText, helperFile } from '../../../src/helper/host/launcher.ts';
import { pathsUnder, type Paths } from '../../../src/helper/host/paths.ts';
import { startDetached } from '../../../src/helper/host/startDaemon.ts';
import { cleanUp, failureOf, temporaryDirectory } from './daemonHarness.ts';

/** daemonProcess.ts as one file, which starts ten times faster than through the loader. */
const script = path.join(mkdtempSync(path.join(tmpdir(), 'forkpoint-test-')), 'daemonProcess.cjs');
const digests = { old: 'a'.repeat(64), new: 'b'.repeat(64) };
const nothing = { signal: new AbortController().signal, onProgress: () => undefined };
const daemonsStarted = new Set<number>();

/** What a helper of that version and digest dials with, in a directory that stands for a host. */
function partsFor(root: string, version = '1.0.0', digest = digests.old): DialParts & { paths: Paths } {
  const paths = pathsUnder(root);
  return {
    paths,
    program: { version, file: '/test', digest },
    startDaemon: () => startDetached(paths, [script, root, version, digest]),
    deadlineMs: 15_000,
  };
}

/** Process id of the daemon that a client speaks to. */
async function processOf(client: Client): Promise<number> {
  const [pid] = await client.call('host/logs', {}, nothing);
  daemonsStarted.add(Number(pid));
  return Number(pid);
}

function startsIn(paths: Paths): number {
  return readFileSync(paths.logFile, 'utf8')
    .split('\n')
    .filter((line) => line.includes(' started, process ')).length;
}

describe('dialling the daemon', function () {
  this.timeout(20_000);

  before(() =>
    esbuild.build({
      entryPoints: [fileURLToPath(new URL('daemonProcess.ts', import.meta.url))],
      outfile: script,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      mainFields: ['module', 'main'],
      logLevel: 'error',
    }),
  );
  after(() => rmSync(path.dirname(script), { recursive: true }));

  afterEach(async () => {
    for (const pid of daemonsStarted) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    daemonsStarted.clear();
    await cleanUp();
  });

  it('starts one where none runs, which outlives its client', async () => {
    const parts = partsFor(temporaryDirectory());
    const first = await dial(parts);
    const pid = await processOf(first);
    first.close();
    const second = await dial(parts);
    assert.equal(await processOf(second), pid);
    second.close();
  });

  it('starts only one when several dial at once', async () => {
    const parts = partsFor(temporaryDirectory());
    const clients = await Promise.all([dial(parts), dial(parts), dial(parts)]);
    const pids = await Promise.all(clients.map(processOf));
    assert.equal(new Set(pids).size, 1);
    assert.equal(startsIn(parts.paths), 1);
    for (const client of clients) client.close();
  });

  it('H19: takes no notice of a stale socket or of the lock of a daemon that was killed', async () => {
    const parts = partsFor(temporaryDirectory());
    const first = await dial(parts);
    const pid = await processOf(first);
    process.kill(pid, 'SIGKILL');
    assert.equal((await failureOf(first.call('host/trash', {}, nothing))).code, 'operation.interrupted');

    const second = await dial(parts);
    assert.notEqual(await processOf(second), pid);
    second.close();
  });

  it('replaces an idle daemon by a newer one', async () => {
    const root = temporaryDirectory();
    const old = await dial(partsFor(root, '1.0.0', digests.old));
    const pid = await processOf(old);
    const client = await dial(partsFor(root, '1.1.0', digests.new));
    assert.notEqual(await processOf(client), pid);
    client.close();
  });

  it('goes on with a busy daemon, and replaces it later', async () => {
    const root = temporaryDirectory();
    const old = await dial(partsFor(root, '1.0.0', digests.old));
    const pid = await processOf(old);
    const underWay = old.call('host/trash', {}, nothing);
    const newer = partsFor(root, '1.1.0', digests.new);
    const client = await dial(newer);
    assert.equal(await processOf(client), pid);
    assert.deepEqual(await underWay, []);
    const later = await dial(newer);
    assert.notEqual(await processOf(later), pid);
    later.close();
  });

  it('goes on with a newer daemon', async () => {
    const root = temporaryDirectory();
    const newer = await dial(partsFor(root, '1.1.0', digests.new));
    const pid = await processOf(newer);
    const client = await dial(partsFor(root, '1.0.0', digests.old));
    assert.equal(await processOf(client), pid);
    client.close();
  });

  it('replaces one of the same version only by the helper that is installed', async () => {
    const root = temporaryDirectory();
    const first = await dial(partsFor(root, '1.0.0', digests.old));
    const pid = await processOf(first);
    const other = partsFor(root, '1.0.0', digests.new);
    assert.equal(await processOf(await dial(other)), pid);

    mkdirSync(path.dirname(other.paths.launcher), { recursive: true });
    writeFileSync(other.paths.launcher, launcherText('/usr/bin/node', helperFile(other.paths, digests.new)));
    assert.notEqual(await processOf(await dial(other)), pid);
  });

  it('dials again when the daemon that it reached exits before it has answered', async () => {
    const parts = partsFor(temporaryDirectory());
    mkdirSync(parts.paths.runDirectory, { recursive: true });
    // Stands for a daemon that exits with a connection still waiting.
    const leaving = createServer((socket) => {
      leaving.close();
      socket.destroy();
    });
    leaving.listen(parts.paths.socket);
    await once(leaving, 'listening');
    const client = await dial(parts);
    assert.ok((await processOf(client)) > 0);
    client.close();
  });

  it('says why when the daemon ends at its start, with the end of the log', async () => {
    const parts = partsFor(temporaryDirectory());
    const broken = {
      ...parts,
      startDaemon: () => startDetached(parts.paths, ['-e', 'console.error("no such luck"); process.exit(9)']),
    };
    const failure = await failureOf(dial(broken));
    assert.equal(failure.code, 'daemon.unreachable');
    assert.match(failure.message, /exit 9/);
    assert.match(failure.detail ?? '', /no such luck/);
  });

  it('gives up after its deadline', async () => {
    const parts = partsFor(temporaryDirectory());
    const silent = {
      ...parts,
      deadlineMs: 300,
      startDaemon: () => startDetached(parts.paths, ['-e', 'setTimeout(() => {}, 2000)']),
    };
    assert.equal((await failureOf(dial(silent))).code, 'daemon.unreachable');
  });

  it('gives a socket to those who speak for themselves', async () => {
    const parts = partsFor(temporaryDirectory());
    await processOf(await dial(parts));
    const socket = await dialSocket(parts);
    assert.ok(socket.writable);
    socket.destroy();
  });
});

describe('joining standard input and output to the socket', () => {
  afterEach(cleanUp);

  /** A server that sends back what it gets, and its end. */
  async function echo(): Promise<{ place: string; close: () => void }> {
    const place = path.join(temporaryDirectory(), 'echo.sock');
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined);
      socket.pipe(socket);
    });
    server.listen(place);
    await once(server, 'listening');
    return { place, close: () => server.close() };
  }

  async function connectTo(place: string): Promise<Socket> {
    const socket = createConnection({ path: place, allowHalfOpen: true });
    await once(socket, 'connect');
    return socket;
  }

  it('H37: passes 16 MiB of any bytes both ways, after the marker line', async () => {
    const { place, close } = await echo();
    const bytes = randomBytes(16 * 1024 * 1024);
    const [input, output] = [new PassThrough(), new PassThrough()];
    const received = buffer(output);
    const joined = joinStdio(await connectTo(place), 'c0ffee', input, output);
    input.end(bytes);
    await joined;
    output.end();
    const expected = Buffer.concat([Buffer.from('forkpoint-session c0ffee\n'), bytes]);
    assert.ok((await received).equals(expected));
    close();
  });

  it('ends when the daemon does', async () => {
    const place = path.join(temporaryDirectory(), 'bye.sock');
    const server = createServer((socket) => socket.end('bye'));
    server.listen(place);
    await once(server, 'listening');
    const [input, output] = [new PassThrough(), new PassThrough()];
    await joinStdio(await connectTo(place), null, input, output);
    assert.equal(String(output.read()), 'bye');
    server.close();
  });

  it('ends when nobody reads its output any more', async () => {
    const { place, close } = await echo();
    const reader: ChildProcess = spawn('head', ['-c', '1'], { stdio: ['pipe', 'ignore', 'ignore'] });
    assert.ok(reader.stdin !== null);
    const input = new PassThrough();
    const joined = joinStdio(await connectTo(place), null, input, reader.stdin);
    input.write('x');
    await once(reader, 'exit');
    input.write('y'.repeat(1_000_000));
    await joined;
    close();
  });
});

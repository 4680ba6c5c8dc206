import { rmSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';

/** A relay that nobody uses ends after that, in milliseconds. */
const IDLE_MS = 30_000;

/** The longest request: a port and a newline. */
const REQUEST_BYTES = 6;

/**
 * `port-relay SOCKET`, run in a workspace's network namespace: joins each connection on the socket to a port of the
 * namespace that its first line names.
 */
export async function relayPorts(place: string): Promise<number> {
  rmSync(place, { force: true });
  const connections = new Set<Socket>();
  const idle = new AbortController();
  let timer = setTimeout(() => idle.abort(), IDLE_MS);
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, (socket) => {
    clearTimeout(timer);
    connections.add(socket);
    // Its end follows, and is what counts.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      connections.delete(socket);
      if (connections.size > 0) return;
      clearTimeout(timer);
      timer = setTimeout(() => idle.abort(), IDLE_MS);
    });
    serve(socket).catch(() => socket.destroy());
  });
  process.umask(0o177);
  server.listen(place);
  await once(server, 'listening');
  process.stdout.on('error', () => undefined);
  process.stdout.write('ready\n');
  await once(idle.signal, 'abort');
  server.close();
  rmSync(place, { force: true });
  return 0;
}

async function serve(socket: Socket): Promise<void> {
  const { port, rest } = await readRequest(socket);
  const target = await connect(port);
  if (target instanceof Error) {
    socket.end(`${'code' in target ? String(target.code) : 'failed'}\n`);
    return;
  }
  socket.write('ok\n');
  if (rest.length > 0) target.write(rest);
  // An end of one direction leaves the other open, as between any two programs; a break ends both.
  await Promise.all([pipeline(socket, target), pipeline(target, socket)]).catch(() => {
    socket.destroy();
    target.destroy();
  });
}

async function readRequest(socket: Socket): Promise<{ port: number; rest: Buffer }> {
  let text = Buffer.alloc(0);
  for (;;) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    text = Buffer.concat([text, chunk]);
    const at = text.indexOf(10);
    if (at < 0 && text.length < REQUEST_BYTES) continue;
    socket.pause();
    const port = Number(text.subarray(0, at).toString('latin1'));
    if (!Number.isInteger(port) || port < 1 || port > 65535) throw new Error('not a port');
    return { port, rest: text.subarray(at + 1) };
  }
}

/** Loopback first; a program may listen on the workspace's outer address alone. */
async function connect(port: number): Promise<Socket | Error> {
  const own = Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? []).filter(({ internal }) => !internal).map(({ address }) => address),
  );
  let problem = new Error('nothing listens');
  for (const host of ['127.0.0.1', '::1', ...own]) {
    const socket = createConnection({ host, port, allowHalfOpen: true });
    try {
      await once(socket, 'connect');
      socket.setNoDelay(true);
      // Its end follows, and is what counts.
      socket.on('error', () => undefined);
      return socket;
    } catch (error) {
      if (error instanceof Error) problem = error;
      socket.destroy();
    }
  }
  return problem;
}

import { once } from 'node:events';
import { chmodSync, chownSync, lstatSync, rmSync } from 'node:fs';
import { createServer, type Server, type ServerOptions } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createConnection, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ForkpointError } from '../../../protocol/errors.ts';
import type { Log } from '../../host/log.ts';
import type { ApiGuard, ApiListener, ApiOpening } from '../../service/api.ts';
import type { ListenPlace } from '../../service/apiListen.ts';
import { isMissing } from '../../subvolumes/btrfs.ts';
import type { Dispatcher } from '../dispatcher.ts';
import { Answers } from './answers.ts';
import { hostGuard } from './hostGuard.ts';
import { problemOf } from './problem.ts';

/** How many clients may be connected at once. */
const MAXIMUM_CONNECTIONS = 256;
/** How long requests under way are given when the door closes, in milliseconds. */
const FAREWELL_MS = 500;

const limits: ServerOptions = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  /** For all of a request; the answer may take longer. */
  requestTimeout: 20_000,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: 5_000,
};

interface OpenDoor {
  readonly server: Server;
  readonly place: ListenPlace;
  readonly sockets: Set<Socket>;
  readonly ending: AbortController;
}

/** Serves the HTTP API while it is on. */
export class HttpDoor implements ApiListener {
  readonly #parts: { dispatcher: Dispatcher; log: Log; version: string };
  #open: OpenDoor | null = null;

  constructor(parts: { dispatcher: Dispatcher; log: Log; version: string }) {
    this.#parts = parts;
  }

  async open(opening: ApiOpening, guard: ApiGuard): Promise<void> {
    const { log } = this.#parts;
    const { place, tls } = opening;
    const ending = new AbortController();
    const answers = new Answers({
      ...this.#parts,
      guard,
      isOwnHost: hostGuard(opening),
      ending: ending.signal,
    });
    const server =
      tls === null
        ? createServer(limits)
        : createTlsServer({ ...limits, cert: tls.certificate, key: tls.key, minVersion: 'TLSv1.2' });
    server.maxConnections = MAXIMUM_CONNECTIONS;
    server.on('request', (request, response) => {
      response.on('error', (error) => log.debug(`http: ${error.message}`));
      request.on('error', (error) => log.debug(`http: ${error.message}`));
      void answers.answer(request, response);
    });
    server.on('clientError', refuseUnreadable);
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', (error) => log.debug(`http: ${error.message}`));
      socket.on('close', () => sockets.delete(socket));
    });
    try {
      await listen(server, opening);
    } catch (error) {
      throw new ForkpointError(
        'api.notListening',
        { listen: placeName(place), problem: describeListenFailure(error) },
        { cause: error },
      );
    }
    this.#open = { server, place, sockets, ending };
    log.info(`the HTTP API listens on ${placeName(place)}`);
  }

  /** Accepts no further clients; a successor may listen at the same place. */
  refuse(): void {
    // Takes the name of a unix socket away, too.
    this.#open?.server.close();
  }

  async close(): Promise<void> {
    const open = this.#open;
    if (open === null) return;
    this.#open = null;
    const { server, sockets, ending } = open;
    const closed = new Promise<void>((resolve) => {
      // Called with an error where it is closed already, once its last connection has ended too.
      server.close(() => resolve());
    });
    server.closeIdleConnections();
    ending.abort();
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, FAREWELL_MS);
    await closed;
    clearTimeout(timer);
    this.#parts.log.info('the HTTP API listens no longer');
  }
}

async function listen(server: Server, { place, groupId }: ApiOpening): Promise<void> {
  if (place.kind === 'tcp') {
    server.listen({ host: place.address, port: place.port });
    await once(server, 'listening');
    return;
  }
  await removeStaleSocket(place.path);
  // Node binds within the call, so that the socket is root's alone from its first moment.
  const mask = process.umask(0o177);
  try {
    server.listen({ path: place.path });
  } finally {
    process.umask(mask);
  }
  await once(server, 'listening');
  if (groupId !== null) {
    chownSync(place.path, 0, groupId);
    chmodSync(place.path, 0o660);
  }
}

/** Removes the socket that an earlier daemon left. Anything else at its place stays, and so does one that is in use. */
async function removeStaleSocket(place: string): Promise<void> {
  try {
    if (!lstatSync(place).isSocket()) throw new Error('there is something else at its path');
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  const socket = createConnection(place);
  try {
    await once(socket, 'connect');
  } catch {
    rmSync(place, { force: true });
    return;
  } finally {
    socket.destroy();
  }
  throw new Error('another program listens there');
}

/** Answers what is no HTTP request, or too large a one, and hangs up. */
function refuseUnreadable(error: Error & { code?: string }, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, problem] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, 'its headers are too large']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'it took too long to arrive']
        : [400, 'it is not HTTP'];
  const body = `${JSON.stringify(problemOf(new ForkpointError('request.invalid', { problem }), status))}\n`;
  socket.end(
    `HTTP/1.1 ${String(status)} Refused\r\ncontent-type: application/problem+json\r\n` +
      `content-length: ${String(Buffer.byteLength(body))}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function describeListenFailure(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code === 'EADDRINUSE') return 'another program listens there';
  if (code === 'EADDRNOTAVAIL') return 'this host does not have that address';
  if (code === 'ENOENT') return 'its directory does not exist';
  return error instanceof Error ? error.message : String(error);
}

function placeName(place: ListenPlace): string {
  if (place.kind === 'unix') return `unix:${place.path}`;
  const address = place.address.includes(':') ? `[${place.address}]` : place.address;
  return `${address}:${String(place.port)}`;
}

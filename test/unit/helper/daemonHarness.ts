import { createConnection, type Socket } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import {
  createMessageConnection,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
  type MessageConnection,
} from 'vscode-jsonrpc/node';
import { ForkpointError } from '../../../src/protocol/errors.ts';
import { operations } from '../../../src/protocol/operations.ts';
import { helloRequest, patient, PROTOCOL_VERSION } from '../../../src/protocol/session.ts';
import { Daemon, type DaemonParts } from '../../../src/helper/doors/daemon.ts';
import type { ReachDoor } from '../../../src/helper/doors/streams.ts';
import type { Log } from '../../../src/helper/host/log.ts';
import { pathsUnder, type Paths } from '../../../src/helper/host/paths.ts';
import type { ApiListener } from '../../../src/helper/service/api.ts';
import type { Events } from '../../../src/helper/service/parts.ts';
import type { Services } from '../../../src/helper/service/services.ts';

/** A log whose lines a test can read. */
export function memoryLog(): Log & { readonly lines: string[] } {
  const lines: string[] = [];
  const add = (line: string): number => lines.push(line);
  return { lines, debug: add, info: add, warn: add, error: add };
}

/** Services of which only the given ones are there; all others fail. */
export function servicesWith(given: Partial<Services>): Services {
  const missing = Object.keys(operations).map((name) => [
    name,
    () => Promise.reject(new ForkpointError('internal', { problem: `the test has no ${name}` })),
  ]);
  // Object.fromEntries forgets which keys there are.
  return { ...(Object.fromEntries(missing) as unknown as Services), ...given };
}

/** Ways into workspaces of a host that has none. */
export const noReach: ReachDoor = {
  attachTerminal: () => Promise.reject(new ForkpointError('workspace.notFound', { workspace: 'any' })),
  connect: () => Promise.reject(new ForkpointError('workspace.notFound', { workspace: 'any' })),
  dial: () => Promise.reject(new ForkpointError('workspace.notFound', { workspace: 'any' })),
};

/** What a test may choose of a daemon. */
export interface DaemonChoices {
  services?: Partial<Services>;
  hostServices?: Partial<DaemonParts['hostServices']>;
  pool?: DaemonParts['pool'];
  recover?: () => Promise<void>;
  hasWork?: () => boolean;
  isBusy?: () => boolean;
  version?: string;
  idleExitSeconds?: number;
  /** Opens the HTTP API. */
  listen?: (listener: ApiListener) => Promise<void>;
}

/** A daemon in this process, on a real socket in a directory of its own. */
export interface TestDaemon {
  readonly paths: Paths;
  readonly daemon: Daemon;
  readonly parts: DaemonParts;
  readonly log: ReturnType<typeof memoryLog>;
  /** The services' way to tell all clients. */
  readonly emit: () => Events;
  /** A client that has said hello. */
  readonly connect: () => Promise<TestClient>;
  /** A bare connection to its socket. */
  readonly connectSocket: () => Promise<Socket>;
}

export interface TestClient {
  readonly connection: MessageConnection;
  readonly socket: Socket;
}

const cleanups: (() => Promise<void> | void)[] = [];

/** Removes what the tests made; for `afterEach`. */
export async function cleanUp(): Promise<void> {
  for (const step of cleanups.splice(0).reverse()) await step();
}

/** An empty directory that {@link cleanUp} removes. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'forkpoint-test-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts a daemon whose services are the test's. */
export async function startTestDaemon(choices: DaemonChoices = {}): Promise<TestDaemon> {
  const paths = pathsUnder(temporaryDirectory());
  const log = memoryLog();
  let emit: Events | null = null;
  const hostServices = servicesWith(choices.hostServices ?? {});
  const parts: DaemonParts = {
    paths,
    log,
    program: { version: choices.version ?? '1.0.0', file: '/test', digest: 'd'.repeat(64) },
    hostServices: {
      'host/info': hostServices['host/info'],
      'host/setup': hostServices['host/setup'],
      'host/logs': hostServices['host/logs'],
    },
    pool: choices.pool ?? { ensure: () => Promise.resolve({ schema: 1, poolUuid: '', root: paths.pool }) },
    createServices: async (events, _root, listener) => {
      emit = events;
      await choices.listen?.(listener);
      return {
        services: servicesWith(choices.services ?? {}),
        reach: noReach,
        recover: choices.recover ?? (() => Promise.resolve()),
        background: () => ({
          stop: () => Promise.resolve(),
          hasWork: choices.hasWork ?? (() => false),
          isBusy: choices.isBusy ?? (() => false),
        }),
      };
    },
    idleExitSeconds: choices.idleExitSeconds ?? 600,
    releaseMemory: () => undefined,
  };
  const daemon = await Daemon.start(parts);
  if (daemon === null) throw new Error('another daemon runs in a fresh directory');
  const sockets = new Set<Socket>();
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    await daemon.stop('the test is over');
  });
  const connectSocket = async (): Promise<Socket> => {
    const socket = createConnection({ path: paths.socket, allowHalfOpen: true });
    await once(socket, 'connect');
    sockets.add(socket);
    return socket;
  };
  return {
    paths,
    daemon,
    parts,
    log,
    emit: () => {
      if (emit === null) throw new Error('the services are not made yet');
      return emit;
    },
    connectSocket,
    connect: async () => {
      const client = clientOn(await connectSocket());
      await client.connection.sendRequest(helloRequest, {
        client: 'test',
        clientVersion: '1',
        protocol: PROTOCOL_VERSION,
      });
      return client;
    },
  };
}

/** JSON-RPC over a socket, without a hello. */
export function clientOn(socket: Socket): TestClient {
  const connection = createMessageConnection(
    patient(new StreamMessageReader(socket)),
    new StreamMessageWriter(socket),
  );
  socket.on('error', () => undefined);
  connection.listen();
  return { connection, socket };
}

/** A message as JSON-RPC has it on the wire. */
export function framed(message: object): Buffer {
  const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }));
  return Buffer.concat([Buffer.from(`Content-Length: ${String(body.length)}\r\n\r\n`), body]);
}

/** Timers that keep this process alive. */
export function countTimers(): number {
  // In Node since 17.3, and not in the types of the oldest Node that the helper runs on.
  const list: unknown = Reflect.get(process, 'getActiveResourcesInfo');
  const all: unknown = typeof list === 'function' ? Reflect.apply(list, process, []) : [];
  return Array.isArray(all) ? all.filter((one) => one === 'Timeout').length : 0;
}

/** The failure that a request ended with, as it travelled. */
export async function failureOf(request: Promise<unknown>): Promise<ForkpointError> {
  try {
    await request;
  } catch (error) {
    if (error instanceof ForkpointError) return error;
    if (error instanceof ResponseError) return ForkpointError.from(error.data);
    throw error;
  }
  throw new Error('the request was answered, not refused');
}

/** A promise to be settled from outside. */
export function gate<T = void>(): { readonly opened: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => undefined;
  const opened = new Promise<T>((resolve) => (open = resolve));
  return { opened, open };
}

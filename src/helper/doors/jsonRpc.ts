import type { Socket } from 'node:net';
import { hostname } from 'node:os';
import {
  createMessageConnection,
  Message,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
  type CancellationToken,
  type DataCallback,
  type Disposable,
  type NotificationType,
} from 'vscode-jsonrpc/node';
import { ForkpointError, type ErrorData } from '../../protocol/errors.ts';
import {
  FORKPOINT_ERROR,
  HelloSchema,
  helloRequest,
  OLDEST_PROTOCOL_VERSION,
  patient,
  progressNotification,
  PROTOCOL_VERSION,
  RequestMetaSchema,
  retireRequest,
  RetireSchema,
  type Retire,
  type Retirement,
  type Welcome,
} from '../../protocol/session.ts';
import { DialSchema, dialRequest, openStreamRequest, type Dialled } from '../../protocol/streams.ts';
import type { Log } from '../host/log.ts';
import type { Program } from '../host/program.ts';
import type { Dispatcher } from './dispatcher.ts';
import { Framing } from './framing.ts';
import { SessionStreams, type ReachDoor } from './streams.ts';

/** What a client that reads nothing may pile up in the daemon's memory, in bytes. */
const MAXIMUM_UNREAD_BYTES = 64 * 1024 * 1024;

/** What a session needs of the daemon. */
export interface SessionParts {
  readonly dispatcher: Dispatcher;
  readonly program: Program;
  readonly log: Log;
  /** Ways into workspaces, once the host is ready. */
  reach(): Promise<ReachDoor>;
  /** Asked by a newer helper: the daemon goes, or says why not. */
  retire(request: Retire): Retirement;
}

/** One client of the daemon. */
export interface Session {
  /** Tells the client, once it has said hello. */
  notify<P>(type: NotificationType<P>, params: P): void;
  /** Ends the connection once every request read has been answered. */
  end(): void;
}

/**
 * Serves one client over JSON-RPC until it is gone: the operations of the table by their names, hello and retire.
 * Its operations go on without it.
 */
export function serveSession(socket: Socket, parts: SessionParts): Session {
  const { dispatcher, log } = parts;
  let client: string | null = null;
  const framing = new Framing();
  /** Messages that are through the decoder, and requests among them that were not answered yet. */
  let [decoded, unanswered] = [0, 0];
  let isEnding = false;

  const endWhenAnswered = (): void => {
    if (isEnding && unanswered === 0 && decoded >= framing.messages) socket.end();
  };
  const writer = new AnswerWriter(socket, () => {
    unanswered -= 1;
    endWhenAnswered();
  });
  const reader = new CountedReader(socket, (message) => {
    decoded += 1;
    if (Message.isRequest(message)) unanswered += 1;
    endWhenAnswered();
  });
  const connection = createMessageConnection(patient(reader), writer);

  const notify = <P>(type: NotificationType<P>, params: P): void => {
    if (socket.destroyed || !socket.writable) return;
    if (socket.writableLength > MAXIMUM_UNREAD_BYTES) {
      log.warn(`client ${client ?? 'without a name'} reads nothing: its connection is closed`);
      socket.destroy();
      return;
    }
    connection
      .sendNotification(type.method, params)
      .catch((error: unknown) => log.debug(`telling a client: ${String(error)}`));
  };

  const streams = new SessionStreams({ connection, reach: () => parts.reach(), notify, log });

  const answer = async (method: string, params: unknown, token: CancellationToken): Promise<unknown> => {
    const [first, second] = Array.isArray(params) ? (params as unknown[]) : [params];
    if (method === retireRequest.method) return parts.retire(retirementAskedBy(first));
    if (method === helloRequest.method) {
      const welcome = welcomeFor(first, parts.program);
      client = welcome.client;
      log.debug(`client ${client} connected`);
      return welcome.welcome;
    }
    if (client === null)
      throw new ForkpointError('request.invalid', { problem: `"${helloRequest.method}" comes first` });
    if (method === openStreamRequest.method) return streams.open(first);
    if (method === dialRequest.method) return dial(await parts.reach(), first);
    const meta = RequestMetaSchema.safeParse(second ?? {});
    if (!meta.success)
      throw new ForkpointError('request.invalid', { problem: 'what accompanies it is malformed' });
    const { progressToken, idempotencyKey } = meta.data;
    const abort = new AbortController();
    if (token.isCancellationRequested) abort.abort();
    const listening = token.onCancellationRequested(() => abort.abort());
    try {
      return await dispatcher.call(method, first, {
        signal: abort.signal,
        idempotencyKey,
        progress: (progress) => {
          if (progressToken !== undefined)
            notify(progressNotification, { token: progressToken, ...progress });
        },
      });
    } finally {
      listening.dispose();
    }
  };

  connection.onRequest(async (method, params, token) => {
    try {
      return await answer(method, params as unknown, token);
    } catch (error) {
      const failure = ForkpointError.from(error);
      return new ResponseError<ErrorData>(FORKPOINT_ERROR, failure.message, failure.toData());
    }
  });
  connection.onError(([error]) => {
    // A client that went before it was told all is told of by the socket's own error.
    if (!('code' in error && (error.code === 'EPIPE' || error.code === 'ECONNRESET')))
      log.warn(`client ${client ?? 'without a name'}: ${error.message}`);
    // Framing that can't be read leaves nothing to go on with.
    socket.destroy();
  });
  socket.on('error', (error) => log.debug(`client ${client ?? 'without a name'}: ${error.message}`));
  const end = (): void => {
    isEnding = true;
    endWhenAnswered();
  };
  socket.on('end', end);
  socket.on('close', () => {
    if (client !== null) log.debug(`client ${client} disconnected`);
    streams.dispose();
    connection.dispose();
  });
  socket.on('data', (chunk: Buffer) => {
    if (framing.accepts(chunk)) return;
    log.warn(`client ${client ?? 'without a name'}: what it sends is no message, or too large a one`);
    socket.destroy();
  });
  connection.listen();
  return { notify: (type, params) => client !== null && notify(type, params), end };
}

/** Tells of each message before it is acted upon. */
class CountedReader extends StreamMessageReader {
  readonly #onMessage: (message: Message) => void;

  constructor(socket: Socket, onMessage: (message: Message) => void) {
    super(socket);
    this.#onMessage = onMessage;
  }

  override listen(callback: DataCallback): Disposable {
    return super.listen((message) => {
      this.#onMessage(message);
      callback(message);
    });
  }
}

/** Tells when an answer has been handed to the socket. An answer to a client that is gone is no failure of the daemon's. */
class AnswerWriter extends StreamMessageWriter {
  readonly #onAnswered: () => void;

  constructor(socket: Socket, onAnswered: () => void) {
    super(socket);
    this.#onAnswered = onAnswered;
  }

  override async write(message: Message): Promise<void> {
    try {
      await super.write(message);
    } catch {
      // The socket's own error, which follows, ends the session.
    } finally {
      if (Message.isResponse(message)) this.#onAnswered();
    }
  }
}

function retirementAskedBy(input: unknown): Retire {
  const request = RetireSchema.safeParse(input);
  if (!request.success) throw new ForkpointError('request.invalid', { problem: 'the request is malformed' });
  return request.data;
}

function dial(reach: ReachDoor, input: unknown): Promise<Dialled> {
  const target = DialSchema.safeParse(input);
  if (!target.success) throw new ForkpointError('request.invalid', { problem: 'what to dial is malformed' });
  return reach.dial(target.data);
}

function welcomeFor(input: unknown, program: Program): { client: string; welcome: Welcome } {
  const hello = HelloSchema.safeParse(input);
  if (!hello.success) throw new ForkpointError('request.invalid', { problem: 'the hello is malformed' });
  const { protocol, client, clientVersion } = hello.data;
  if (protocol < OLDEST_PROTOCOL_VERSION) {
    throw new ForkpointError('daemon.incompatible', { theirs: PROTOCOL_VERSION, ours: protocol });
  }
  return {
    client: `${client} ${clientVersion}`,
    welcome: {
      hostname: hostname(),
      version: program.version,
      digest: program.digest,
      protocol: Math.min(protocol, PROTOCOL_VERSION),
    },
  };
}

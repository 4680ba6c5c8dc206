import type { Socket } from 'node:net';
import { hostname } from 'node:os';
import {
  createMessageConnection,
  Message,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
  type CancellationToken,
  type NotificationType,
} from 'vscode-jsonrpc/node';
import { ForkpointError, type ErrorData } from '../../protocol/errors.ts';
import {
  FORKPOINT_ERROR,
  HelloSchema,
  helloRequest,
  OLDEST_PROTOCOL_VERSION,
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
import { SessionStreams, type ReachDoor } from './streams.ts';

/** What a client that reads nothing may pile up in the daemon's memory, in bytes. */
const MAXIMUM_UNREAD_BYTES = 64 * 1024 * 1024;
/** How long after a half-close messages already received may still be on their way through the decoder. */
const DECODING_MS = 100;

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
  let unanswered = 0;
  let isEnding = false;

  const endWhenAnswered = (): void => {
    if (isEnding && unanswered === 0) socket.end();
  };
  const writer = new AnswerWriter(socket, () => {
    unanswered -= 1;
    endWhenAnswered();
  });
  const connection = createMessageConnection(new StreamMessageReader(socket), writer);

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
    if (method === retireRequest.method) return parts.retire(RetireSchema.parse(first));
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
    unanswered += 1;
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
  socket.on('end', () => setTimeout(end, DECODING_MS));
  socket.on('close', () => {
    if (client !== null) log.debug(`client ${client} disconnected`);
    streams.dispose();
    connection.dispose();
  });
  connection.listen();
  return { notify: (type, params) => client !== null && notify(type, params), end };
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

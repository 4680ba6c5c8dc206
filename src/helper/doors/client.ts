import type { Socket } from 'node:net';
import {
  CancellationTokenSource,
  createMessageConnection,
  ErrorCodes,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
  type MessageConnection,
} from 'vscode-jsonrpc/node';
import { ForkpointError } from '../../protocol/errors.ts';
import type { OperationName, ParamsInput, Result } from '../../protocol/operations.ts';
import {
  helloRequest,
  OLDEST_PROTOCOL_VERSION,
  operationRequest,
  patient,
  progressNotification,
  PROTOCOL_VERSION,
  retireRequest,
  type Progress,
  type Welcome,
} from '../../protocol/session.ts';
import { dialRequest, type Dialled } from '../../protocol/streams.ts';
import type { Program } from '../host/program.ts';

/** What the library answers in the daemon's place. */
const connectionErrors: ReadonlySet<number> = new Set([
  ErrorCodes.MessageWriteError,
  ErrorCodes.MessageReadError,
  ErrorCodes.PendingResponseRejected,
  ErrorCodes.ConnectionInactive,
]);

/** The daemon ended, or was ended, before it answered. */
export class LostConnection extends ForkpointError {
  constructor() {
    super('daemon.unreachable', { problem: 'it ended before it answered' });
  }
}

/** A connection to the daemon of this host. Its requests are rejected with `ForkpointError`s. */
export class Client {
  readonly #socket: Socket;
  readonly #connection: MessageConnection;
  readonly #closed: Promise<void>;
  #calls = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    const reader = patient(new StreamMessageReader(socket));
    this.#connection = createMessageConnection(reader, new StreamMessageWriter(socket));
    this.#closed = new Promise((resolve) => {
      socket.on('close', () => resolve());
    });
    // The end of the connection, which follows, is what counts.
    socket.on('error', () => undefined);
    // A daemon that says nothing more won't answer either.
    socket.on('end', () => socket.destroy());
    this.#connection.onError(() => socket.destroy());
    this.#connection.listen();
  }

  /** @throws `daemon.incompatible` when the two can't understand each other */
  async hello(program: Program): Promise<Welcome> {
    const welcome = await this.#guard(
      this.#connection.sendRequest(helloRequest, {
        client: 'cli',
        clientVersion: program.version,
        protocol: PROTOCOL_VERSION,
      }),
    );
    if (welcome.protocol < OLDEST_PROTOCOL_VERSION) {
      throw new ForkpointError('daemon.incompatible', { theirs: welcome.protocol, ours: PROTOCOL_VERSION });
    }
    return welcome;
  }

  /** Asks the daemon to make room for `program`. Answers null once it is gone, or the reason why it stays. */
  async retire(program: Program): Promise<string | null> {
    const { version, digest } = program;
    const { retires, reason } = await this.#guard(
      this.#connection.sendRequest(retireRequest, { version, digest }),
    );
    if (!retires) return reason ?? 'it gave no reason';
    await this.#closed;
    return null;
  }

  /** Runs an operation to its end. Aborting `signal` asks the daemon to cancel it; its answer still counts. */
  async call<N extends OperationName>(
    operation: N,
    params: ParamsInput<N>,
    options: { signal: AbortSignal; onProgress: (progress: Progress) => void },
  ): Promise<Result<N>> {
    const progressToken = String((this.#calls += 1));
    const cancellation = new CancellationTokenSource();
    const cancel = (): void => cancellation.cancel();
    if (options.signal.aborted) cancel();
    options.signal.addEventListener('abort', cancel, { once: true });
    const listening = this.#connection.onNotification(progressNotification, (progress) => {
      if (progress.token === progressToken) options.onProgress(progress);
    });
    try {
      return await this.#guard(
        this.#connection.sendRequest(
          operationRequest(operation),
          params,
          { progressToken },
          cancellation.token,
        ),
        () => new ForkpointError('operation.interrupted', { operation }),
      );
    } finally {
      listening.dispose();
      options.signal.removeEventListener('abort', cancel);
    }
  }

  /** Asks where a port of a workspace is dialled. */
  dial(target: { container: string; port: number | 'ssh' }): Promise<Dialled> {
    return this.#guard(this.#connection.sendRequest(dialRequest, target));
  }

  /** Ends the connection; an operation under way goes on. */
  close(): void {
    this.#socket.destroy();
    this.#connection.dispose();
  }

  /** Turns what can go wrong with a request into the failure that the daemon sent, or into a lost connection. */
  async #guard<T>(request: Promise<T>, lost = (): ForkpointError => new LostConnection()): Promise<T> {
    const end = this.#closed.then(() => Promise.reject(lost()));
    // Whichever loses the race is nobody's failure.
    end.catch(() => undefined);
    try {
      return await Promise.race([request, end]);
    } catch (error) {
      if (error instanceof ForkpointError) throw error;
      // All else is the library's word for a connection that ended, which a write may notice first.
      throw error instanceof ResponseError && !connectionErrors.has(error.code)
        ? ForkpointError.from(error.data ?? error)
        : lost();
    }
  }
}

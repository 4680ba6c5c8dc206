import {
  CancellationTokenSource,
  createMessageConnection,
  ErrorCodes,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
} from 'vscode-jsonrpc/node';
import type { MessageConnection } from 'vscode-jsonrpc/node';
import { ForkpointError } from '../../protocol/errors.ts';
import { operations } from '../../protocol/operations.ts';
import type { OperationName, ParamsInput, Result } from '../../protocol/operations.ts';
import {
  changedNotification,
  ChangedSchema,
  FORKPOINT_ERROR,
  helloRequest,
  OLDEST_PROTOCOL_VERSION,
  operationRequest,
  patient,
  progressNotification,
  PROTOCOL_VERSION,
  restoredNotification,
  RestoredSchema,
  WelcomeSchema,
} from '../../protocol/session.ts';
import type { Changed, Progress, Restored, Welcome } from '../../protocol/session.ts';
import type { StreamTarget } from '../../protocol/streams.ts';
import type { HelperProcess } from './helperProcess.ts';
import type { Log } from './log.ts';
import type { Patience } from './patience.ts';
import { HostProblemError } from './problems.ts';
import { Streams } from './streams.ts';
import type { HostStream } from './streams.ts';

const HELLO_TIMEOUT_MS = 30_000;

export interface SessionOptions {
  readonly host: string;
  readonly process: HelperProcess;
  readonly clientVersion: string;
  readonly patience: Patience;
  readonly log: Log;
  readonly onChanged: (changed: Changed) => void;
  readonly onRestored: (restored: Restored) => void;
}

export interface SessionRequest<N extends OperationName> {
  readonly name: N;
  readonly params: ParamsInput<N>;
  readonly idempotencyKey: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: Omit<Progress, 'token'>) => void) | undefined;
}

/** The session went away before a request was answered: whether it was carried out is unknown. */
export class SessionLostError extends Error {
  constructor() {
    super('the session went away');
    this.name = 'SessionLostError';
  }
}

/** Greets the helper over its process. Rejected with `incompatible`, `helperFailed` or `connectionLost`. */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { host, process: helper, patience, log } = options;
  const reader = patient(new StreamMessageReader(helper.output));
  const connection = createMessageConnection(reader, new StreamMessageWriter(helper.stdin));
  const session = new Session(connection, options);
  const started = performance.now();
  const greeting = connection.sendRequest(helloRequest, {
    client: 'vscode',
    clientVersion: options.clientVersion,
    protocol: PROTOCOL_VERSION,
  });
  try {
    const answer = await patience.within(
      HELLO_TIMEOUT_MS,
      Promise.race([greeting, session.failed]),
      () => new HostProblemError('helperFailed', { host, problem: 'it does not answer' }),
    );
    const welcome = WelcomeSchema.parse(answer);
    if (welcome.protocol < OLDEST_PROTOCOL_VERSION) throw incompatible(host, welcome.protocol);
    session.welcome = welcome;
    log.info(
      `the helper on ${welcome.hostname} is ${welcome.version} (${welcome.digest.slice(0, 12)}), protocol ${String(welcome.protocol)}, hello took ${String(Math.round(performance.now() - started))} ms`,
    );
    return session;
  } catch (error) {
    session.close();
    // The lost connection tells less than what the program said before it ended.
    greeting.catch(() => undefined);
    if (error instanceof HostProblemError) throw error;
    const failure = ForkpointError.from(error instanceof ResponseError ? error.data : error);
    if (failure.code === 'daemon.incompatible') throw incompatible(host, Number(failure.args['theirs']));
    throw new HostProblemError(
      'helperFailed',
      { host, problem: failure.message },
      { detail: failure.detail, cause: error },
    );
  }
}

function incompatible(host: string, theirs: number): HostProblemError {
  if (theirs < PROTOCOL_VERSION) return new HostProblemError('helperOlder', { host });
  return new HostProblemError('incompatible', {
    host,
    theirs: String(theirs),
    ours: String(PROTOCOL_VERSION),
  });
}

/** The conversation with a host's helper, from hello until the connection ends. */
export class Session {
  readonly #connection: MessageConnection;
  readonly #host: string;
  readonly #helper: HelperProcess;
  readonly #log: Log;
  readonly #streams: Streams;
  readonly #progress = new Map<string, (progress: Omit<Progress, 'token'>) => void>();
  #requests = 0;
  #isClosed = false;
  welcome: Welcome | null = null;

  /** Settled when the session is over, with the reason; never rejected. */
  readonly lost: Promise<HostProblemError>;
  /** The same as a rejection, to be raced with. */
  readonly failed: Promise<never>;

  constructor(connection: MessageConnection, options: SessionOptions) {
    this.#connection = connection;
    this.#host = options.host;
    this.#helper = options.process;
    this.#log = options.log;
    this.#streams = new Streams(connection, options.log);
    this.lost = this.#awaitEnd();
    this.failed = this.lost.then((problem) => Promise.reject(problem));
    this.failed.catch(() => undefined);
    connection.onError(([error]) => this.#log.warn(`session: ${error.message}`));
    connection.onNotification(progressNotification, ({ token, ...progress }) =>
      this.#progress.get(token)?.(progress),
    );
    connection.onNotification(changedNotification, (params) => {
      const changed = ChangedSchema.safeParse(params);
      if (changed.success) options.onChanged(changed.data);
    });
    connection.onNotification(restoredNotification, (params) => {
      const restored = RestoredSchema.safeParse(params);
      if (restored.success) options.onRestored(restored.data);
    });
    connection.listen();
  }

  async #awaitEnd(): Promise<HostProblemError> {
    const outputEnded = new Promise<'ended'>((resolve) => {
      this.#helper.output.once('end', () => resolve('ended'));
      this.#helper.output.once('close', () => resolve('ended'));
    });
    const first = await Promise.race([this.#helper.exit, outputEnded]);
    // The program's status tells more than that its output ended, if it comes soon.
    const exit = first === 'ended' ? await Promise.race([this.#helper.exit, after(1000)]) : first;
    const said = this.#helper.saidOnStderr().trim();
    this.#isClosed = true;
    this.#streams.lose();
    this.#connection.dispose();
    this.#helper.kill();
    if (exit?.problem) return exit.problem;
    const problem = said.split('\n').at(-1) || 'the helper closed it';
    return new HostProblemError('connectionLost', { host: this.#host, problem }, { detail: said || null });
  }

  /**
   * Asks for one operation.
   * @throws ForkpointError as the host says; SessionLostError when the session ended before the answer
   */
  async request<N extends OperationName>(request: SessionRequest<N>): Promise<Result<N>> {
    if (this.#isClosed) throw new SessionLostError();
    const { name, signal, onProgress } = request;
    const number = String((this.#requests += 1));
    const cancellation = new CancellationTokenSource();
    const cancel = (): void => cancellation.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    if (onProgress) this.#progress.set(number, onProgress);
    const started = performance.now();
    this.#log.debug(`${name} #${number} asked`);
    try {
      const asked = this.#connection.sendRequest(
        operationRequest(name),
        request.params,
        {
          ...(onProgress ? { progressToken: number } : {}),
          ...(request.idempotencyKey === undefined ? {} : { idempotencyKey: request.idempotencyKey }),
        },
        cancellation.token,
      );
      // A token that is cancelled from the start is not told to the host by vscode-jsonrpc.
      if (signal?.aborted === true) cancel();
      const result = await asked;
      this.#log.info(`${name} #${number}: ${elapsed(started)}`);
      return checkResult(name, result);
    } catch (error) {
      const failure = this.#explain(error, name);
      this.#log.info(`${name} #${number}: ${failure.message}, ${elapsed(started)}`);
      throw failure;
    } finally {
      signal?.removeEventListener('abort', cancel);
      this.#progress.delete(number);
      cancellation.dispose();
    }
  }

  /**
   * Opens a terminal or a connection to a port of a workspace.
   * @throws ForkpointError as the host says; SessionLostError when the session ended before the answer
   */
  async openStream(target: StreamTarget): Promise<HostStream> {
    if (this.#isClosed) throw new SessionLostError();
    try {
      return await this.#streams.open(target);
    } catch (error) {
      throw this.#explain(error, 'stream/open');
    }
  }

  #explain(error: unknown, name: string): ForkpointError | SessionLostError {
    if (error instanceof ForkpointError) return error;
    if (error instanceof ResponseError) {
      switch (error.code) {
        case FORKPOINT_ERROR:
          return ForkpointError.from(error.data);
        case ErrorCodes.PendingResponseRejected:
          return new SessionLostError();
        case ErrorCodes.MethodNotFound:
          return new ForkpointError('daemon.incompatible', {
            theirs: `${String(this.welcome?.protocol)} without "${name}"`,
            ours: PROTOCOL_VERSION,
          });
      }
    }
    return this.#isClosed ? new SessionLostError() : ForkpointError.from(error);
  }

  /** Ends the conversation; what is under way on the host goes on there. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#streams.lose();
    this.#connection.dispose();
    this.#helper.stdin.end();
    this.#helper.kill();
  }
}

/**
 * What the host sends is checked before it is believed to be of its type.
 * @throws ForkpointError `internal` when it is not
 */
export function checkResult<N extends OperationName>(name: N, result: unknown): Result<N> {
  const checked = operations[name].result.safeParse(result);
  if (checked.success) return checked.data as Result<N>;
  const issue = checked.error.issues[0];
  const problem = `the host's answer to ${name} is not as agreed: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`;
  throw new ForkpointError('internal', { problem });
}

function after(ms: number): Promise<null> {
  return new Promise((resolve) => setTimeout(() => resolve(null), ms));
}

function elapsed(started: number): string {
  return `${String(Math.round(performance.now() - started))} ms`;
}

import { randomUUID } from 'node:crypto';
import { Emitter } from 'vscode-jsonrpc';
import { ForkpointError } from '../../protocol/errors.ts';
import { operations } from '../../protocol/operations.ts';
import type { OperationName, ParamsInput, Result } from '../../protocol/operations.ts';
import type { Changed, Restored } from '../../protocol/session.ts';
import type { StreamTarget } from '../../protocol/streams.ts';
import { backoffMs } from './backoff.ts';
import { establish } from './establish.ts';
import type { Established, InstallReason } from './establish.ts';
import type { ConnectOptions, HostConnection, HostDependencies, HostState, RequestOptions } from './host.ts';
import { logOfHost } from './log.ts';
import type { Log } from './log.ts';
import { HostProblemError } from './problems.ts';
import type { HostProblemCode } from './problems.ts';
import { Questions } from './questions.ts';
import { SessionLostError } from './session.ts';
import type { HostStream } from './streams.ts';

/** How long a request waits for a lost connection to come back, in milliseconds. */
const REQUEST_PATIENCE_MS = 120_000;

/** A request that took the connection down with it this often is not asked again. */
const MAXIMUM_REPEATS = 3;

/** A connection that stood this long, in milliseconds, starts the back-off anew. */
const STABLE_MS = 60_000;

/** Problems that may be gone a moment later. */
const passing: ReadonlySet<HostProblemCode> = new Set(['unreachable', 'connectionLost', 'helperFailed']);

/** Problems that a set-up of the host mends. */
const mendedBySetup: ReadonlySet<HostProblemCode> = new Set([
  'helperNotInstalled',
  'helperOlder',
  'nodeMissing',
  'nodeTooOld',
  'nodeUntrusted',
]);

/** Makes the connection to one host; nothing happens before `connect`. */
export function createHostConnection(id: string, dependencies: HostDependencies): HostConnection {
  return new Connection(id, dependencies);
}

/** One attempt to connect. */
interface Attempt {
  readonly isInteractive: boolean;
  readonly done: Promise<void>;
  readonly abort: AbortController;
}

class Connection implements HostConnection {
  readonly id: string;
  readonly #dependencies: HostDependencies;
  readonly #log: Log;
  readonly #didChangeState = new Emitter<HostState>();
  readonly #didChange = new Emitter<Changed>();
  readonly #didRestore = new Emitter<Restored>();
  readonly onDidChangeState = this.#didChangeState.event;
  readonly onDidChange = this.#didChange.event;
  readonly onDidRestore = this.#didRestore.event;

  #state: HostState = { kind: 'disconnected' };
  #attempt: Attempt | null = null;
  #established: Established | null = null;
  /** Somebody wants the connection: it is tried again when it is lost. */
  #isWanted = false;
  #failures = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  /** Digest of the helper that was installed through this connection: it is not installed twice. */
  #installedDigest: string | null = null;

  constructor(id: string, dependencies: HostDependencies) {
    this.id = id;
    this.#dependencies = dependencies;
    this.#log = logOfHost(dependencies.log, id);
  }

  get state(): HostState {
    return this.#state;
  }

  async connect(options: ConnectOptions): Promise<void> {
    for (;;) {
      if (this.#established) return;
      const attempt = this.#attempt;
      if (!attempt) break;
      try {
        await untilAborted(attempt.done, options.signal, this.id);
        return;
      } catch (error) {
        // One that could not ask has failed where this one can.
        const couldNotAsk = error instanceof HostProblemError && error.code === 'needsGesture';
        if (!(couldNotAsk && options.interactive && !attempt.isInteractive)) throw error;
      }
    }
    return this.#begin(options, 'asConsented');
  }

  async installHelper(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { state } = this;
    const isOlder =
      state.kind === 'connected' || (state.kind === 'needsSetup' && state.problem.code === 'helperOlder');
    this.#end();
    await this.#begin({ interactive: true, signal: options.signal }, isOlder ? 'older' : 'missing');
  }

  disconnect(): void {
    this.#end();
    this.#setState({ kind: 'disconnected' });
  }

  #end(): void {
    this.#isWanted = false;
    clearTimeout(this.#retryTimer);
    this.#attempt?.abort.abort();
    this.#attempt = null;
    this.#drop();
  }

  dispose(): void {
    this.disconnect();
    this.#didChangeState.dispose();
    this.#didChange.dispose();
    this.#didRestore.dispose();
  }

  async request<N extends OperationName>(
    name: N,
    params: ParamsInput<N>,
    options: RequestOptions = {},
  ): Promise<Result<N>> {
    const { signal, onProgress } = options;
    const idempotencyKey =
      options.idempotencyKey ?? (operations[name].effect === 'reads' ? undefined : randomUUID());
    let wasAsked = false;
    for (let repeats = 0; ; repeats += 1) {
      const established = await this.#whenConnected(signal, wasAsked && operations[name].effect !== 'reads');
      try {
        wasAsked = true;
        return await established.session.request({ name, params, idempotencyKey, signal, onProgress });
      } catch (error) {
        if (!(error instanceof SessionLostError)) throw error;
        if (repeats >= MAXIMUM_REPEATS)
          throw unreachable(
            new HostProblemError('connectionLost', {
              host: this.id,
              problem: `it broke at every attempt of ${name}`,
            }),
          );
        this.#log.warn(`${name} is asked again when the connection is back`);
        await this.#untilDropped(established);
      }
    }
  }

  async openStream(target: StreamTarget): Promise<HostStream> {
    const established = await this.#whenConnected(undefined, false);
    try {
      return await established.session.openStream(target);
    } catch (error) {
      throw error instanceof SessionLostError ? unreachable(this.#whyNot()) : error;
    }
  }

  /** The standing connection; waits for one that is on its way or was lost. */
  async #whenConnected(signal: AbortSignal | undefined, isUnderWay: boolean): Promise<Established> {
    const deadline = Date.now() + REQUEST_PATIENCE_MS;
    for (;;) {
      if (signal?.aborted === true) throw this.#cancelled(isUnderWay);
      if (this.#established) return this.#established;
      if (Date.now() > deadline) throw unreachable(this.#whyNot());
      if (!this.#attempt) {
        const { state } = this;
        const isRetrying = state.kind === 'failed' && state.retryAt !== null;
        if (!isRetrying) throw unreachable(this.#whyNot());
        // Somebody waits: a first request doesn't sit the back-off out, a repeated one does.
        if (!isUnderWay) this.#retryNow();
      }
      await this.#nextState(signal, deadline - Date.now());
    }
  }

  #whyNot(): HostProblemError {
    const { state } = this;
    if (state.kind === 'failed' || state.kind === 'needsSetup') {
      return new HostProblemError(state.problem.code, state.problem.args, { detail: state.problem.detail });
    }
    return new HostProblemError('connectionLost', { host: this.id, problem: 'it is not connected' });
  }

  #cancelled(isUnderWay: boolean): ForkpointError {
    // What the host has begun it may finish; to call it cancelled would be untrue.
    return isUnderWay
      ? unreachable(
          new HostProblemError('connectionLost', {
            host: this.id,
            problem: 'what was under way may go on there',
          }),
        )
      : new ForkpointError('operation.cancelled');
  }

  /** Waits for the state to change, the signal to be aborted or the time to be over. */
  #nextState(signal: AbortSignal | undefined, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        listener.dispose();
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, Math.max(0, ms));
      const listener = this.onDidChangeState(done);
      signal?.addEventListener('abort', done, { once: true });
    });
  }

  async #untilDropped(established: Established): Promise<void> {
    await established.session.lost;
    // The state follows in the same turn as the one who waits for `lost` first: this connection itself.
    await Promise.resolve();
  }

  async #begin(options: ConnectOptions, install: 'asConsented' | InstallReason): Promise<void> {
    const before = this.#state;
    clearTimeout(this.#retryTimer);
    const abort = new AbortController();
    const cancel = (): void => abort.abort();
    if (options.signal?.aborted === true) cancel();
    options.signal?.addEventListener('abort', cancel, { once: true });
    const attempt: Attempt = {
      isInteractive: options.interactive,
      abort,
      done: this.#run(options.interactive, install, abort)
        .catch((error: unknown) => {
          throw asProblem(this.id, error);
        })
        .finally(() => {
          options.signal?.removeEventListener('abort', cancel);
        }),
    };
    this.#attempt = attempt;
    this.#setState({ kind: 'connecting' });
    try {
      await attempt.done;
    } catch (error) {
      const problem = asProblem(this.id, error);
      if (this.#attempt === attempt) {
        this.#attempt = null;
        this.#failed(problem, before);
      }
      throw problem;
    }
  }

  async #run(
    isInteractive: boolean,
    install: 'asConsented' | InstallReason,
    abort: AbortController,
  ): Promise<void> {
    // The caller sets the state first.
    await Promise.resolve();
    const { prompts, secrets } = this.#dependencies;
    const questions = new Questions({
      host: this.id,
      isInteractive,
      signal: abort.signal,
      prompts,
      secrets,
      log: this.#log,
    });
    const established = await establish({
      id: this.id,
      dependencies: this.#dependencies,
      log: this.#log,
      questions,
      install,
      installedDigest: this.#installedDigest,
      onInstalled: (digest) => {
        this.#installedDigest = digest;
      },
      onChanged: (changed) => void this.#didChange.fire(changed),
      onRestored: (restored) => void this.#didRestore.fire(restored),
    });
    if (abort.signal.aborted) {
      established.close();
      throw new HostProblemError('cancelled', { host: this.id });
    }
    this.#attempt = null;
    this.#established = established;
    this.#isWanted = true;
    const since = Date.now();
    void established.session.lost.then((problem) => {
      if (this.#established !== established) return;
      this.#drop();
      if (Date.now() - since > STABLE_MS) this.#failures = 0;
      this.#failed(problem, { kind: 'disconnected' });
    });
    const { client, welcome, isHelperOlder } = established;
    this.#setState({ kind: 'connected', client, welcome, isHelperOlder });
  }

  /** @param before what the views showed before the attempt: who cancels it goes back to that, where it says more */
  #failed(problem: HostProblemError, before: HostState): void {
    if (problem.code === 'cancelled') {
      this.#isWanted = false;
      this.#log.info(problem.message);
      this.#setState(before.kind === 'needsSetup' ? before : { kind: 'disconnected' });
      return;
    }
    this.#log.warn(`${problem.message}${problem.detail === null ? '' : ` [${problem.detail}]`}`);
    if (mendedBySetup.has(problem.code)) {
      this.#setState({ kind: 'needsSetup', problem });
      return;
    }
    if (!this.#isWanted || !passing.has(problem.code)) {
      this.#setState({ kind: 'failed', problem, retryAt: null });
      return;
    }
    const ms = backoffMs(this.#failures);
    this.#failures += 1;
    this.#log.info(`trying again in ${String(Math.round(ms / 100) / 10)} s`);
    this.#retryTimer = setTimeout(() => this.#retryNow(), ms);
    this.#setState({ kind: 'failed', problem, retryAt: Date.now() + ms });
  }

  #retryNow(): void {
    if (this.#attempt || this.#established) return;
    this.#begin({ interactive: false }, 'asConsented').then(
      () => {
        this.#log.info('connected again');
      },
      // Its end is told by the state.
      () => undefined,
    );
  }

  #drop(): void {
    this.#established?.close();
    this.#established = null;
  }

  #setState(state: HostState): void {
    if (state.kind === 'disconnected' && this.#state.kind === 'disconnected') return;
    this.#state = state;
    this.#log.debug(`state: ${state.kind}`);
    this.#didChangeState.fire(state);
  }
}

function unreachable(problem: HostProblemError): ForkpointError {
  return new ForkpointError(
    'daemon.unreachable',
    { problem: problem.message },
    { detail: problem.detail, cause: problem },
  );
}

function asProblem(host: string, error: unknown): HostProblemError {
  if (error instanceof HostProblemError) return error;
  const problem = error instanceof Error ? error.message : String(error);
  return new HostProblemError('helperFailed', { host, problem }, { cause: error });
}

async function untilAborted(
  done: Promise<void>,
  signal: AbortSignal | undefined,
  host: string,
): Promise<void> {
  if (!signal) return done;
  let stop: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new HostProblemError('cancelled', { host }));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    await Promise.race([done, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

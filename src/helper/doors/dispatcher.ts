import { createHash } from 'node:crypto';
import { ForkpointError } from '../../protocol/errors.ts';
import {
  DEADLINE_MINUTES,
  isOperationName,
  operations,
  type Operation,
  type OperationName,
  type Params,
  type Result,
} from '../../protocol/operations.ts';
import { visible } from '../../protocol/names.ts';
import type { Log } from '../host/log.ts';
import type { Call, Services } from '../service/services.ts';
import type { KeptAnswer, KeptAnswers, Outcome } from './keptAnswers.ts';
import { checkParameters } from './parameters.ts';

/** After how long an operation is cancelled, in milliseconds. */
function deadlineOf(name: OperationName): number {
  const { deadlineMinutes = DEADLINE_MINUTES }: Operation = operations[name];
  return deadlineMinutes * 60_000;
}

/** How long the answer to a request with an idempotency key is kept for its repetition, in milliseconds. */
const ANSWER_KEPT_MS = 60 * 60_000;
/** How many of them are kept; the oldest go first. */
const ANSWERS_KEPT = 500;

/** Who asked for an operation. Several are one when a request is repeated after a lost connection. */
export interface Asker {
  /** Aborted when the asker no longer wants it; a lost connection is no such wish. */
  readonly signal: AbortSignal;
  readonly idempotencyKey?: string | undefined;
  progress(progress: StepProgress): void;
}

/** How far an operation is. */
export interface StepProgress {
  readonly step: string;
  readonly isPastPointOfNoReturn: boolean;
  readonly partial?: unknown;
}

/** An operation that was asked for with a key: under way, or ended not long ago. */
export interface KeyedOperation {
  readonly operation: OperationName;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly latest: StepProgress | null;
  /** Null while it is under way. */
  readonly outcome: Outcome | null;
}

interface Running extends KeyedOperation {
  /** To tell a repetition from another request with the same key. */
  readonly request: string;
  readonly cancel: AbortController;
  /** Who is told how far it is. */
  readonly listeners: Set<Pick<Asker, 'progress'>>;
  result: Promise<unknown>;
  latest: StepProgress | null;
  outcome: Outcome | null;
  /** Forgets it in time. */
  forgetting: NodeJS.Timeout | undefined;
}

/** Finds the services that an operation needs; rejected with the reason when the host isn't ready for it. */
export type FindServices = <N extends OperationName>(name: N) => Promise<Pick<Services, N>>;

/** Runs operations for all doors: checks parameters, runs a repeated request once, tells who asks how far it is. */
export class Dispatcher {
  readonly #findServices: FindServices;
  readonly #log: Log;
  readonly #deadlineOf: (name: OperationName) => number;
  readonly #answers: KeptAnswers;
  readonly #onQuiet: () => void;
  readonly #running = new Set<Running>();
  readonly #byKey = new Map<string, Running>();
  readonly #whenQuiet: (() => void)[] = [];
  #count = 0;
  #refusal: string | null = null;

  /**
   * @param parts `deadlineOf`: after how many milliseconds an operation is cancelled; as the table says unless given.
   * `onQuiet`: called whenever the last operation under way has ended
   */
  constructor(parts: {
    findServices: FindServices;
    log: Log;
    answers: KeptAnswers;
    deadlineOf?: ((name: OperationName) => number) | undefined;
    onQuiet?: (() => void) | undefined;
  }) {
    this.#findServices = parts.findServices;
    this.#log = parts.log;
    this.#answers = parts.answers;
    this.#onQuiet = parts.onQuiet ?? (() => undefined);
    this.#deadlineOf = parts.deadlineOf ?? deadlineOf;
  }

  /** Takes over the answers that earlier daemons gave, so that what is repeated to this one doesn't run again. */
  takeOver(): void {
    for (const kept of this.#answers.load().sort((one, other) => one.startedAt - other.startedAt)) {
      const { operation, key } = kept;
      const outcome: Outcome = kept.outcome ?? {
        ok: false,
        failure: new ForkpointError('operation.interrupted', { operation }).toData(),
      };
      const result = outcome.ok
        ? Promise.resolve(outcome.result)
        : Promise.reject(ForkpointError.from(outcome.failure));
      result.catch(() => undefined);
      const cancel = new AbortController();
      const state = { cancel, listeners: new Set<Asker>(), result, latest: null, outcome };
      const running = { ...kept, ...state, forgetting: undefined };
      this.#byKey.set(key, running);
      this.#forgetLater(key, running, kept.endedAt ?? Date.now());
    }
  }

  /** The operations under way. */
  get running(): readonly string[] {
    return [...this.#running].map(({ operation }) => operation);
  }

  /** Refuses all further operations, those under way go on. */
  refuse(reason: string): void {
    this.#refusal = reason;
  }

  /** Resolves once no operation is under way. */
  quiet(): Promise<void> {
    return this.#running.size === 0
      ? Promise.resolve()
      : new Promise((resolve) => this.#whenQuiet.push(resolve));
  }

  /**
   * Runs an operation to its end, whatever becomes of the asker. Rejected with a `ForkpointError`.
   * @param input what the asker passed, unchecked
   */
  async call(operation: string, input: unknown, asker: Asker): Promise<unknown> {
    if (!isOperationName(operation)) {
      throw new ForkpointError('request.invalid', {
        problem: `there is no operation "${visible(operation)}"`,
      });
    }
    const params = checkParameters(operation, input);
    const request = createHash('sha256')
      .update(JSON.stringify([operation, params]))
      .digest('hex');
    const earlier = asker.idempotencyKey === undefined ? undefined : this.#byKey.get(asker.idempotencyKey);
    if (earlier !== undefined && earlier.request !== request) {
      throw new ForkpointError('request.keyReused');
    }
    if (earlier === undefined && this.#refusal !== null) {
      throw new ForkpointError('daemon.unreachable', { problem: this.#refusal });
    }
    const running = earlier ?? this.#start(operation, params, request, asker.idempotencyKey);
    return this.#attend(running, asker);
  }

  /** What was asked for with `key`; undefined when nothing was, or too long ago. */
  find(key: string): KeyedOperation | undefined {
    return this.#byKey.get(key);
  }

  /** Tells `listener` how far the operation is that was asked for with `key`, until the signal or its end. */
  async follow(
    key: string,
    listener: Pick<Asker, 'progress'>,
    signal: AbortSignal,
  ): Promise<KeyedOperation | undefined> {
    const running = this.#byKey.get(key);
    if (running === undefined) return undefined;
    running.listeners.add(listener);
    if (running.latest !== null) listener.progress(running.latest);
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    try {
      await Promise.race([running.result.catch(() => undefined), aborted]);
      return running;
    } finally {
      running.listeners.delete(listener);
    }
  }

  /** Asks the operation that was asked for with `key` to end; past its point of no return it goes on. */
  cancel(key: string): void {
    this.#byKey.get(key)?.cancel.abort(new ForkpointError('operation.cancelled'));
  }

  #start<N extends OperationName>(
    operation: N,
    params: Params<N>,
    request: string,
    key: string | undefined,
  ): Running {
    const number = (this.#count += 1);
    const label = `#${String(number)} ${operation}`;
    const started = performance.now();
    const running: Running = {
      operation,
      request,
      startedAt: Date.now(),
      cancel: new AbortController(),
      listeners: new Set(),
      result: Promise.resolve(),
      latest: null,
      outcome: null,
      forgetting: undefined,
    };
    const tell = (progress: StepProgress): void => {
      running.latest = progress;
      for (const listener of running.listeners) listener.progress(progress);
    };
    const call: Call = {
      signal: running.cancel.signal,
      progress: (step, isPastPointOfNoReturn = running.latest?.isPastPointOfNoReturn ?? false) => {
        this.#log.info(`${label}: ${step}`);
        tell({ step, isPastPointOfNoReturn });
      },
      partial: (partial) => tell({ step: '', isPastPointOfNoReturn: false, ...running.latest, partial }),
    };
    const deadlineMs = this.#deadlineOf(operation);
    const deadline = setTimeout(() => {
      const minutes = Math.round(deadlineMs / 60_000);
      running.cancel.abort(new ForkpointError('operation.timedOut', { operation, minutes }));
    }, deadlineMs).unref();
    const ms = (): string => `${String(Math.round(performance.now() - started))} ms`;

    this.#log.info(`${label}(${describeParameters(params)})`);
    this.#running.add(running);
    // Before it begins: a daemon that dies in the middle leaves a sign that it had.
    if (key !== undefined) this.#keep(key, running);
    running.result = this.#run(operation, params, call)
      .then(
        (result) => {
          this.#log.info(`${label} done, ${ms()}`);
          running.outcome = { ok: true, result };
          return result;
        },
        (error: unknown) => {
          const failure = ForkpointError.from(error);
          this.#log.warn(
            `${label} failed, ${ms()}: ${failure.message} (${failure.code}) ${failure.detail ?? ''}`,
          );
          if (failure.code === 'internal' && error instanceof Error) {
            for (const line of (error.stack ?? '').split('\n')) this.#log.error(line);
          }
          running.outcome = { ok: false, failure: failure.toData() };
          throw failure;
        },
      )
      .finally(() => {
        clearTimeout(deadline);
        this.#running.delete(running);
        if (key !== undefined) {
          this.#keep(key, running);
          this.#forgetLater(key, running, Date.now());
        }
        if (this.#running.size > 0) return;
        for (const resolve of this.#whenQuiet.splice(0)) resolve();
        this.#onQuiet();
      });
    // Askers see the failure; when all are gone nobody does, and it is in the log.
    running.result.catch(() => undefined);
    if (key !== undefined) this.#byKey.set(key, running);
    return running;
  }

  /** Keeps beyond this daemon's end what a repetition would be answered. A secret is not; it is made anew. */
  #keep(key: string, { operation, request, startedAt, outcome }: Running): void {
    if (operations[operation].effect === 'reads' || 'isSecret' in operations[operation]) return;
    const endedAt = outcome === null ? null : Date.now();
    const answer: KeptAnswer = { key, operation, request, startedAt, endedAt, outcome };
    this.#answers.save(answer);
  }

  #forgetLater(key: string, running: Running, endedAt: number): void {
    const forget = (forgotten: string): void => {
      // Else it would hold the answer for its hour, however many there are.
      clearTimeout(this.#byKey.get(forgotten)?.forgetting);
      this.#byKey.delete(forgotten);
      this.#answers.forget(forgotten);
    };
    running.forgetting = setTimeout(
      () => {
        if (this.#byKey.get(key) === running) forget(key);
      },
      Math.max(0, endedAt + ANSWER_KEPT_MS - Date.now()),
    ).unref();
    // A map goes through its keys in the order in which they came.
    for (const [oldest, { outcome }] of this.#byKey) {
      if (this.#byKey.size <= ANSWERS_KEPT) break;
      if (outcome !== null) forget(oldest);
    }
  }

  async #run<N extends OperationName>(operation: N, params: Params<N>, call: Call): Promise<Result<N>> {
    const services = await this.#findServices(operation);
    return services[operation](params, call);
  }

  async #attend(running: Running, asker: Asker): Promise<unknown> {
    const cancel = (): void => running.cancel.abort(new ForkpointError('operation.cancelled'));
    if (asker.signal.aborted) cancel();
    asker.signal.addEventListener('abort', cancel, { once: true });
    running.listeners.add(asker);
    if (running.latest !== null) asker.progress(running.latest);
    try {
      return await running.result;
    } finally {
      running.listeners.delete(asker);
      asker.signal.removeEventListener('abort', cancel);
    }
  }
}

/** Parameters fit for the log: what may hold secrets is counted, not shown. */
function describeParameters(params: Readonly<Record<string, unknown>>): string {
  return Object.entries(params)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${describeParameter(name, value)}`)
    .join(', ');
}

function describeParameter(name: string, value: unknown): string {
  if (name === 'env' && typeof value === 'object' && value !== null)
    return `{${Object.keys(value).join(', ')}}`;
  if (name === 'command' && Array.isArray(value)) return `${String(value.length)} words`;
  if (name === 'note' && typeof value === 'string') return `${String(value.length)} characters`;
  return JSON.stringify(value);
}

import type { Timing } from '../../protocol/operations.ts';
import { failureText } from '../host/failureText.ts';
import type { Log } from '../host/log.ts';
import type { Call } from './services.ts';

/**
 * Names the step after which the daemon ends itself by SIGKILL, as `OPERATION/STEP`, or before it, as
 * `OPERATION/STEP:before`: how the tests enumerate what a crash can leave. Set in the daemon's own environment only.
 */
const CRASH_AT = process.env['FORKPOINT_CRASH_AT'];

/** Of what nobody has asked for, so that nobody is told and nobody cancels it. */
export const UNATTENDED: Pick<Call, 'progress' | 'signal'> = {
  signal: new AbortController().signal,
  progress: () => undefined,
};

/** Runs the steps of one operation in order: tells the client, logs, and times each. */
export class Steps {
  readonly timing: Timing = [];
  private readonly started = performance.now();
  private isPastPointOfNoReturn = false;
  private lastFailed: string | null = null;

  /** The step that failed last, for some go on side by side; else the one that ended last. */
  get failedStep(): string | null {
    return this.lastFailed ?? this.timing.at(-1)?.step ?? null;
  }

  /** Whether {@link passPointOfNoReturn} was called. */
  get isPast(): boolean {
    return this.isPastPointOfNoReturn;
  }

  constructor(
    private readonly operation: string,
    private readonly subject: string,
    private readonly call: Pick<Call, 'progress' | 'signal'>,
    private readonly log: Log,
  ) {}

  /** Runs one step. Not begun when the client has cancelled and the point of no return lies ahead. */
  async run<T>(step: string, work: () => T | Promise<T>): Promise<T> {
    if (!this.isPastPointOfNoReturn) this.call.signal.throwIfAborted();
    this.call.progress(step, this.isPastPointOfNoReturn);
    this.crash(`${step}:before`);
    const begun = performance.now();
    try {
      const result = await work();
      const ms = this.note(step, begun);
      this.log.info(`${this.operation} ${this.subject}: ${step}, ${String(ms)} ms`);
      return result;
    } catch (error) {
      this.lastFailed = step;
      const ms = this.note(step, begun);
      const problem = failureText(error);
      this.log.error(`${this.operation} ${this.subject}: ${step} failed after ${String(ms)} ms: ${problem}`);
      throw error;
    } finally {
      this.crash(step);
    }
  }

  /** From here on a cancellation is not heeded. */
  passPointOfNoReturn(): void {
    this.isPastPointOfNoReturn = true;
  }

  /** Milliseconds since the operation began. */
  get totalMs(): number {
    return round(performance.now() - this.started);
  }

  private note(step: string, begun: number): number {
    const ms = round(performance.now() - begun);
    this.timing.push({ step, ms });
    return ms;
  }

  private crash(point: string): void {
    if (CRASH_AT === `${this.operation}/${point}`) process.kill(process.pid, 'SIGKILL');
  }
}

/** To a tenth of a millisecond. */
export function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}

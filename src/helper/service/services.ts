import type { OperationName, Params, Result } from '../../protocol/operations.ts';

/** What a running operation can tell and be told. */
export interface Call {
  /** Aborted when the client cancels; a service stops listening to it at its point of no return. */
  readonly signal: AbortSignal;
  /** Tells the client that a step began. */
  progress(step: string, isPastPointOfNoReturn?: boolean): void;
  /** Tells the client what is known of the result so far. */
  partial(result: unknown): void;
}

/** One function for each operation of the table; the doors call nothing else. Failures are `ForkpointError`s. */
export type Services = {
  readonly [N in OperationName]: (params: Params<N>, call: Call) => Promise<Result<N>>;
};

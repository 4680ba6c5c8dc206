import { ForkpointError } from '../../protocol/errors.ts';

/** Why `signal` was aborted: as it says itself, or because the client no longer wants it. */
export function cancellationOf(signal: AbortSignal | undefined): ForkpointError {
  const reason: unknown = signal?.reason;
  return reason instanceof ForkpointError ? reason : new ForkpointError('operation.cancelled');
}

/** Rejects with {@link cancellationOf} once `signal` is aborted, or settles as `work` does before. */
export async function unlessCancelled<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw cancellationOf(signal);
  let abandon: () => void = () => undefined;
  const cancelled = new Promise<never>((_, reject) => {
    abandon = () => reject(cancellationOf(signal));
    signal.addEventListener('abort', abandon, { once: true });
  });
  try {
    return await Promise.race([work, cancelled]);
  } finally {
    signal.removeEventListener('abort', abandon);
  }
}

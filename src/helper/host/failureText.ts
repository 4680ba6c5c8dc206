import { ForkpointError } from '../../protocol/errors.ts';

/** What a failure says, for a line of the log: its text, and where a command failed the last lines of its stderr. */
export function failureText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const detail = error instanceof ForkpointError ? error.detail : null;
  return [error.message, ...(detail?.split('\n') ?? [])].join(' | ');
}

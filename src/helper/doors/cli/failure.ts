import { errorTexts, fill, type ErrorArguments, type ForkpointError } from '../../../protocol/errors.ts';
import { visible } from '../../../protocol/names.ts';
import type { OperationName, Result } from '../../../protocol/operations.ts';
import { formatBytes } from './units.ts';

/** Exit statuses of the command line. */
export const SUCCEEDED = 0;
export const FAILED = 1;
export const MISUSED = 2;

/** A failure as lines for a person: the text and code, the detail indented, the hint. */
export function describeFailure(failure: ForkpointError): string {
  const { text, hint } = errorTexts[failure.code];
  const lines = [`forkpoint: ${fillForPeople(text, failure.args)} (${failure.code})`];
  for (const line of failure.detail?.split('\n') ?? []) lines.push(`  ${visible(line)}`);
  if (hint !== '') lines.push(`Hint: ${fillForPeople(hint, failure.args)}`);
  return `${lines.join('\n')}\n`;
}

/** A failure as one JSON object for a program. */
export function failureAsJson(failure: ForkpointError): string {
  return `${JSON.stringify({ ...failure.toData(), message: failure.message, hint: failure.hint })}\n`;
}

/** Whether the caller's own words were wrong, rather than something having failed. */
export function exitStatusOf(failure: ForkpointError): number {
  return failure.code === 'request.invalid' || failure.code === 'name.invalid' ? MISUSED : FAILED;
}

/** Whether all was done that was asked for. A fork that failed is part of the result, beside those that did not. */
export function exitStatusOfResult(operation: OperationName, result: unknown): number {
  if (operation !== 'containers/copy') return SUCCEEDED;
  return (result as Result<'containers/copy'>).every(({ ok }) => ok) ? SUCCEEDED : FAILED;
}

function fillForPeople(text: string, args: ErrorArguments): string {
  const withSizes = text.replace(/\{(\w*bytes)\}(?: bytes)?/gi, (whole, name: string) => {
    const value = args[name];
    return typeof value === 'number' ? formatBytes(value) : whole;
  });
  const shown = Object.fromEntries(
    Object.entries(args).map(([name, value]) => [name, typeof value === 'string' ? visible(value) : value]),
  );
  return fill(withSizes, shown);
}

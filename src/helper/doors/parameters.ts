import type * as z from 'zod';
import { ForkpointError } from '../../protocol/errors.ts';
import { NAME_PATTERN, visible } from '../../protocol/names.ts';
import { operations, type OperationName, type Params } from '../../protocol/operations.ts';

/** How much of a wrong name is shown. */
const SHOWN_CHARACTERS = 80;

/**
 * Checks what a caller passed against the table, and fills in the defaults. Parameters that the table doesn't know
 * are refused: a caller that is newer than this helper must not believe that they were heeded.
 * @param spell what the caller's door calls a parameter, for the failure's text
 * @throws `name.invalid` when a name breaks the rule for names, else `request.invalid`
 */
export function checkParameters<N extends OperationName>(
  name: N,
  input: unknown,
  spell: (parameter: string) => string = (parameter) => parameter,
): Params<N> {
  const checked = operations[name].params.strict().safeParse(input ?? {});
  // The schema of `name` made it, which the compiler can't follow through the union of all rows.
  if (checked.success) return checked.data as Params<N>;
  const [issue] = checked.error.issues;
  if (issue === undefined) throw new ForkpointError('request.invalid', { problem: 'unknown' });
  const value = valueAt(input, issue.path);
  if (
    issue.code === 'invalid_format' &&
    issue.pattern === String(NAME_PATTERN) &&
    typeof value === 'string'
  ) {
    throw new ForkpointError('name.invalid', { name: visible(value.slice(0, SHOWN_CHARACTERS)) });
  }
  throw new ForkpointError('request.invalid', {
    problem: checked.error.issues.map((one) => describe(one, spell)).join('; '),
  });
}

function describe(issue: z.core.$ZodIssue, spell: (parameter: string) => string): string {
  const place = issue.path.map((step) => visible(spell(String(step)))).join('.');
  if (issue.code === 'unrecognized_keys') {
    return `there is no parameter ${issue.keys.map((key) => `"${visible(key)}"`).join(', ')}`;
  }
  const message = issue.message.replace(/^Invalid input: /, '');
  return place === '' ? message : `"${place}": ${message}`;
}

function valueAt(input: unknown, place: readonly PropertyKey[]): unknown {
  let value = input;
  for (const step of place) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = Reflect.get(value, step);
  }
  return value;
}

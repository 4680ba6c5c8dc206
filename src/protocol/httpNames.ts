import * as z from 'zod';
import { ForkpointError } from './errors.ts';
import { visible } from './visible.ts';

/** How much of a wrong name is shown. */
const SHOWN_CHARACTERS = 80;

/** The JSON name of a parameter or field: `snapshotCount` is `snapshot_count`. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Gives a value of `schema` its JSON names. Keys of records are data, and stay. */
export function toJsonNames(schema: z.core.$ZodType, value: unknown): unknown {
  return rename(schema, value, { before: (name) => name, after: snakeCase, unknown: (name) => name });
}

/**
 * Gives what came as JSON the names that `schema` has.
 * @param names JSON names of fields of `schema` itself that are called otherwise than in snake_case
 * @throws `request.invalid` for a field that it doesn't have: the caller must not believe that it was heeded
 */
export function fromJsonNames(
  schema: z.ZodObject,
  value: unknown,
  names: Readonly<Record<string, string>> = {},
): unknown {
  return rename(
    schema,
    value,
    {
      before: snakeCase,
      after: (name) => name,
      unknown: (name) => {
        throw new ForkpointError('request.invalid', {
          problem: `there is no parameter "${visible(name.slice(0, SHOWN_CHARACTERS))}"`,
        });
      },
    },
    names,
  );
}

/** What the fields of a schema are called before and after, and what is done with those that it doesn't have. */
interface Spelling {
  before(name: string): string;
  after(name: string): string;
  unknown(name: string): string;
}

function rename(
  schema: z.core.$ZodType,
  value: unknown,
  spelling: Spelling,
  names: Readonly<Record<string, string>> = {},
): unknown {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodReadonly
  ) {
    return rename(schema.def.innerType, value, spelling);
  }
  if (schema instanceof z.ZodArray && Array.isArray(value)) {
    return (value as readonly unknown[]).map((element) => rename(schema.def.element, element, spelling));
  }
  if (!(schema instanceof z.ZodObject) || typeof value !== 'object' || value === null || Array.isArray(value))
    return value;
  const fields = new Map(
    Object.entries(schema.shape as Readonly<Record<string, z.core.$ZodType>>).map(([name, field]) => [
      names[name] ?? spelling.before(name),
      { name: spelling.after(name), field },
    ]),
  );
  return Object.fromEntries(
    Object.entries(value as Readonly<Record<string, unknown>>).map(([name, content]) => {
      const known = fields.get(name);
      return known === undefined
        ? [spelling.unknown(name), content]
        : [known.name, rename(known.field, content, spelling)];
    }),
  );
}

import { InvalidArgumentError } from 'commander';
import * as path from 'node:path';
import * as z from 'zod';
import { PublishedPortSchema, VolumeSchema } from '../../../protocol/workspace.ts';
import { parseBytes } from './units.ts';

/** How a parameter of the table is written on the command line. */
export interface Spelling {
  readonly name: string;
  readonly description: string;
  readonly isRequired: boolean;
  readonly isNullable: boolean;
  readonly defaultValue: unknown;
  /** What stands for the value in the help; null for a flag, which takes none. */
  readonly placeholder: string | null;
  readonly choices: readonly string[] | null;
  /** Given several times, the values are collected; `earlier` is what they have made so far. */
  readonly parse: (text: string, earlier: unknown) => unknown;
}

/** Parameters that are paths of the host, which a person gives relative to where they are. */
const pathParameters: ReadonlySet<string> = new Set(['rootfs', 'tls']);

/** Reads from its schema how a parameter is written. */
export function spell(name: string, schema: z.ZodType): Spelling {
  const { inner, isOptional, isNullable, defaultValue, description } = unwrap(schema);
  const shared = { name, description, isRequired: !isOptional, isNullable, defaultValue, choices: null };
  if (inner instanceof z.ZodBoolean) return { ...shared, placeholder: null, parse: () => true };
  if (inner instanceof z.ZodEnum) {
    return {
      ...shared,
      placeholder: placeholderOf(name),
      choices: inner.options.map(String),
      parse: (text) => text,
    };
  }
  if (inner instanceof z.ZodNumber) {
    return /(^s|S)ize$|Bytes$/.test(name)
      ? { ...shared, placeholder: 'size', parse: readBytes }
      : { ...shared, placeholder: placeholderOf(name), parse: readNumber };
  }
  if (inner instanceof z.ZodRecord) return { ...shared, placeholder: 'k=v', parse: collectAssignment };
  if (inner instanceof z.ZodTuple) {
    // Commander reads the words of an option that ends with "...>" one by one.
    const parse = collect((text) => (pathParameters.has(name) ? path.resolve(text) : text));
    return { ...shared, placeholder: placeholderOf(name), parse };
  }
  if (inner instanceof z.ZodArray) {
    const element: unknown = inner.element;
    if (element instanceof z.ZodEnum) return { ...shared, placeholder: 'list', parse: collectList };
    if (element === VolumeSchema) return { ...shared, placeholder: 'name:/path', parse: collect(readVolume) };
    if (element === PublishedPortSchema)
      return { ...shared, placeholder: '[ip:]host:container', parse: collect(readPort) };
    return { ...shared, placeholder: placeholderOf(name), parse: collect((text) => text) };
  }
  if (pathParameters.has(name))
    return { ...shared, placeholder: 'path', parse: (text) => path.resolve(text) };
  return { ...shared, placeholder: placeholderOf(name), parse: (text) => text };
}

/** `withSnapshots` as the option `--with-snapshots`. */
export function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

interface Unwrapped {
  inner: z.ZodType;
  isOptional: boolean;
  isNullable: boolean;
  defaultValue: unknown;
  description: string;
}

/** Takes `optional`, `nullable` and `default` off; the outermost description counts. */
function unwrap(schema: z.ZodType): Unwrapped {
  const layers = { isOptional: false, isNullable: false, defaultValue: undefined as unknown };
  let inner = schema;
  let description = schema.description;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodNullable || inner instanceof z.ZodDefault) {
    if (inner instanceof z.ZodNullable) layers.isNullable = true;
    else layers.isOptional = true;
    if (inner instanceof z.ZodDefault) layers.defaultValue = inner.def.defaultValue;
    // The core's type of an inner schema is what classic Zod made it.
    inner = inner.unwrap() as z.ZodType;
    description ??= inner.description;
  }
  return { inner, ...layers, description: description ?? '' };
}

const placeholders: Readonly<Record<string, string>> = {
  container: 'id',
  name: 'name',
  expiry: 'days',
  timeout: 'seconds',
  note: 'text',
  tls: 'cert> <key...',
  listen: 'place',
};

function placeholderOf(name: string): string {
  return placeholders[name] ?? kebabCase(name);
}

function readNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It is not a number.');
  return value;
}

function readBytes(text: string): number {
  const bytes = parseBytes(text);
  if (bytes === null)
    throw new InvalidArgumentError('Give a size such as 8GiB, 512MiB or a number of bytes.');
  return bytes;
}

function readVolume(text: string): { name: string; path: string } {
  const [, name, inside] = /^([^:]+):(\/.*)$/.exec(text) ?? [];
  if (name === undefined || inside === undefined) throw new InvalidArgumentError('Give it as NAME:/path.');
  return { name, path: inside };
}

function readPort(text: string): { ip?: string; hostPort: number; containerPort: number } {
  const [, bracketed, plain, host, container] =
    /^(?:(?:\[([^\]]+)\]|([\d.]+)):)?(\d+):(\d+)$/.exec(text) ?? [];
  if (host === undefined || container === undefined) {
    throw new InvalidArgumentError(
      'Give it as HOST:CONTAINER or IP:HOST:CONTAINER, an IPv6 address in brackets.',
    );
  }
  const ip = bracketed ?? plain;
  return { ...(ip === undefined ? {} : { ip }), hostPort: Number(host), containerPort: Number(container) };
}

function collectAssignment(text: string, earlier: unknown): Record<string, string> {
  const equals = text.indexOf('=');
  if (equals < 1) throw new InvalidArgumentError('Give it as NAME=VALUE.');
  return {
    ...(earlier as Record<string, string> | undefined),
    [text.slice(0, equals)]: text.slice(equals + 1),
  };
}

function collectList(text: string, earlier: unknown): unknown[] {
  const words = text.split(',').map((word) => word.trim());
  return [...(Array.isArray(earlier) ? (earlier as unknown[]) : []), ...words];
}

function collect(read: (text: string) => unknown): (text: string, earlier: unknown) => unknown[] {
  return (text, earlier) => [...(Array.isArray(earlier) ? (earlier as unknown[]) : []), read(text)];
}

import type * as z from 'zod';
import { ForkpointError } from '../../../protocol/errors.ts';
import { fromJsonNames, snakeCase } from '../../../protocol/httpNames.ts';
import { API_BASE, routes, type Method, type Route } from '../../../protocol/httpRoutes.ts';
import { visible } from '../../../protocol/names.ts';
import { operations } from '../../../protocol/operations.ts';
import { RequestFailure } from './problem.ts';

/** Routes of one path, and what its parameters are in the request. */
export interface Match {
  /** Those with the request's method; several are told apart by the body. */
  readonly routes: readonly [Route, ...Route[]];
  readonly path: Readonly<Record<string, string>>;
}

interface Pattern {
  readonly path: string;
  readonly matches: RegExp;
  readonly routes: Route[];
}

const patterns: readonly Pattern[] = [...new Set(routes.map(({ path }) => path))].map((path) => ({
  path,
  matches: new RegExp(`^${API_BASE}${path.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`),
  routes: routes.filter((route) => route.path === path),
}));

/**
 * Finds the routes of a request.
 * @param path of the request's URL, still percent-encoded
 * @throws {RequestFailure} 404, 405
 */
export function matchRoute(method: string, path: string): Match {
  for (const pattern of patterns) {
    const found = pattern.matches.exec(path);
    if (found === null) continue;
    const [first, ...others] = pattern.routes.filter((route) => route.method === method);
    if (first === undefined) throw wrongMethod(pattern.routes.map((route) => route.method));
    const parameters = Object.entries(found.groups ?? {}).map(([name, text]) => [name, decode(text)]);
    return {
      routes: [first, ...others],
      path: Object.fromEntries(parameters) as Readonly<Record<string, string>>,
    };
  }
  throw new RequestFailure(
    new ForkpointError('request.invalid', { problem: `there is no "${visible(path.slice(0, 200))}"` }),
    404,
  );
}

/** The failure of a request whose path has other methods. */
export function wrongMethod(methods: readonly Method[]): RequestFailure {
  const allowed = [...new Set(methods)].join(', ');
  return new RequestFailure(
    new ForkpointError('request.invalid', { problem: `this path has the methods ${allowed}` }),
    405,
    { allow: allowed },
  );
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ForkpointError('request.invalid', { problem: 'its path is not percent-encoded UTF-8' });
  }
}

/**
 * Chooses the route that the body means.
 * @throws `request.invalid` when it means none, or several
 */
export function chooseRoute(
  { routes: candidates }: Match,
  body: Readonly<Record<string, unknown>>,
): { readonly route: Route; readonly fields: Readonly<Record<string, unknown>> } {
  const [first] = candidates;
  if (first.chosenBy === undefined) return { route: first, fields: body };
  const chosen = candidates.filter(({ chosenBy }) => {
    if (chosenBy === undefined) return false;
    return chosenBy.value === undefined
      ? Object.hasOwn(body, chosenBy.field)
      : body[chosenBy.field] === chosenBy.value;
  });
  const [route] = chosen;
  if (route?.chosenBy === undefined || chosen.length > 1) {
    const choices = candidates.map(({ chosenBy }) =>
      chosenBy?.value === undefined ? String(chosenBy?.field) : `${chosenBy.field}: "${chosenBy.value}"`,
    );
    throw new ForkpointError('request.invalid', { problem: `give one of ${choices.join(', ')}` });
  }
  const { field, value } = route.chosenBy;
  const fields = Object.entries(body).filter(([name]) => value === undefined || name !== field);
  return { route, fields: Object.fromEntries(fields) };
}

/**
 * The operation's parameters, from the path and the fields of the body or the query, not yet checked against the table.
 * @throws `request.invalid` for a field that the operation doesn't have, or that the path gives already
 */
export function parametersOf(
  route: Route,
  path: Readonly<Record<string, string>>,
  fields: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const { params } = operations[route.operation];
  const named = fromJsonNames(params, fields, route.names) as Readonly<Record<string, unknown>>;
  const twice = Object.keys(named).find((name) => Object.hasOwn(path, name));
  if (twice !== undefined) {
    throw new ForkpointError('request.invalid', { problem: `"${twice}" is given by the path` });
  }
  return { ...named, ...path };
}

/**
 * Reads a query as fields: flags and numbers by what the operation takes.
 * @throws `request.invalid` when one is given twice
 */
export function queryFields(route: Route, query: URLSearchParams): Readonly<Record<string, unknown>> {
  const shape: Readonly<Record<string, z.ZodType>> = operations[route.operation].params.shape;
  const fields = new Map<string, unknown>();
  for (const [name, text] of query) {
    if (fields.has(name))
      throw new ForkpointError('request.invalid', {
        problem: `"${visible(name.slice(0, 80))}" is given twice`,
      });
    const known = Object.entries(shape).find(([parameter]) => jsonName(route, parameter) === name);
    fields.set(name, known === undefined ? text : readText(known[1], text));
  }
  // An assignment would take "__proto__" for something else than a name.
  return Object.fromEntries(fields);
}

/** What HTTP calls a parameter of a route's operation. */
export function jsonName(route: Route, parameter: string): string {
  return route.names?.[parameter] ?? snakeCase(parameter);
}

function readText(schema: z.ZodType, text: string): unknown {
  if (schema.safeParse(text).success) return text;
  if (text === 'true' || text === 'false') return text === 'true';
  return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text);
}

/** Fills `{…}` of a route's location from the request's parameters and the JSON of its result; null where one is missing. */
export function locationOf(
  route: Route,
  params: Readonly<Record<string, unknown>>,
  result: unknown,
): string | null {
  let isWhole = route.location !== undefined;
  const location = route.location?.replace(/\{([\w.]+)\}/g, (_, place: string) => {
    const value = valueAt(result, place.split('.')) ?? params[place];
    if (typeof value !== 'string') isWhole = false;
    return encodeURIComponent(String(value));
  });
  return isWhole && location !== undefined ? API_BASE + location : null;
}

function valueAt(value: unknown, steps: readonly string[]): unknown {
  let inner = value;
  for (const step of steps) {
    if (typeof inner !== 'object' || inner === null) return undefined;
    inner = Reflect.get(inner, step);
  }
  return inner;
}

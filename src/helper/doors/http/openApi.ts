import * as z from 'zod';
import { snakeCase } from '../../../protocol/httpNames.ts';
import { API_BASE, routes, type Route } from '../../../protocol/httpRoutes.ts';
import { ForkSchema, operations, PreviewSchema } from '../../../protocol/operations.ts';
import { CaptureSchema, SnapshotSchema, SnapshotSummarySchema } from '../../../protocol/snapshot.ts';
import { PoolSchema, WorkspaceSchema } from '../../../protocol/workspace.ts';
import { JobSchema, ProblemSchema } from './jobs.ts';
import { DEFAULT_WAIT_SECONDS, MAXIMUM_WAIT_SECONDS } from './prefer.ts';
import { jsonName } from './routing.ts';

type Json = Readonly<Record<string, unknown>>;

/** Schemas that the document names; all others stand where they are used. */
const components = {
  Workspace: WorkspaceSchema,
  Fork: ForkSchema,
  Snapshot: SnapshotSchema,
  SnapshotSummary: SnapshotSummarySchema,
  Capture: CaptureSchema,
  Preview: PreviewSchema,
  Pool: PoolSchema,
  Job: JobSchema,
  Problem: ProblemSchema,
} as const;

const description = `Snapshots, restores and forks of the workspaces of one host.

What changes something is waited for: ${String(DEFAULT_WAIT_SECONDS)} s, or as long as "Prefer: wait=N" says (at most
${String(MAXIMUM_WAIT_SECONDS)} s), or not at all with "Prefer: respond-async". What is not done by then is answered
by 202 with the Location of a job to poll or to follow as server-sent events.

With an Idempotency-Key a request that is repeated runs once and gets the same answer, for an hour.`;

let document: Json | null = null;

/** The OpenAPI 3.1 document of the HTTP API, made from the table of operations and the routes. */
export function openApiDocument(version: string): Json {
  document ??= {
    openapi: '3.1.0',
    info: { title: 'Forkpoint', version, description, license: { name: 'MIT', identifier: 'MIT' } },
    servers: [{ url: API_BASE }],
    security: [{ token: [] }],
    paths: { ...operationPaths(), ...jobPaths },
    components: {
      schemas: namedSchemas(),
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'Made by "forkpoint api token create"' },
      },
      responses: {
        Problem: {
          description: 'It failed; "code" says how',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
        Accepted: {
          description: 'It is under way',
          headers: { Location: { description: 'The job', schema: { type: 'string' } } },
          content: jsonContent({ $ref: '#/components/schemas/Job' }),
        },
      },
    },
  };
  return document;
}

function operationPaths(): Json {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = (paths[route.path] ??= {});
    const method = route.method.toLowerCase();
    path[method] ??= operationOf(
      routes.filter((one) => one.path === route.path && one.method === route.method),
    );
  }
  return paths;
}

/** The routes of one method and path, which the body tells apart, are one operation of the document. */
function operationOf(same: readonly Route[]): Json {
  const [first] = same;
  if (first === undefined) return {};
  const isChange = operations[first.operation].effect !== 'reads';
  const takesBody = first.method === 'POST' || first.method === 'PATCH';
  const inPath = [...first.path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  const bodies = same.map((route) => bodySchema(route, inPath));
  const needsBody = bodies.some(({ required }) => Array.isArray(required) && required.length > 0);
  const results = same.map(({ operation }) => schemaOf(operations[operation].result, 'output'));
  return {
    operationId: same.map(({ operation }) => operation.replace('/', '_')).join('_or_'),
    summary: same.map(({ operation }) => operations[operation].description).join('; or: '),
    description: `Takes a token that may "${first.verb}".`,
    parameters: [
      ...inPath.map((name) => parameter('path', name, schemaOfParameter(first, name), true)),
      ...(takesBody ? [] : queryParameters(first, inPath)),
      ...(isChange ? changeHeaders : []),
    ],
    ...(takesBody ? { requestBody: { required: needsBody, content: jsonContent(oneOf(bodies)) } } : {}),
    responses: {
      [first.location === undefined ? '200' : '201']: {
        description: 'Done',
        ...(first.location === undefined
          ? {}
          : { headers: { Location: { description: 'What was made', schema: { type: 'string' } } } }),
        content: jsonContent(oneOf(results)),
      },
      ...(isChange ? { 202: { $ref: '#/components/responses/Accepted' } } : {}),
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

function bodySchema(route: Route, inPath: readonly string[]): Json {
  const whole = schemaOf(operations[route.operation].params, 'input', route.names);
  const left = inPath.map((name) => jsonName(route, name));
  const properties = Object.entries((whole['properties'] ?? {}) as Json).filter(
    ([name]) => !left.includes(name),
  );
  const required = ((whole['required'] ?? []) as string[]).filter((name) => !left.includes(name));
  const { field, value } = route.chosenBy ?? {};
  if (field !== undefined && value !== undefined) {
    properties.unshift([field, { const: value }]);
    required.unshift(field);
  }
  return {
    type: 'object',
    properties: Object.fromEntries(properties),
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
  };
}

function queryParameters(route: Route, inPath: readonly string[]): Json[] {
  return Object.keys(operations[route.operation].params.shape)
    .filter((name) => !inPath.includes(name))
    .map((name) => parameter('query', jsonName(route, name), schemaOfParameter(route, name), false));
}

function schemaOfParameter({ operation }: Route, name: string): Json {
  const shape: Readonly<Record<string, z.ZodType>> = operations[operation].params.shape;
  return schemaOf(shape[name] ?? z.string(), 'input');
}

function parameter(place: string, name: string, schema: Json, required: boolean): Json {
  const { description: text, ...rest } = schema;
  return { name, in: place, required, ...(text === undefined ? {} : { description: text }), schema: rest };
}

const changeHeaders = [
  parameter('header', 'Idempotency-Key', { type: 'string', minLength: 1, maxLength: 255 }, false),
  parameter('header', 'Prefer', { type: 'string', examples: ['wait=300', 'respond-async'] }, false),
];

const jobParameter = parameter('path', 'job', { type: 'string' }, true);
const jobResponse = {
  description: 'The job',
  content: jsonContent({ $ref: '#/components/schemas/Job' }),
};
const problemResponse = { $ref: '#/components/responses/Problem' };

/** Jobs are no operations of the table: they are how HTTP shows one that takes long. */
const jobPaths: Json = {
  '/jobs/{job}': {
    get: {
      operationId: 'jobs_show',
      summary: 'Show how far an operation is that this token asked for, or how it ended',
      parameters: [jobParameter],
      responses: { 200: jobResponse, default: problemResponse },
    },
    delete: {
      operationId: 'jobs_cancel',
      summary: 'Ask an operation to end; past its point of no return it goes on',
      parameters: [jobParameter],
      responses: { 202: jobResponse, default: problemResponse },
    },
  },
  '/jobs/{job}/events': {
    get: {
      operationId: 'jobs_follow',
      summary: 'Follow the steps of an operation: "step" events, then "done" or "failed" with the job',
      parameters: [jobParameter],
      responses: {
        200: {
          description: 'Server-sent events',
          content: { 'text/event-stream': { schema: { type: 'string' } } },
        },
        default: problemResponse,
      },
    },
  },
};

function namedSchemas(): Json {
  return Object.fromEntries(
    Object.entries(components).map(([name, schema]) => [name, converted(schema, 'output', undefined, name)]),
  );
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output', names?: Route['names']): Json {
  return converted(schema, io, names);
}

/**
 * JSON Schema of a Zod schema, with JSON names; named schemas inside it become references.
 * @param except the named schema that is spelled out
 */
function converted(schema: z.ZodType, io: 'input' | 'output', names: Route['names'], except?: string): Json {
  const registry = z.registry<{ id?: string; description?: string }>();
  for (const [name, named] of Object.entries(components)) {
    if (name !== except && (io === 'output' || named !== schema)) registry.add(named, { id: name });
  }
  const made = z.toJSONSchema(schema, {
    io,
    target: 'draft-2020-12',
    unrepresentable: 'any',
    metadata: {
      get: (one: z.core.$ZodType) => ({ ...z.globalRegistry.get(one), ...registry.get(one) }),
      has: (one: z.core.$ZodType) => z.globalRegistry.has(one) || registry.has(one),
    } as unknown as typeof registry,
  });
  return withJsonNames(made, io, names) as Json;
}

/** Renames properties, points references to the document's components, and lets results have more than is named. */
function withJsonNames(schema: unknown, io: 'input' | 'output', names?: Route['names']): unknown {
  if (Array.isArray(schema)) return schema.map((one) => withJsonNames(one, io));
  if (typeof schema !== 'object' || schema === null) return schema;
  const renamed = (name: string): string => names?.[name] ?? snakeCase(name);
  return Object.fromEntries(
    Object.entries(schema).flatMap(([key, value]): [string, unknown][] => {
      switch (key) {
        case 'properties':
          return [
            [
              key,
              Object.fromEntries(
                Object.entries(value as Json).map(([name, one]) => [renamed(name), withJsonNames(one, io)]),
              ),
            ],
          ];
        case 'required':
          return [[key, (value as string[]).map(renamed)]];
        case '$ref':
          return [[key, String(value).replace('#/$defs/', '#/components/schemas/')]];
        case 'additionalProperties':
          return io === 'output' && value === false ? [] : [[key, withJsonNames(value, io)]];
        // The document says once which JSON Schema it is, and holds the named schemas itself; an id is a schema's name.
        case '$schema':
        case '$defs':
        case 'id':
          return [];
        case 'default':
        case 'enum':
        case 'const':
          return [[key, value]];
        default:
          return [[key, withJsonNames(value, io)]];
      }
    }),
  );
}

function oneOf(schemas: readonly Json[]): Json {
  const different = [...new Map(schemas.map((schema) => [JSON.stringify(schema), schema])).values()];
  const [only] = different;
  return different.length === 1 && only !== undefined ? only : { oneOf: different };
}

function jsonContent(schema: Json): Json {
  return { 'application/json': { schema } };
}

import type { IncomingMessage, ServerResponse } from 'node:http';
import { ForkpointError } from '../../../protocol/errors.ts';
import type { ApiToken, ApiVerb } from '../../../protocol/httpAccess.ts';
import { snakeCase, toJsonNames } from '../../../protocol/httpNames.ts';
import { API_BASE, type Route } from '../../../protocol/httpRoutes.ts';
import { operations, type Fork, type Result } from '../../../protocol/operations.ts';
import { visible } from '../../../protocol/visible.ts';
import type { Log } from '../../host/log.ts';
import type { ApiGuard } from '../../service/api.ts';
import type { Dispatcher } from '../dispatcher.ts';
import { checkParameters } from '../parameters.ts';
import { findJob, jobId, jobJson } from './jobs.ts';
import { openApiDocument } from './openApi.ts';
import { readPreference } from './prefer.ts';
import { problemOf, RequestFailure } from './problem.ts';
import { RateLimit } from './rateLimit.ts';
import { readBody } from './readBody.ts';
import { chooseRoute, locationOf, matchRoute, parametersOf, queryFields, wrongMethod } from './routing.ts';

/** Requests of one token. */
const TOKEN_RATE = { burst: 100, perSecond: 10 };
/** Requests without a valid token, from one address. A valid one is let in whatever others try. */
const FAILURE_RATE = { burst: 10, perSecond: 0.2 };
/** How often an event stream says that it is alive, in milliseconds: proxies end silent ones. */
const HEARTBEAT_MS = 15_000;
/** What a client that reads no events may pile up, in bytes. */
const MAXIMUM_UNREAD_BYTES = 1024 * 1024;
/** When to try a daemon again that is about to be replaced, in seconds. */
const RESTART_SECONDS = 2;

/** What answering takes. */
export interface AnswerParts {
  readonly dispatcher: Dispatcher;
  readonly log: Log;
  readonly guard: ApiGuard;
  /** Whether a Host header is meant for us. */
  readonly isOwnHost: (host: string | undefined) => boolean;
  /** Of the helper. */
  readonly version: string;
  /** Aborted when the daemon ends: streams end. */
  readonly ending: AbortSignal;
}

/** One request on its way. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly token: ApiToken;
  readonly url: URL;
}

/** Answers the requests of the HTTP API. */
export class Answers {
  readonly #parts: AnswerParts;
  readonly #tokenLimit = new RateLimit(TOKEN_RATE);
  readonly #failureLimit = new RateLimit(FAILURE_RATE);

  constructor(parts: AnswerParts) {
    this.#parts = parts;
  }

  /** Answers one request, whatever it is. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const started = performance.now();
    let who = 'no token';
    try {
      const url = urlOf(request);
      this.#requireOwnHost(request);
      if (url.pathname === `${API_BASE}/openapi.json`) {
        if (request.method !== 'GET') throw wrongMethod(['GET']);
        sendJson(response, 200, openApiDocument(this.#parts.version));
      } else {
        const token = this.#authenticate(request);
        who = `token ${token.id}`;
        await this.#dispatch({ request, response, token, url });
      }
    } catch (error) {
      this.#fail(response, error);
    }
    const line = `http ${visible(request.method ?? '')} ${visible(pathOf(request))}: ${String(response.statusCode)}, ${who}, ${String(Math.round(performance.now() - started))} ms`;
    if (request.method === 'GET') this.#parts.log.debug(line);
    else this.#parts.log.info(line);
  }

  #requireOwnHost(request: IncomingMessage): void {
    if (this.#parts.isOwnHost(request.headers.host)) return;
    const problem = 'its Host header names another host';
    throw new RequestFailure(new ForkpointError('request.invalid', { problem }), 421);
  }

  #authenticate(request: IncomingMessage): ApiToken {
    const [, text] = /^Bearer ([^\s]{1,256})$/i.exec(request.headers.authorization ?? '') ?? [];
    const token = text === undefined ? null : this.#parts.guard.token(text);
    if (token === null) {
      const seconds = this.#failureLimit.take(request.socket.remoteAddress ?? 'unix');
      if (seconds > 0) throw tooMany(seconds);
      throw new RequestFailure(new ForkpointError('api.unauthorized'), 401, {
        'www-authenticate': 'Bearer realm="forkpoint"',
      });
    }
    const seconds = this.#tokenLimit.take(token.id);
    if (seconds > 0) throw tooMany(seconds);
    return token;
  }

  async #dispatch(exchange: Exchange): Promise<void> {
    const [, id, events] = /^\/api\/v1\/jobs\/([^/]+)(\/events)?$/.exec(exchange.url.pathname) ?? [];
    if (id !== undefined) await this.#answerJob(exchange, id, events !== undefined);
    else await this.#answerOperation(exchange);
  }

  async #answerOperation({ request, response, token, url }: Exchange): Promise<void> {
    const match = matchRoute(request.method ?? '', url.pathname);
    const [{ verb, method }] = match.routes;
    // Before the body is read: who may not do it needn't send it.
    const path = this.#inScope(token, verb, match.path);
    const body = await readBody(request);
    const takesBody = method === 'POST' || method === 'PATCH';
    if (!takesBody && Object.keys(body).length > 0) throw refuse(`${method} takes no body`);
    if (takesBody && url.search !== '') throw refuse('its parameters are in the body, not in the query');
    const { route, fields } = chooseRoute(
      match,
      takesBody ? body : queryFields(match.routes[0], url.searchParams),
    );
    const params = parametersOf(route, path, fields);
    // The dispatcher checks them too; here the failure gets the names that the caller knows.
    checkParameters(route.operation, params, (name) => route.names?.[name] ?? snakeCase(name));
    requireManaged(token, route, params);
    if (operations[route.operation].effect === 'reads') {
      const result = await this.#parts.dispatcher.call(route.operation, params, silentAsker());
      sendJson(response, 200, toJson(route, ownPart(route, result, token)));
    } else await this.#change({ request, response, token, url }, route, params);
  }

  /** Runs what changes something: waits for it as long as the client prefers, and hands out its job otherwise. */
  async #change(
    { request, response, token }: Exchange,
    route: Route,
    params: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const { dispatcher } = this.#parts;
    const id = jobId(token.id, readIdempotencyKey(request));
    const { waitSeconds, applied } = readPreference(header(request, 'prefer'));
    const isRepeated = dispatcher.find(id) !== undefined;
    const done = dispatcher
      .call(route.operation, params, { ...silentAsker(), idempotencyKey: id })
      .then(async (result) => {
        if (!isRepeated) await this.#extend(token, route, result);
        return { result };
      });
    const headers = applied === null ? {} : { 'preference-applied': applied };
    const answer = await withinSeconds(done, waitSeconds, this.#parts.ending);
    if (answer === null) {
      const job = findJob(dispatcher, id, token.id);
      const location = `${API_BASE}/jobs/${id}`;
      sendJson(response, 202, jobJson(id, job), { ...headers, location, 'retry-after': '1' });
      return;
    }
    requireOneFork(route, answer.result);
    const result = toJson(route, answer.result);
    const location = locationOf(route, params, result);
    sendJson(response, route.location === undefined ? 200 : 201, result, {
      ...headers,
      ...(location === null ? {} : { location }),
    });
  }

  async #answerJob({ request, response, token }: Exchange, id: string, asEvents: boolean): Promise<void> {
    const { dispatcher } = this.#parts;
    if (request.method === 'GET' && asEvents) {
      findJob(dispatcher, id, token.id);
      await this.#stream(response, id);
    } else if (request.method === 'GET') {
      sendJson(response, 200, jobJson(id, findJob(dispatcher, id, token.id)));
    } else if (request.method === 'DELETE' && !asEvents) {
      findJob(dispatcher, id, token.id);
      dispatcher.cancel(id);
      sendJson(response, 202, jobJson(id, findJob(dispatcher, id, token.id)));
    } else throw wrongMethod(asEvents ? ['GET'] : ['GET', 'DELETE']);
  }

  /** Streams a job's steps and its end as server-sent events (HTML § 9.2). */
  async #stream(response: ServerResponse, id: string): Promise<void> {
    const { dispatcher, ending } = this.#parts;
    const closed = new AbortController();
    response.once('close', () => closed.abort());
    response.writeHead(200, { ...fixedHeaders, 'content-type': 'text/event-stream' });
    const send = (event: string, data: unknown): void => {
      if (response.writableLength > MAXIMUM_UNREAD_BYTES) response.destroy();
      else response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    };
    response.write(': the steps of a job, then its end\n\n');
    const heartbeat = setInterval(() => response.write(': alive\n\n'), HEARTBEAT_MS);
    let lastStep = '';
    try {
      const job = await dispatcher.follow(
        id,
        {
          progress: ({ step, isPastPointOfNoReturn }) => {
            if (step === '' || step === lastStep) return;
            lastStep = step;
            send('step', { step, is_past_point_of_no_return: isPastPointOfNoReturn });
          },
        },
        AbortSignal.any([closed.signal, ending]),
      );
      if (job?.outcome != null) send(job.outcome.ok ? 'done' : 'failed', jobJson(id, job));
    } finally {
      clearInterval(heartbeat);
      response.end();
    }
  }

  /**
   * Requires that the token allows the verb on the workspace that the path names; answers the path with that
   * workspace's id, so that nothing renamed meanwhile takes its place.
   * @throws `api.forbidden`, whether the workspace exists or not
   */
  #inScope(
    token: ApiToken,
    verb: ApiVerb,
    path: Readonly<Record<string, string>>,
  ): Readonly<Record<string, string>> {
    if (!token.may.includes(verb)) throw forbid(`it is not for "${verb}"`);
    const { container: reference } = path;
    if (token.containers === null) return path;
    if (reference === undefined) {
      if (verb === 'list') return path;
      throw forbid('it does not hold for all workspaces');
    }
    const id = this.#parts.guard.workspaceId(reference);
    if (id === null || !token.containers.includes(id)) throw forbid('it does not hold for this workspace');
    return { ...path, container: id };
  }

  /** A token holds for the workspaces that were made with it. */
  async #extend(token: ApiToken, route: Route, result: unknown): Promise<void> {
    if (token.containers === null || route.operation !== 'containers/copy') return;
    const made = (result as Result<'containers/copy'>).flatMap(({ workspace }) => workspace?.id ?? []);
    await this.#parts.guard.extend(token.id, made);
  }

  #fail(response: ServerResponse, error: unknown): void {
    const failed = error instanceof RequestFailure ? error : new RequestFailure(ForkpointError.from(error));
    const { failure, status, headers } = failed;
    if (failure.code === 'internal') this.#parts.log.error(`http: ${errorStack(error)}`);
    if (response.headersSent) {
      response.destroy();
      return;
    }
    const retry = failure.code === 'daemon.unreachable' ? { 'retry-after': String(RESTART_SECONDS) } : {};
    const body = problemOf(failure, status);
    sendJson(response, status, body, {
      ...retry,
      ...headers,
      'content-type': 'application/problem+json',
    });
  }
}

/** Nothing that answers is fit to be kept by a cache or shown by a browser. */
const fixedHeaders = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const;

function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const bytes = Buffer.from(`${JSON.stringify(body)}\n`);
  response.writeHead(status, {
    ...fixedHeaders,
    'content-type': 'application/json',
    'content-length': bytes.length,
    ...headers,
  });
  response.end(bytes);
}

function urlOf(request: IncomingMessage): URL {
  const target = request.url ?? '';
  // Only the origin form (RFC 9112 § 3.2.1); a dot segment would be resolved and name another resource, and a backslash is
  // taken for a slash (URL Standard, "path state").
  if (!target.startsWith('/') || /\\|(^|\/)(\.|%2e){1,2}(\/|$)/i.test(pathOf(request)))
    throw refuse('its target is no path');
  try {
    return new URL(`http://api${target}`);
  } catch {
    throw refuse('its target is no path');
  }
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0]?.slice(0, 200) ?? '';
}

function toJson(route: Route, result: unknown): unknown {
  return toJsonNames(operations[route.operation].result, result);
}

/** Of the list of workspaces, those that the token holds for. */
function ownPart(route: Route, result: unknown, { containers }: ApiToken): unknown {
  if (containers === null || route.operation !== 'containers/list') return result;
  return (result as Result<'containers/list'>).filter(({ id }) => containers.includes(id));
}

/** Where every fork failed the request has, with the failure of the first. */
function requireOneFork(route: Route, result: unknown): void {
  if (route.operation !== 'containers/copy') return;
  const forks = result as readonly Fork[];
  const [first] = forks;
  if (first?.error != null && forks.every(({ ok }) => !ok)) throw ForkpointError.from(first.error);
}

/** @throws `api.forbidden` where a parameter that touches the host needs more than the route */
function requireManaged(
  token: ApiToken,
  { managed = [] }: Route,
  params: Readonly<Record<string, unknown>>,
): void {
  const given = managed.find((name) => Object.hasOwn(params, name));
  if (given !== undefined && !token.may.includes('manage'))
    throw forbid(`"${given}" takes a token that is for "manage"`);
}

/**
 * Reads the Idempotency-Key header, quoted as a structured field or bare.
 * @throws `request.invalid`
 */
function readIdempotencyKey(request: IncomingMessage): string | null {
  const text = header(request, 'idempotency-key');
  if (text === undefined) return null;
  const [, quoted, bare] = /^(?:"([\x20-\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255}))$/.exec(text) ?? [];
  const key = quoted ?? bare;
  if (key === undefined) throw refuse('its idempotency key is not 1 to 255 printable characters');
  return key;
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** What `work` came to within that time; null when it takes longer, or the daemon is about to end. */
async function withinSeconds<T>(work: Promise<T>, seconds: number, ending: AbortSignal): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  let end = (): void => undefined;
  const late = new Promise<null>((resolve) => {
    end = () => resolve(null);
    timer = setTimeout(end, seconds * 1000);
    ending.addEventListener('abort', end, { once: true });
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    ending.removeEventListener('abort', end);
    // Late failures are in the job.
    work.catch(() => undefined);
  }
}

/** The operation goes on whatever becomes of the request. */
function silentAsker(): { signal: AbortSignal; progress: () => void } {
  return { signal: new AbortController().signal, progress: () => undefined };
}

function refuse(problem: string): ForkpointError {
  return new ForkpointError('request.invalid', { problem });
}

function forbid(problem: string): ForkpointError {
  return new ForkpointError('api.forbidden', { problem });
}

function tooMany(seconds: number): RequestFailure {
  return new RequestFailure(new ForkpointError('api.tooManyRequests', { seconds }), 429, {
    'retry-after': String(seconds),
  });
}

function errorStack(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

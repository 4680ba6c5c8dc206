import { request, type IncomingHttpHeaders } from 'node:http';
import * as path from 'node:path';
import { Api, type ApiParts } from '../../../../src/helper/service/api.ts';
import { ForkpointError } from '../../../../src/protocol/errors.ts';
import type { ApiVerb } from '../../../../src/protocol/httpAccess.ts';
import { WorkspaceIdSchema } from '../../../../src/protocol/names.ts';
import {
  startTestDaemon,
  temporaryDirectory,
  type DaemonChoices,
  type TestDaemon,
} from '../daemonHarness.ts';

/** The workspaces that there are in these tests. */
export const webId = WorkspaceIdSchema.parse('ws-000000000001');
export const otherId = WorkspaceIdSchema.parse('ws-000000000002');

/** What was answered. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body, read as JSON. */
  readonly json: () => Record<string, unknown>;
}

/** What may be said of a request. */
export interface Asking {
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** The body's bytes as they are. */
  readonly raw?: string;
}

/** A daemon that serves the API on a unix socket of its own. */
export interface TestDoor extends TestDaemon {
  readonly socket: string;
  readonly api: Api;
  /** Makes a token; for all workspaces unless ids are given. */
  readonly token: (may: readonly ApiVerb[], containers?: readonly string[]) => Promise<string>;
  readonly ask: (method: string, target: string, asking?: Asking) => Promise<Answer>;
}

/** Starts a daemon whose services are the test's, with the API on. */
export async function openTestDoor(choices: DaemonChoices = {}, now = () => new Date()): Promise<TestDoor> {
  const directory = temporaryDirectory();
  const socket = path.join(directory, 'api.sock');
  const loaded: Api[] = [];
  const daemon = await startTestDaemon({
    ...choices,
    listen: async (listener) => {
      const api = await Api.load(apiParts(path.join(directory, 'state'), now, { listener }));
      loaded.push(api);
      await api.services()['api/enable']({ listen: `unix:${socket}` }, silent);
    },
  });
  const [api] = loaded;
  if (api === undefined) throw new Error('the services were not made');
  const call = api.services();
  return {
    ...daemon,
    socket,
    api,
    token: async (may, containers) => {
      const { token } = await call['api/token/create'](
        {
          container: [...(containers ?? [])],
          allContainers: containers === undefined,
          may: [...may],
          expiry: 1,
        },
        silent,
      );
      return token;
    },
    ask: (method, target, asking) => ask(socket, method, target, asking),
  };
}

/** What an API in a directory is made of, with two workspaces, "web" and "other". */
export function apiParts(
  directory: string,
  now: () => Date,
  changed: Partial<ApiParts> & Pick<ApiParts, 'listener'>,
): ApiParts {
  return {
    directory,
    workspace: (reference) => {
      if (reference === 'web' || reference === webId) return { id: webId };
      if (reference === 'other' || reference === otherId) return { id: otherId };
      throw new ForkpointError('workspace.notFound', { workspace: reference });
    },
    run: () => Promise.resolve({ exitCode: 2, stdout: '', stderr: '', ms: 0 }),
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
    now,
    ...changed,
  };
}

/** A call that nobody watches or ends. */
export const silent = {
  signal: new AbortController().signal,
  progress: () => undefined,
  partial: () => undefined,
};

/** Sends one request over a unix socket. */
function ask(socketPath: string, method: string, target: string, asking: Asking = {}): Promise<Answer> {
  const { token, headers, body, raw } = asking;
  const bytes = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        socketPath,
        method,
        path: target,
        agent: false,
        headers: {
          host: 'localhost',
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(bytes === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            json: () => JSON.parse(text) as Record<string, unknown>,
          }),
        );
      },
    );
    sent.on('error', reject);
    sent.end(bytes);
  });
}

import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { runCommandLine } from '../../../src/helper/doors/cli/commandLine.ts';
import { Client } from '../../../src/helper/doors/client.ts';
import type { Services } from '../../../src/helper/service/services.ts';
import { ErrorDataSchema, ForkpointError } from '../../../src/protocol/errors.ts';
import { API_BASE, routes } from '../../../src/protocol/httpRoutes.ts';
import { NameSchema } from '../../../src/protocol/names.ts';
import { operationRequest } from '../../../src/protocol/session.ts';
import { isOperationName, operations } from '../../../src/protocol/operations.ts';
import {
  cleanUp,
  countTimers,
  failureOf,
  framed,
  startTestDaemon,
  type TestDaemon,
} from '../helper/daemonHarness.ts';
import { openTestDoor, type TestDoor } from '../helper/http/door.ts';
import { Inputs, rounds, timeoutMs } from './inputs.ts';

/** How often each door is tried; a hundred thousand times with FORKPOINT_LONG=1. */
const trials = Math.max(1000, rounds);
/** How many connections are open side by side: a daemon takes a moment to let go of one. */
const SIDE_BY_SIDE = 25;
/** After how long a door counts as stuck, in milliseconds, on a machine that is busy with other things. */
const STUCK_MS = 30_000;

const names = Object.keys(operations).filter(isOperationName);
const fields = [
  ...new Set(names.flatMap((name) => Object.keys(operations[name].params.shape))),
  ...[
    '__proto__',
    'constructor',
    'toString',
    'params',
    'id',
    'protocol',
    'client',
    'stream',
    'target',
    'kind',
  ],
];
const words = [
  'web',
  'before',
  'snap-20260304-143045',
  'ws-000000000001',
  'stateful',
  '8080:80',
  'data:/data',
];

/** What a service of these tests answers, so that an "internal" failure is a door's own. */
const REACHED = 'undo.nothing';

/** Services that are reached, and refuse; nothing of them is carried out. */
function refusing(): Services {
  return Object.fromEntries(
    names.map((name) => [
      name,
      (params: unknown) =>
        Promise.reject(new ForkpointError(REACHED, {}, { detail: JSON.stringify(params) })),
    ]),
  ) as unknown as Services;
}

const AnswerSchema = z.object({
  id: z.union([z.number(), z.string(), z.null()]).optional(),
  error: z.object({ code: z.number(), message: z.string(), data: z.unknown() }).optional(),
});

describe('whatever comes to its doors, the daemon', function () {
  this.timeout(timeoutMs);

  let inputs: Inputs;
  /** What lies where nothing of these tests may write. */
  let outside: string;

  before(() => {
    inputs = new Inputs();
    outside = lookOutside();
  });

  afterEach(cleanUp);

  after(() => assert.equal(lookOutside(), outside));

  describe('by JSON-RPC', () => {
    it('answers each request once, with one of its own failures, and goes on', async () => {
      const daemon = await startTestDaemon({ services: refusing(), hostServices: refusing() });
      await eachSideBySide(async (index) => {
        const socket = await daemon.connectSocket();
        const heard = messagesFrom(socket);
        const ids = new Set<number | string>();
        const hello = { client: 'fuzz', clientVersion: '1', protocol: 1 };
        if (inputs.below(4) > 0)
          socket.write(framed({ id: 'hello', method: 'session/hello', params: hello }));
        for (let count = 1 + inputs.below(8); count > 0; count -= 1) {
          const message = request(inputs, `${String(index)}-${String(count)}`);
          if ('id' in message && typeof message.id === 'string') ids.add(message.id);
          socket.write(framed(message));
        }
        socket.end();
        const answers = (await heard).map((text) => AnswerSchema.safeParse(JSON.parse(text)).data);
        for (const answer of answers) {
          const failure = ErrorDataSchema.safeParse(answer?.error?.data).data;
          if (answer?.error !== undefined && answer.error.code !== CANCELLED)
            assert.ok(failure !== undefined && failure.code !== 'internal', JSON.stringify(answer));
        }
        const answered = answers.flatMap((answer) => answer?.id ?? []).filter((id) => id !== 'hello');
        assert.deepEqual(new Set(answered), ids);
        assert.equal(answered.length, ids.size);
      });
      await requireAtWork(daemon);
    });

    it('closes a connection whose messages are broken, too large or cut off, and forgets it', async () => {
      const daemon = await startTestDaemon({ services: refusing(), hostServices: refusing() });
      await requireAtWork(daemon);
      const timers = countTimers();
      await eachSideBySide(async () => {
        const socket = await daemon.connectSocket();
        const heard = messagesFrom(socket);
        const bytes = broken(inputs);
        const cut = inputs.below(bytes.length + 1);
        socket.write(bytes.subarray(0, cut));
        if (inputs.below(2) === 0) await sleep(1);
        socket.write(bytes.subarray(cut));
        if (inputs.below(2) === 0) socket.destroy();
        else socket.end();
        await heard;
      });
      await requireAtWork(daemon);
      // A client that is gone leaves no timer behind, which would keep what it sent in memory.
      for (let tries = 0; countTimers() > timers; tries += 1) {
        assert.ok(tries < 100, `${String(countTimers() - timers)} timers are left`);
        await sleep(100);
      }
    });

    it('takes no header that does not end, and no message that is larger than any there is', async () => {
      const daemon = await startTestDaemon({ services: refusing(), hostServices: refusing() });
      for (const beginning of [
        'X-Long: ',
        'Content-Length: 1\r\nX: ',
        'Content-Length: 99999999999\r\n\r\n',
      ]) {
        const socket = await daemon.connectSocket();
        const closed = new Promise((resolve) => socket.resume().on('close', resolve));
        socket.on('error', () => undefined);
        socket.write(beginning);
        const chunk = Buffer.alloc(64 * 1024, 'x');
        let sent = 0;
        while (!socket.destroyed && sent < 64 * 2 ** 20) {
          sent += chunk.length;
          if (!socket.write(chunk))
            await Promise.race([once(socket, 'drain').catch(() => undefined), closed]);
        }
        await within(closed, 'the end of a connection that sends too much');
        assert.ok(sent < 64 * 2 ** 20, `it took ${String(sent)} bytes`);
      }
      await requireAtWork(daemon);
    });
  });

  it('by the command line answers with status 0, 1 or 2 and words of its own', async () => {
    const daemon = await startTestDaemon({ services: refusing(), hostServices: refusing() });
    for (let round = 0; round < trials; round += 1) {
      const args = argumentsFrom(inputs);
      const { status, out, err } = await within(runCommand(daemon, args), JSON.stringify(args));
      const shown = `${JSON.stringify(args)}: ${String(status)}\n${out}${err}`;
      assert.ok([0, 1, 2].includes(status), shown);
      assert.doesNotMatch(err, /\n\s+at |\(internal\)|"internal"/, shown);
      if (status !== 0) assert.notEqual(out + err, '', shown);
      if (err.startsWith('{')) assert.ok(ErrorDataSchema.safeParse(JSON.parse(err)).success, shown);
      // oxlint-disable-next-line no-control-regex -- what a terminal would obey
      else assert.doesNotMatch(err, /[\u0000-\u0009\u000b-\u001f\u007f]/, shown);
    }
    await requireAtWork(daemon);
  });

  describe('by HTTP', () => {
    it('answers every request with a problem that it can name, never with a failure of its own', async () => {
      const door = await openTestDoor({ services: refusing(), hostServices: refusing() });
      const token = tokensOf(door);
      for (let round = 0; round < trials; round += 1) {
        const { method, target, headers, body } = requestOverHttp(inputs);
        const asking =
          inputs.below(20) === 0
            ? { token: inputs.text(['fpt_']).replace(/[^\x21-\x7e]/g, '') }
            : { token: await token() };
        const answer = await within(
          door.ask(method, target, { ...asking, headers, ...(body === null ? {} : { raw: body }) }),
          `${method} ${target}`,
        );
        const shown = `${method} ${target} ${String(body)}: ${String(answer.status)} ${answer.text}`;
        assert.ok(answer.status === 200 || (answer.status >= 400 && answer.status < 500), shown);
        if (answer.status === 200 || method === 'HEAD' || answer.text === '') continue;
        assert.equal(answer.headers['content-type'], 'application/problem+json', shown);
        const { code, status } = answer.json();
        assert.ok(code !== 'internal' && status === answer.status, shown);
      }
      await requireServing(door);
    });

    it('hangs up on what is no request, or answers it as one that it refuses', async () => {
      const door = await openTestDoor({ services: refusing(), hostServices: refusing() });
      const token = tokensOf(door);
      await eachSideBySide(async () => {
        const { method, target, headers, body } = requestOverHttp(inputs);
        const lines = Object.entries({
          host: 'localhost',
          authorization: `Bearer ${await token()}`,
          ...headers,
          ...(body === null
            ? {}
            : { 'content-length': String(inputs.one([body.length, inputs.below(1e6)])) }),
        }).map(([name, value]) => `${name}: ${value}`);
        const text = `${method} ${target} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body ?? ''}`;
        const socket = createConnection({ path: door.socket });
        await once(socket, 'connect');
        socket.on('error', () => undefined);
        let answer = '';
        socket.setEncoding('latin1').on('data', (chunk: string) => (answer += chunk));
        const closed = new Promise((resolve) => socket.on('close', resolve));
        socket.end(inputs.spoiled(Buffer.from(text)));
        await within(closed, text);
        for (const [, status] of answer.matchAll(/^HTTP\/1\.1 (\d+)/gm))
          assert.ok(Number(status) < 500, `${text}\n${answer}`);
      });
      await requireServing(door);
    });
  });

  it('takes the same names at every door, and no other ones', async () => {
    const reached: string[] = [];
    const services = {
      ...refusing(),
      'snapshots/create': ({ alias }) => {
        reached.push(alias ?? '');
        return Promise.reject(new ForkpointError(REACHED));
      },
    } satisfies Services;
    const door = await openTestDoor({ services });
    const token = tokensOf(door);
    const { connection } = await door.connect();
    for (let round = 0; round < rounds; round += 1) {
      const alias = inputs.text(['a', 'Z', '0', '-', '_', '.', 'before-migration']);
      reached.length = 0;
      const byRpc = await failureOf(
        connection.sendRequest(operationRequest('snapshots/create'), { container: 'web', alias }, {}),
      );
      const byHttp = await door.ask('POST', `${API_BASE}/containers/web/snapshots`, {
        token: await token(),
        body: { alias },
      });
      const byCommand = await runCommand(door, ['snapshots', 'create', '-c', 'web', `--alias=${alias}`]);
      const isName = NameSchema.safeParse(alias).success;
      const found = { rpc: byRpc.code, http: byHttp.status, command: byCommand.status };
      const expected = isName
        ? { rpc: REACHED, http: 409, command: 1 }
        : { rpc: 'name.invalid', http: 400, command: 2 };
      assert.deepEqual(found, expected, `${JSON.stringify(alias)}: ${byCommand.err}${byHttp.text}`);
      assert.deepEqual(reached, isName ? [alias, alias, alias] : [], JSON.stringify(alias));
    }
  });

  /** Runs many rounds, some of them at a time. */
  async function eachSideBySide(work: (index: number) => Promise<void>): Promise<void> {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < trials) await work((next += 1));
    };
    await Promise.all(Array.from({ length: SIDE_BY_SIDE }, worker));
  }

  /** A client that behaves is served. */
  async function requireAtWork(daemon: TestDaemon): Promise<void> {
    const { connection, socket } = await daemon.connect();
    const failure = await within(
      failureOf(connection.sendRequest(operationRequest('containers/list'), {}, {})),
      'an answer to a client that behaves',
    );
    assert.equal(failure.code, REACHED);
    const closed = once(socket, 'close');
    socket.destroy();
    await closed;
    connection.dispose();
    assert.deepEqual(
      daemon.log.lines.filter((line) => line.startsWith('uncaught')),
      [],
    );
  }

  async function requireServing(door: TestDoor): Promise<void> {
    const answer = await door.ask('GET', `${API_BASE}/containers`, { token: await door.token(['list']) });
    assert.equal(answer.status, 409, answer.text);
    await requireAtWork(door);
  }
});

/** JSON-RPC: a request that was cancelled before it began. */
const CANCELLED = -32800;

/** Runs the command line as a process does, against a daemon. */
async function runCommand(
  daemon: TestDaemon,
  args: readonly string[],
): Promise<{ status: number; out: string; err: string }> {
  const printed = { out: '', err: '' };
  const status = await runCommandLine(args, {
    out: (text) => (printed.out += text),
    err: (text) => (printed.err += text),
    showsProgress: false,
    interrupted: new AbortController().signal,
    paths: daemon.paths,
    connect: async () => {
      const client = new Client(await daemon.connectSocket());
      await client.hello(daemon.parts.program);
      return client;
    },
    checkHost: () => Promise.reject(new ForkpointError(REACHED)),
  });
  return { status, ...printed };
}

/** What a person could have meant by the words of a command line, among what nobody means. */
function argumentsFrom(inputs: Inputs): string[] {
  const name = inputs.one(names);
  const args =
    inputs.below(8) === 0
      ? [inputs.one(['logs', 'fsck', 'help', 'terminal', 'ports', 'ssh'])]
      : name.split('/');
  const options = Object.keys(operations[name].params.shape).map(
    (one) => `--${one.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
  );
  const more = [
    '-c',
    '--json',
    '--clear',
    '--timing',
    '--help',
    '--',
    'exec',
    'attach',
    'dial',
    'proxy',
    '-n',
    '--repair',
  ];
  for (let count = inputs.below(8); count > 0; count -= 1) {
    const word = inputs.below(2) === 0 ? inputs.one(words) : inputs.text(words);
    const option = inputs.one([...options, ...options, ...more]);
    args.push(...inputs.one([[option], [option, word], [`${option}=${word}`], [word]]));
  }
  return args;
}

/** A message that is framed well, whatever it says. It never asks the daemon to go. */
function request(inputs: Inputs, id: string): Readonly<Record<string, unknown>> {
  const method = inputs.one([
    ...names,
    ...['session/hello', 'session/dial', 'session/retire', 'stream/open', 'stream/data', 'stream/close'],
    ...['$/cancelRequest', '$/progress', '$/setTrace', inputs.text(names)],
  ]);
  const params = inputs.one([
    inputs.value(fields),
    [inputs.value(fields), inputs.value(['progressToken', 'idempotencyKey'])],
    { container: inputs.one(words), name: inputs.text(words) },
    { protocol: inputs.one([-1, 0, 1, 2, 1e9, '1']), client: inputs.text(), clientVersion: inputs.text() },
    { stream: inputs.below(3), target: { kind: 'port', container: 'web', port: 80 } },
    { stream: inputs.below(3), data: inputs.text() },
    { id: inputs.text() },
  ]);
  // The library takes a cancellation that names nothing for the end of the language.
  const isCancellation = method === '$/cancelRequest';
  return inputs.one([
    { id, method, params },
    { id, method, params },
    { id, method },
    { method, params: isCancellation ? { id } : params },
    { method, ...(isCancellation ? { params: { id } } : {}) },
    { result: params },
    { error: params },
  ]);
}

/** Bytes that are no messages, or the beginning of one. */
function broken(inputs: Inputs): Buffer {
  const message = framed(request(inputs, 'broken'));
  const length = inputs.one(['-1', '-1000', 'x', '', '0', '1e3', '5, 5', '0x10', '9'.repeat(30), '1000000']);
  const deep = inputs.one(['[', '{"a":']).repeat(20_000);
  return inputs.one([
    inputs.spoiled(message),
    inputs.spoiled(Buffer.concat([message, framed(request(inputs, 'second'))])),
    inputs.bytes(),
    Buffer.from(inputs.text(['Content-Length', ': ', '\r\n', '\r\n\r\n', '5'])),
    Buffer.concat([Buffer.from(`Content-Length: ${length}\r\n\r\n`), message]),
    Buffer.from(`Content-Length: ${String(deep.length)}\r\n\r\n${deep}`),
    Buffer.concat([Buffer.from('Content-Length: 8\r\n\r\n'), Buffer.alloc(8, 0xff)]),
    Buffer.from(
      `Content-Length: 6\r\n\r\n${inputs.one(['"text"', '[1, 2]', '12345 ', 'null  ', '{"id":', 'tru'])}`,
    ),
    Buffer.from(`Content-Length: 4\r\nContent-Length: ${String(message.length)}\r\n\r\nnull`),
  ]);
}

/** The bodies of all messages that come until the connection's end. */
async function messagesFrom(socket: Socket): Promise<string[]> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  // A connection that the daemon closes while something is being sent.
  socket.on('error', () => undefined);
  await within(new Promise((resolve) => socket.on('close', resolve)), 'the end of a connection');
  const messages: string[] = [];
  for (let rest = Buffer.concat(chunks); rest.length > 0;) {
    const head = rest.indexOf('\r\n\r\n') + 4;
    const length = Number(/Content-Length: (\d+)/.exec(rest.toString('latin1', 0, head))?.[1]);
    messages.push(rest.toString('utf8', head, head + length));
    rest = rest.subarray(head + length);
  }
  return messages;
}

/** A request that HTTP can carry, whatever it asks for. */
function requestOverHttp(inputs: Inputs): {
  method: string;
  target: string;
  headers: Record<string, string>;
  body: string | null;
} {
  const fit = (text: string): string => text.replace(/[^\x20-\x7e]/g, '');
  const segment = (): string =>
    inputs.one([
      inputs.one(words),
      encodeURIComponent(inputs.text(words).replace(/[\ud800-\udfff]/g, '')),
      fit(inputs.text(words)),
    ]);
  const { path, method } = inputs.one(routes);
  const target = inputs.one([
    `${API_BASE}${path.replace(/\{\w+\}/g, segment)}`,
    `${API_BASE}${path.replace(/\{\w+\}/g, segment)}`,
    `${API_BASE}/jobs/${segment()}`,
    `${API_BASE}/${segment()}`,
    inputs.text(['/', 'api', 'v1', 'containers', '%', '..', '?']),
  ]);
  const query = inputs.one([
    '',
    '',
    `?${segment()}=${segment()}`,
    `?tree=${segment()}&__proto__=${segment()}`,
    '?',
    '#x',
  ]);
  const body = inputs.one([
    null,
    null,
    JSON.stringify(inputs.value([...fields, 'project_id', 'state', 'source_snapshot', 'with_snapshots'])),
    JSON.stringify({ [inputs.one(fields)]: inputs.value(words), env: { constructor: inputs.value() } }),
    inputs.text(['{', '}', '"a":', '[']),
    '['.repeat(inputs.below(70_000)),
  ]);
  const headers = {
    ...(body === null ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
    ...inputs.one<Record<string, string>>([
      {},
      { 'content-type': 'application/json' },
      { 'content-type': fit(inputs.text(['application/json', '; charset=', 'utf-8'])) },
      { prefer: fit(inputs.text(['wait=0', 'respond-async', ', '])) },
      { 'idempotency-key': fit(inputs.text(['"', 'a'])) },
      { 'content-encoding': 'gzip' },
      { host: fit(inputs.text(['localhost', ':80'])) },
    ]),
  };
  return {
    method: inputs.one([method, method, method, 'GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'TRACE', 'PURGE']),
    // What the client of these tests does not send, the next test does.
    target: fit(`/${target.replace(/^\//, '')}${query}`).replaceAll(' ', '+'),
    headers,
    body,
  };
}

/** Tokens for all there is, each for as many requests as one may make at once. */
function tokensOf(door: TestDoor): () => Promise<string> {
  let left = 0;
  let token: Promise<string> | null = null;
  return () => {
    if (token === null || left === 0) {
      left = 90;
      token = door.token(['create', 'list', 'restore', 'copy', 'delete', 'manage']);
    }
    left -= 1;
    return token;
  };
}

/** Waits for what must not take for ever. */
async function within<T>(work: Promise<T>, what: string): Promise<T> {
  const done = new AbortController();
  const late = sleep(STUCK_MS, undefined, { signal: done.signal }).then(() => assert.fail(`stuck: ${what}`));
  late.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    done.abort();
  }
}

function lookOutside(): string {
  const places = ['/run/forkpoint', '/etc/forkpoint', '/var/lib/forkpoint', '/var/log/forkpoint'];
  return JSON.stringify([
    readdirSync('.').sort((a, b) => a.localeCompare(b)),
    places.map((place) => existsSync(place)),
  ]);
}

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { execa } from 'execa';
import * as z from 'zod';
import { ApiVerbSchema, type ApiVerb } from '../../src/protocol/httpAccess.ts';
import type { ParamsInput } from '../../src/protocol/operations.ts';
import type { ExecResult, TestHost } from './machine/machine.ts';
import { daemonPid, killDaemon, SmallWorkspace } from './small/smallWorkspace.ts';
import { ask, deleteWorkspaces, endApi, failsWith, forkpoint, sharedHost, until } from './workspace.ts';

const local = 'http://127.0.0.1:7465';
const socket = '/run/forkpoint-api.sock';
const certificate = '/etc/forkpoint/api.crt';
const key = '/etc/forkpoint/api.key';
/** Between the body and what curl tells of the answer. */
const mark = '\n--- told by curl ---\n';

const ForkSchema = z.looseObject({
  ok: z.boolean(),
  stateful: z.boolean(),
  workspace: z.looseObject({ id: z.string(), state: z.string(), project: z.string().nullable() }),
});
const SnapshotSchema = z.looseObject({
  name: z.string(),
  alias: z.string().nullable(),
  expires_at: z.string().nullable(),
  stateful: z.boolean(),
});
const CreatedSchema = z.looseObject({ snapshot: SnapshotSchema });
const ProblemSchema = z.looseObject({ code: z.string(), status: z.number(), detail: z.string() });
const JobSchema = z.looseObject({
  state: z.string(),
  step: z.string().nullable(),
  is_past_point_of_no_return: z.boolean(),
  result: z.unknown(),
  problem: ProblemSchema.nullable(),
});

/** A JSON Schema, which is read further by what uses it. */
const AnySchema = z.custom<z.core.JSONSchema.JSONSchema>((value) => typeof value === 'object');
const ResponseSchema = z.object({
  $ref: z.string().optional(),
  content: z.record(z.string(), z.object({ schema: AnySchema })).optional(),
});
/** As far as answers go. */
const OpenApiSchema = z.object({
  servers: z.array(z.object({ url: z.string() })),
  paths: z.record(
    z.string(),
    z.record(z.string(), z.object({ responses: z.record(z.string(), ResponseSchema) })),
  ),
  components: z.object({
    schemas: z.record(z.string(), AnySchema),
    responses: z.record(z.string(), ResponseSchema),
  }),
});

/** What curl got. */
interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly text: string;
}

interface Asking {
  readonly token?: string;
  readonly body?: unknown;
  /** Further arguments of curl. */
  readonly args?: readonly string[];
  /** Where the API is; on loopback, unless given. */
  readonly base?: string;
}

function read<T>(schema: z.ZodType<T>, { text }: Answer): T {
  return schema.parse(JSON.parse(text));
}

function isProblem(answer: Answer, status: number, code: string): void {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  const problem = read(ProblemSchema, answer);
  assert.deepEqual([problem.code, problem.status], [code, status]);
}

describe('the HTTP API', function () {
  this.timeout(60_000);

  let host: TestHost;
  let small: SmallWorkspace;
  /** The host's address that others reach. */
  let address: string;
  /** Holds for the small workspace, for all but `manage`. */
  let token: string;
  /** Holds for everything. */
  let master: string;
  let container: string;
  let snapshots: string;
  /** All that was answered so far, by method and path. */
  const answers: [string, Answer][] = [];

  before(async () => {
    host = await sharedHost();
    const addresses = await host.run(['ip', '-o', '-4', 'address', 'show', 'scope', 'global']);
    address = /inet ([\d.]+)/.exec(addresses)?.[1] ?? '';
  });

  after(async () => {
    await endApi(host);
    await deleteWorkspaces(host);
    await host.run(['rm', '-f', certificate, `${certificate}.other`, key]);
  });

  describe('is reached', () => {
    it('nowhere until it is switched on', async () => {
      assert.equal((await ask(host, 'api/status', {})).enabled, false);
      assert.deepEqual(await listening(), []);
      assert.match(
        (await curlFails([`${local}/api/v1/openapi.json`])).stderr,
        /Failed to connect|Could not connect/,
      );
    });

    it('at no address of the network without a certificate', async () => {
      await failsWith('api.notListening', enable('--listen', `${address}:7465`));
      for (const listen of ['0.0.0.0:7465', '[::]:7465'])
        await failsWith('api.notListening', ask(host, 'api/enable', { listen }));
      assert.deepEqual(await listening(), []);
    });

    it('on the loopback address by default, and nowhere else', async () => {
      const status = await enable();
      assert.deepEqual([status.listen, status.isListening], ['127.0.0.1:7465', true]);
      assert.deepEqual(await listening(), ['127.0.0.1:7465']);
      assert.equal((await curl('GET', '/openapi.json')).status, 200);
      await curlFails([`http://${address}:7465/api/v1/openapi.json`]);
    });
  });

  describe('of a workspace', () => {
    before(async () => {
      small = await SmallWorkspace.create(host, 'small');
      await mkfile('/etc/forkpoint/on-restore', '#!/bin/sh\nuntil [ -e /go ]; do sleep 0.05; done\n', '755');
      await mkfile('/go', '');
      container = `/containers/${small.id}`;
      snapshots = `${container}/snapshots`;
      const may = 'create,list,restore,copy,delete';
      const scope = ['-c', 'small', '--may', may, '--expiry', '1', '--label', 'deploy'];
      ({ token } = await forkpoint(host, 'api/token/create', scope));
      master = await newToken(ApiVerbSchema.options, { allContainers: true });
    });

    it('takes, shows, restores and deletes snapshots, under the names of the API', async () => {
      await small.mark('before');
      const taken = await curl('POST', snapshots, { token, body: { alias: 'pre-migration', expiry: 30 } });
      assert.equal(taken.status, 201, taken.text);
      const { snapshot } = read(CreatedSchema, taken);
      assert.equal(taken.headers['location'], `/api/v1${snapshots}/${snapshot.name}`);
      assert.deepEqual([snapshot.alias, snapshot.stateful], ['pre-migration', true]);
      const days = (Date.parse(snapshot.expires_at ?? '') - Date.now()) / 86_400_000;
      assert.ok(days > 29.9 && days <= 30, String(days));

      const listed = read(z.array(SnapshotSchema), await curl('GET', snapshots, { token }));
      assert.deepEqual(
        listed.map(({ name }) => name),
        [snapshot.name],
      );
      const shown = await curl('GET', `${snapshots}/pre-migration`, { token });
      assert.equal(read(SnapshotSchema, shown).name, snapshot.name);

      await small.mark('after');
      const preview = await curl('GET', `${snapshots}/pre-migration/preview`, { token });
      assert.match(preview.text, /"\/mark"/);
      const counted = (await small.look('running')).counter;
      const restored = await curl('PATCH', `${snapshots}/pre-migration`, { token });
      assert.equal(restored.status, 200, restored.text);
      const { safety } = read(
        z.looseObject({ restored: z.literal(snapshot.name), safety: z.string() }),
        restored,
      );
      const sight = await small.requireSound('running');
      assert.equal(sight.mark, 'before');
      assert.ok(sight.counter > 0 && counted > 0);

      const { snapshot_count: count } = read(
        z.looseObject({ snapshot_count: z.number() }),
        await curl('GET', container, { token }),
      );
      assert.equal(count, 2);
      const deleted = await curl('DELETE', `${snapshots}/${safety}`, { token });
      assert.equal(deleted.status, 200, deleted.text);
      isProblem(await curl('GET', `${snapshots}/${safety}`, { token }), 404, 'snapshot.notFound');
    });

    it('understands the words that curl sends when it is told no type', async () => {
      const taken = await curl('POST', snapshots, {
        token,
        args: ['--data', '{"alias": "said-plainly", "expiry": 7}'],
      });
      assert.equal(taken.status, 201, taken.text);
      await curl('DELETE', `${snapshots}/said-plainly`, { token });
    });

    it('forks it with its processes, and lets the token reach the fork', async () => {
      const body = { target_project_id: 'prod', name: 'experiment-a', source_snapshot: 'pre-migration' };
      const copied = await curl('POST', `${container}/copy`, { token, body });
      assert.equal(copied.status, 201, copied.text);
      const [fork] = read(z.array(ForkSchema), copied);
      assert.ok(fork);
      assert.deepEqual([fork.ok, fork.stateful, fork.workspace.project], [true, true, 'prod']);
      assert.equal(copied.headers['location'], `/api/v1/containers/${fork.workspace.id}`);
      for (const id of [fork.workspace.id, small.id]) {
        const { advances, trouble } = await new SmallWorkspace(host, id, id).look('running');
        assert.deepEqual({ advances, trouble }, { advances: true, trouble: '' });
      }

      const own = read(
        z.array(z.looseObject({ name: z.string() })),
        await curl('GET', '/containers', { token }),
      );
      assert.deepEqual(own.map(({ name }) => name).sort(), ['experiment-a', 'small']);
      assert.equal(
        (await curl('POST', `/containers/experiment-a/snapshots`, { token, body: {} })).status,
        201,
      );
      isProblem(await curl('DELETE', '/containers/experiment-a', { token }), 409, 'workspace.hasSnapshots');
      const dropped = await curl('DELETE', '/containers/experiment-a?with_snapshots=true', { token });
      assert.equal(dropped.status, 200, dropped.text);
      isProblem(await curl('GET', '/containers/experiment-a', { token: master }), 404, 'workspace.notFound');
    });

    it('makes, stops, starts, groups and deletes workspaces, for a token that manages', async () => {
      const body = { name: 'other', rootfs: '/srv/small', command: ['/bin/sleep', '1000'], env: { A: 'b' } };
      isProblem(await curl('POST', '/containers', { token, body }), 403, 'api.forbidden');
      const made = await curl('POST', '/containers', { token: master, body });
      assert.equal(made.status, 201, made.text);
      const { id } = read(z.looseObject({ id: z.string() }), made);
      assert.equal(made.headers['location'], `/api/v1/containers/${id}`);
      isProblem(await curl('POST', '/containers', { token: master, body }), 409, 'workspace.exists');

      const patch = async (change: unknown): Promise<{ state: string; project: string | null }> => {
        const answer = await curl('PATCH', '/containers/other', { token: master, body: change });
        assert.equal(answer.status, 200, answer.text);
        return read(z.looseObject({ state: z.string(), project: z.string().nullable() }), answer);
      };
      assert.equal((await patch({ state: 'stopped', timeout: 0 })).state, 'stopped');
      assert.equal((await patch({ state: 'running' })).state, 'running');
      assert.equal((await patch({ project_id: 'lab' })).project, 'lab');
      assert.equal((await patch({ project_id: null })).project, null);
    });

    it('keeps a token to its workspace and its verbs, and nobody in without one', async () => {
      isProblem(await curl('GET', '/containers/other', { token }), 403, 'api.forbidden');
      isProblem(await curl('POST', '/containers/other/snapshots', { token, body: {} }), 403, 'api.forbidden');
      isProblem(await curl('PATCH', container, { token, body: { state: 'stopped' } }), 403, 'api.forbidden');
      const reading = await newToken(['list'], { container: ['small'] });
      isProblem(await curl('POST', snapshots, { token: reading, body: {} }), 403, 'api.forbidden');
      isProblem(await curl('DELETE', container, { token: reading }), 403, 'api.forbidden');
      isProblem(await curl('GET', container), 401, 'api.unauthorized');
      isProblem(await curl('GET', container, { token: `${token}x` }), 401, 'api.unauthorized');
      assert.equal((await curl('DELETE', '/containers/other', { token: master })).status, 200);
    });

    it('says what is wrong as problem+json, with the codes of the command line', async () => {
      const again = await curl('POST', snapshots, { token, body: { alias: 'pre-migration' } });
      isProblem(again, 409, 'alias.taken');
      isProblem(await curl('PATCH', `${snapshots}/nothing`, { token }), 404, 'snapshot.notFound');
      isProblem(await curl('POST', snapshots, { token, body: { alias: '../x' } }), 400, 'name.invalid');
      for (const body of [{ expiry: 0 }, { nonsense: 1 }, { createdAt: 'x' }])
        isProblem(await curl('POST', snapshots, { token, body }), 400, 'request.invalid');
      isProblem(await curl('POST', snapshots, { token, args: ['--json', '{'] }), 400, 'request.invalid');
      const wrong = await curl('PUT', container, { token });
      isProblem(wrong, 405, 'request.invalid');
      assert.equal(wrong.headers['allow'], 'GET, PATCH, DELETE');
      const copy = { name: 'small', source_snapshot: 'pre-migration' };
      isProblem(await curl('POST', `${container}/copy`, { token, body: copy }), 409, 'workspace.exists');
    });

    it('does once what is asked twice with one key, also when the daemon died in between', async () => {
      const asked = { token, body: { alias: 'once' }, args: ['-H', 'Idempotency-Key: release-7'] };
      const [first, second] = await Promise.all([
        curl('POST', snapshots, asked),
        curl('POST', snapshots, asked),
      ]);
      assert.equal(first.status, 201, first.text);
      assert.deepEqual([second.status, second.text], [first.status, first.text]);
      await killDaemon(host);
      // There is no systemd on the test host; whoever speaks to the daemon next starts it.
      assert.equal((await forkpoint(host, 'api/status')).isListening, true);
      const third = await curl('POST', snapshots, asked);
      assert.deepEqual([third.status, third.text], [first.status, first.text]);
      const listed = read(z.array(SnapshotSchema), await curl('GET', snapshots, { token }));
      assert.equal(listed.filter(({ alias }) => alias === 'once').length, 1);
      assert.equal(listed.length, 2);
      isProblem(
        await curl('POST', snapshots, { ...asked, body: { alias: 'twice' } }),
        422,
        'request.keyReused',
      );
    });

    it('gives out a job for what takes long, to poll, to follow and to cancel', async () => {
      // What the hook waits for is in no snapshot from here on.
      await host.run(['rm', inside('/go')]);
      await curl('DELETE', `${snapshots}/once`, { token });
      assert.equal((await curl('POST', snapshots, { token, body: { alias: 'held' } })).status, 201);
      const later = { token, args: ['-H', 'Prefer: respond-async'] };
      const accepted = await curl('PATCH', `${snapshots}/held`, later);
      assert.equal(accepted.status, 202, accepted.text);
      assert.equal(accepted.headers['preference-applied'], 'respond-async');
      const restore = jobOf(accepted);

      // It waits for the restore, which waits for its hook.
      const queued = jobOf(await curl('POST', snapshots, { ...later, body: { alias: 'never' } }));
      assert.equal((await curl('DELETE', queued, { token })).status, 202);
      await until(async () => read(JobSchema, await curl('GET', queued, { token })).state === 'failed');
      const cancelled = read(JobSchema, await curl('GET', queued, { token }));
      assert.equal(cancelled.problem?.code, 'operation.cancelled');
      isProblem(await curl('GET', restore, { token: master }), 404, 'api.jobNotFound');

      const running = read(JobSchema, await curl('GET', restore, { token }));
      assert.deepEqual([running.state, running.result], ['running', null]);
      const following = curl('GET', `${restore}/events`, { token, args: ['--no-buffer'] });
      await until(async () => read(JobSchema, await curl('GET', restore, { token })).step === 'hook');
      assert.equal(read(JobSchema, await curl('GET', restore, { token })).is_past_point_of_no_return, true);
      await mkfile('/go', '');
      const { headers, text } = await following;
      assert.equal(headers['content-type'], 'text/event-stream');
      assert.match(text, /^event: step\ndata: \{"step":"hook","is_past_point_of_no_return":true\}$/m);
      assert.match(text, /\n\nevent: done\ndata: \{.*"state":"done".*\}\n\n$/);
      const done = read(JobSchema, await curl('GET', restore, { token }));
      assert.equal(z.looseObject({ safety: z.string() }).parse(done.result).safety !== '', true);
      const aliases = read(z.array(SnapshotSchema), await curl('GET', snapshots, { token }));
      assert.ok(!aliases.some(({ alias }) => alias === 'never'));
      await small.requireSound('running');
    });

    it('describes itself as OpenAPI 3.1, with a path for each of its routes', async () => {
      const { text } = await curl('GET', '/openapi.json');
      const validator = new Validator();
      const { valid, errors } = await validator.validate(JSON.parse(text) as Record<string, unknown>);
      assert.ok(valid, JSON.stringify(errors));
      assert.equal(validator.version, '3.1');
      const { servers, paths } = readDocument(text);
      assert.deepEqual(servers, [{ url: '/api/v1' }]);
      assert.deepEqual(Object.keys(paths), [
        '/containers',
        '/containers/{container}',
        '/containers/{container}/copy',
        '/containers/{container}/snapshots',
        '/containers/{container}/snapshots/{name}',
        '/containers/{container}/snapshots/{name}/preview',
        '/jobs/{job}',
        '/jobs/{job}/events',
      ]);
    });

    it('answers as that document says', async () => {
      const document = readDocument((await curl('GET', '/openapi.json')).text);
      for (const [asked, { status, text, headers }] of answers) {
        const [method = '', target = ''] = asked.split(' ');
        if (target === '/api/v1/openapi.json' || headers['content-type'] === 'text/event-stream') continue;
        // A method that there is not has no answer in the document.
        if (status === 405) continue;
        const schema = answerSchema(document, method, target, status);
        const { error } = schema.safeParse(JSON.parse(text));
        assert.ok(error === undefined, `${asked}, ${String(status)}: ${String(error)}\n${text}`);
      }
      const [anySnapshot] = answers.filter(([asked]) => asked.endsWith('/snapshots/pre-migration'));
      const shown = JSON.parse(anySnapshot?.[1].text ?? '{}') as object;
      const schema = answerSchema(document, 'GET', `/api/v1${snapshots}/pre-migration`, 200);
      assert.equal(schema.safeParse({ ...shown, created_at: 7 }).success, false);
    });

    it('tells no browser that a page of another origin may ask or read, and sets no cookie', async () => {
      const origin = ['-H', 'Origin: https://evil.example'];
      const wish = [
        '-H',
        'Access-Control-Request-Method: GET',
        '-H',
        'Access-Control-Request-Headers: authorization',
      ];
      const preflight = await curl('OPTIONS', container, { args: [...origin, ...wish] });
      assert.ok(preflight.status >= 400, 'a browser would go on to the request itself');
      const read = await curl('GET', container, { token, args: origin });
      assert.equal(read.status, 200);
      const refused = await curl('GET', container, { args: origin });
      for (const { headers } of [preflight, read, refused])
        assert.deepEqual(
          Object.keys(headers).filter((name) => /^access-control-|^set-cookie$/i.test(name)),
          [],
        );
      // A cookie is no token.
      isProblem(await curl('GET', container, { args: ['-b', `token=${token}`] }), 401, 'api.unauthorized');
    });

    it('slows down a token that asks too much, and no other', async () => {
      const greedy = await newToken(['list'], { container: ['small'] });
      // So many that they take longer than the burst lasts, however slow the machine is.
      const args = ['-o', '/dev/null', '-w', '%{http_code} %header{retry-after}\n'];
      const many = `${local}/api/v1/jobs/[1-400]`;
      const printed = await host.run(['curl', '-sS', ...args, ...bearer(greedy), many]);
      const refused = printed.split('\n').filter((line) => line.startsWith('429 '));
      assert.ok(refused.length > 0, printed.slice(0, 200));
      assert.ok(refused.every((line) => Number(line.split(' ')[1]) >= 1));
      assert.match(printed, /^404 /);
      assert.equal((await curl('GET', container, { token })).status, 200);
    });

    it('lets no token in that has expired or was revoked', async () => {
      const short = await newToken(['list'], { container: ['small'], expiry: 0.00001 });
      await until(async () => (await curl('GET', container, { token: short })).status === 401);
      const [, id = ''] = /^fpt_([0-9a-f]{12})_/.exec(token) ?? [];
      const listed = (await forkpoint(host, 'api/token/list')).find((one) => one.id === id);
      assert.equal(listed?.label, 'deploy');
      const secret = token.slice(`fpt_${id}_`.length);
      const places = ['/var/lib/forkpoint/api', '/var/log/forkpoint', '/etc/forkpoint', '/run/forkpoint'];
      const look = (word: string): Promise<ExecResult> =>
        host.exec(['grep', '--recursive', '--devices=skip', '--fixed-strings', '--', word, ...places]);
      assert.equal((await look(id)).exitCode, 0);
      assert.equal((await look(secret)).stdout, '');
      const modes = await host.run([
        'stat',
        '-c',
        '%a',
        '/var/lib/forkpoint/api/tokens.json',
        places[0] ?? '',
      ]);
      assert.equal(modes, '600\n700\n');
      await forkpoint(host, 'api/token/revoke', [id]);
      isProblem(await curl('GET', container, { token }), 401, 'api.unauthorized');
    });
  });

  describe('is moved', () => {
    it('to a unix socket, open to root and the group that was named alone', async () => {
      await enable('--listen', `unix:${socket}`);
      assert.deepEqual(await listening(), []);
      const facts = ['stat', '-c', '%a %U %G', socket];
      assert.equal((await host.run(facts)).trim(), '600 root root');
      const asking = { base: 'http://localhost', args: ['--unix-socket', socket], token: master };
      assert.equal((await curl('GET', container, asking)).status, 200);
      const asDev = [
        'runuser',
        '-u',
        'dev',
        '--',
        'curl',
        '-sS',
        '--unix-socket',
        socket,
        'http://localhost/',
      ];
      assert.equal((await host.exec(asDev)).exitCode, 7);
      await failsWith('api.notListening', enable('--listen', `unix:${socket}`, '--group', 'nobody-has-it'));
      await enable('--listen', `unix:${socket}`, '--group', 'dev');
      assert.equal((await host.run(facts)).trim(), '660 root dev');
      assert.equal((await host.exec(asDev)).exitCode, 0);
    });

    it('to an address of the network, with the certificate that was given', async () => {
      const [cert, privateKey] = await makeCertificate(address);
      await host.run(['tee', certificate], { input: cert });
      await host.run(['tee', key], { input: privateKey });
      await host.run(['chmod', '644', key]);
      const listen = ['--listen', `${address}:7465`, '--tls', certificate, key];
      const open = await failsWith('api.notListening', enable(...listen));
      assert.match(String(open.args['problem']), /everybody can read/);
      assert.equal((await host.exec(['test', '-S', socket])).exitCode, 0, 'the listening before is gone');
      await host.run(['chmod', '600', key]);
      const status = await enable(...listen);
      assert.equal(status.tls?.certificate, certificate);
      assert.deepEqual(await listening(), [`${address}:7465`]);
      assert.equal((await host.exec(['test', '-S', socket])).exitCode, 1);

      const base = `https://${address}:7465`;
      const trusting = { base, token: master, args: ['--cacert', certificate] };
      assert.equal((await curl('GET', container, trusting)).status, 200);
      const [otherCertificate] = await makeCertificate(address);
      await host.run(['tee', `${certificate}.other`], { input: otherCertificate });
      const distrusting = ['--cacert', `${certificate}.other`, `${base}/api/v1/openapi.json`];
      assert.equal((await curlFails(distrusting)).exitCode, 60);
      await curlFails([`http://${address}:7465/api/v1/openapi.json`]);
      const misnamed = await curl('GET', container, {
        ...trusting,
        args: [...trusting.args, '-H', 'Host: evil.example'],
      });
      assert.equal(misnamed.status, 421);
    });

    it('nowhere when it is switched off; the tokens stay', async () => {
      await forkpoint(host, 'api/disable');
      assert.deepEqual(await listening(), []);
      await killDaemon(host);
      const status = await forkpoint(host, 'api/status');
      assert.equal(status.enabled, false);
      assert.ok(status.tokens > 0);
      assert.deepEqual(await listening(), []);
    });
  });

  function enable(...args: string[]): ReturnType<typeof forkpoint<'api/enable'>> {
    return forkpoint(host, 'api/enable', args);
  }

  async function newToken(
    may: readonly ApiVerb[],
    scope: Omit<ParamsInput<'api/token/create'>, 'may'>,
  ): Promise<string> {
    const { token: text } = await ask(host, 'api/token/create', { may: [...may], ...scope });
    return text;
  }

  /** Sends one request with curl, from inside the host. */
  async function curl(method: string, target: string, asking: Asking = {}): Promise<Answer> {
    const { token: bearing, body, args = [], base = local } = asking;
    const url = base + (target.startsWith('/api/') ? target : `/api/v1${target}`);
    const printed = await host.run([
      ...['curl', '-sS', '-X', method, '--max-time', '50', '-w', `${mark}%{http_code}${mark}%{header_json}`],
      ...(bearing === undefined ? [] : bearer(bearing)),
      ...(body === undefined ? [] : ['--json', JSON.stringify(body)]),
      ...args,
      url,
    ]);
    const [text = '', status = '', headers = '{}'] = printed.split(mark);
    const fields = z.record(z.string(), z.array(z.string())).parse(JSON.parse(headers));
    const answer = {
      status: Number(status),
      headers: Object.fromEntries(Object.entries(fields).map(([name, [value]]) => [name, value])),
      text,
    };
    answers.push([`${method} ${new URL(url).pathname}`, answer]);
    return answer;
  }

  /** Expects that curl gets no answer. */
  async function curlFails(args: readonly string[]): Promise<{ exitCode: number; stderr: string }> {
    const result = await host.exec(['curl', '-sS', '--max-time', '10', ...args]);
    assert.notEqual(result.exitCode, 0, result.stdout);
    return result;
  }

  /** Where the daemon listens for TCP connections. */
  async function listening(): Promise<string[]> {
    const pid = await daemonPid(host);
    const printed = await host.run(['ss', '-Htlnp']);
    return printed
      .split('\n')
      .filter((line) => line.includes(`,pid=${String(pid)},`))
      .map((line) => line.split(/\s+/)[3] ?? '');
  }

  function inside(file: string): string {
    return `/var/lib/forkpoint/workspaces/${small.id}/rootfs${file}`;
  }

  async function mkfile(file: string, text: string, mode = '644'): Promise<void> {
    const script = 'mkdir -p "${1%/*}"; cat > "$1.partial"; chmod "$2" "$1.partial"; mv "$1.partial" "$1"';
    await host.run(['sh', '-euc', script, 'write', inside(file), mode], { input: text });
  }
});

function bearer(token: string): string[] {
  return ['-H', `Authorization: Bearer ${token}`];
}

type OpenApi = z.infer<typeof OpenApiSchema>;

function readDocument(text: string): OpenApi {
  // Where the schemas of a JSON Schema that stands alone are.
  return OpenApiSchema.parse(JSON.parse(text.replaceAll('#/components/schemas/', '#/$defs/')));
}

/** What the document says of the answer to a request. */
function answerSchema(document: OpenApi, method: string, target: string, status: number): z.ZodType {
  const { paths, components } = document;
  const [, operations] =
    Object.entries(paths).find(([template]) =>
      new RegExp(`^/api/v1${template.replace(/\{\w+\}/g, '[^/]+')}$`).test(target),
    ) ?? [];
  const responses = operations?.[method.toLowerCase()]?.responses ?? {};
  const response = responses[String(status)] ?? responses['default'];
  const found =
    response?.$ref === undefined ? response : components.responses[response.$ref.replace(/^.*\//, '')];
  const [content] = Object.values(found?.content ?? {});
  assert.ok(content, `${method} ${target} has no answer ${String(status)} in the document`);
  return z.fromJSONSchema({ ...content.schema, $defs: components.schemas });
}

/** Path of the job that an answer speaks of. */
function jobOf(answer: Answer): string {
  const { location = '' } = answer.headers;
  assert.match(location, /^\/api\/v1\/jobs\/job-/, answer.text);
  return location;
}

/** Makes a certificate for an address, and its key; PEM. */
async function makeCertificate(address: string): Promise<[string, string]> {
  const directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-tls-'));
  const [cert, privateKey] = ['certificate', 'key'].map((name) => path.join(directory, name));
  try {
    await execa('openssl', [
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
      ],
      ...['-subj', '/CN=forkpoint', '-addext', `subjectAltName=IP:${address}`],
      ...['-keyout', String(privateKey), '-out', String(cert)],
    ]);
    return [await readFile(String(cert), 'utf8'), await readFile(String(privateKey), 'utf8')];
  } finally {
    await rm(directory, { recursive: true });
  }
}

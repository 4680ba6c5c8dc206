import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { Daemon } from '../../../../src/helper/doors/daemon.ts';
import { ForkpointError } from '../../../../src/protocol/errors.ts';
import { SnapshotNameSchema } from '../../../../src/protocol/names.ts';
import type { Result } from '../../../../src/protocol/operations.ts';
import type { Services } from '../../../../src/helper/service/services.ts';
import { cleanUp, failureOf, gate } from '../daemonHarness.ts';
import { openTestDoor, otherId, silent, webId, type Answer } from './door.ts';

const snapshots = '/api/v1/containers/web/snapshots';
const before = `${snapshots}/before`;
const deleted: Result<'snapshots/delete'> = {
  name: SnapshotNameSchema.parse('snap-20260101-000000'),
  alias: null,
  timing: [],
};

/** Services that answer a deletion with what they were asked, as a failure's detail. */
const repeating: Partial<Services> = {
  'snapshots/delete': (params) =>
    Promise.reject(new ForkpointError('undo.nothing', {}, { detail: JSON.stringify(params) })),
};

function isProblem(answer: Answer, status: number, code: string): void {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  const problem = answer.json();
  assert.equal(problem['code'], code);
  assert.equal(problem['status'], status);
  assert.equal(problem['type'], `urn:forkpoint:${code}`);
}

describe('the HTTP API', () => {
  afterEach(cleanUp);

  describe('lets in', () => {
    it('nobody without a token, and says how to get one', async () => {
      const { ask } = await openTestDoor();
      const answer = await ask('GET', '/api/v1/containers');
      isProblem(answer, 401, 'api.unauthorized');
      assert.match(answer.headers['www-authenticate'] ?? '', /^Bearer/);
    });

    it('no token that is made up, changed in its last letter, or another scheme', async () => {
      const { ask, token } = await openTestDoor();
      const good = await token(['list']);
      const changed = good.slice(0, -1) + (good.endsWith('A') ? 'B' : 'A');
      for (const wrong of [`fpt_${'0'.repeat(12)}_${'A'.repeat(43)}`, changed, `${good}x`, 'x'])
        assert.equal((await ask('GET', '/api/v1/containers', { token: wrong })).status, 401, wrong);
      const basic = await ask('GET', '/api/v1/containers', { headers: { authorization: `Basic ${good}` } });
      assert.equal(basic.status, 401);
    });

    it('no token that was revoked or has expired', async () => {
      let now = Date.parse('2026-03-04T00:00:00Z');
      const { ask, token, api } = await openTestDoor(
        { services: { 'containers/list': () => Promise.resolve([]) } },
        () => new Date(now),
      );
      const [one, two] = [await token(['list']), await token(['list'])];
      assert.equal((await ask('GET', '/api/v1/containers', { token: one })).status, 200);
      await api.services()['api/token/revoke']({ token: one.slice(4, 16) }, silent);
      assert.equal((await ask('GET', '/api/v1/containers', { token: one })).status, 401);
      assert.equal((await ask('GET', '/api/v1/containers', { token: two })).status, 200);
      now += 86_400_001;
      assert.equal((await ask('GET', '/api/v1/containers', { token: two })).status, 401);
    });

    it('a valid token whatever others try, who are slowed down', async () => {
      const { ask, token } = await openTestDoor({
        services: { 'containers/list': () => Promise.resolve([]) },
      });
      const wrong = await Promise.all(
        Array.from({ length: 15 }, () => ask('GET', '/api/v1/containers', { token: 'x' })),
      );
      const refused = wrong.filter(({ status }) => status === 429);
      assert.equal(refused.length, 5);
      for (const answer of refused) {
        isProblem(answer, 429, 'api.tooManyRequests');
        assert.ok(Number(answer.headers['retry-after']) >= 1);
      }
      assert.equal((await ask('GET', '/api/v1/containers', { token: await token(['list']) })).status, 200);
    });

    it('so many requests of one token at once, and others none the less', async () => {
      const { ask, token } = await openTestDoor({
        services: { 'containers/list': () => Promise.resolve([]) },
      });
      const [greedy, modest] = [await token(['list']), await token(['list'])];
      const statuses = await Promise.all(
        Array.from(
          { length: 130 },
          async () => (await ask('GET', '/api/v1/containers', { token: greedy })).status,
        ),
      );
      assert.deepEqual(
        [...new Set(statuses)].sort((a, b) => a - b),
        [200, 429],
      );
      assert.equal((await ask('GET', '/api/v1/containers', { token: modest })).status, 200);
    });
  });

  describe('holds a token to', () => {
    it('its workspaces, told by id or name, and does not say whether others exist', async () => {
      const { ask, token } = await openTestDoor({ services: repeating });
      const scoped = await token(['delete'], ['web']);
      for (const reference of ['web', webId]) {
        const answer = await ask('DELETE', `/api/v1/containers/${reference}/snapshots/before`, {
          token: scoped,
        });
        isProblem(answer, 409, 'undo.nothing');
        assert.deepEqual(JSON.parse(String(answer.json()['cause'])), { container: webId, name: 'before' });
      }
      const [foreign, missing] = [
        await ask('DELETE', '/api/v1/containers/other/snapshots/before', { token: scoped }),
        await ask('DELETE', '/api/v1/containers/nowhere/snapshots/before', { token: scoped }),
      ];
      isProblem(foreign, 403, 'api.forbidden');
      assert.deepEqual(foreign.json(), missing.json());
    });

    it('its verbs', async () => {
      const { ask, token } = await openTestDoor({ services: repeating });
      isProblem(
        await ask('DELETE', before, { token: await token(['list', 'create', 'restore']) }),
        403,
        'api.forbidden',
      );
    });

    it('its own part of the list', async () => {
      const list = [{ id: webId }, { id: otherId }] as unknown as Result<'containers/list'>;
      const { ask, token } = await openTestDoor({
        services: { 'containers/list': () => Promise.resolve(list) },
      });
      const own = await ask('GET', '/api/v1/containers', { token: await token(['list'], ['web']) });
      assert.deepEqual(own.json(), [{ id: webId }]);
      const all = await ask('GET', '/api/v1/containers', { token: await token(['list']) });
      assert.equal((JSON.parse(all.text) as unknown[]).length, 2);
    });

    it('the workspaces there are, unless it is for all: it makes none, and publishes no port', async () => {
      const { ask, token } = await openTestDoor();
      const scoped = await token(['manage', 'copy'], ['web']);
      const create = { token: scoped, body: { name: 'new', image: 'debian' } };
      isProblem(await ask('POST', '/api/v1/containers', create), 403, 'api.forbidden');
      const copying = await token(['copy'], ['web']);
      const publish = [{ host_port: 80, container_port: 80 }];
      const copy = { token: copying, body: { name: 'new', publish } };
      isProblem(await ask('POST', '/api/v1/containers/web/copy', copy), 403, 'api.forbidden');
    });

    it('the forks that were made with it, too', async () => {
      const made = [{ name: 'new', ok: true, error: null, workspace: { id: otherId } }];
      const { ask, token } = await openTestDoor({
        services: {
          ...repeating,
          'containers/copy': () => Promise.resolve(made as unknown as Result<'containers/copy'>),
        },
      });
      const scoped = await token(['copy', 'delete'], ['web']);
      assert.equal(
        (await ask('DELETE', '/api/v1/containers/other/snapshots/before', { token: scoped })).status,
        403,
      );
      const copied = await ask('POST', '/api/v1/containers/web/copy', {
        token: scoped,
        body: { name: 'new' },
      });
      assert.equal(copied.status, 201, copied.text);
      assert.equal(copied.headers.location, `/api/v1/containers/${otherId}`);
      assert.equal(
        (await ask('DELETE', '/api/v1/containers/other/snapshots/before', { token: scoped })).status,
        409,
      );
    });
  });

  it('keeps hashes alone, for root alone, and logs no token', async () => {
    const { ask, token, log, socket } = await openTestDoor();
    const made = await token(['list']);
    await ask('GET', '/api/v1/containers', { token: made });
    const file = socket.replace('api.sock', 'state/tokens.json');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(statSync(socket).mode & 0o777, 0o600);
    const secret = made.slice(17);
    for (const text of [readFileSync(file, 'utf8'), log.lines.join('\n')]) {
      assert.ok(text.includes(made.slice(4, 16)));
      assert.ok(!text.includes(secret));
    }
  });

  describe('understands', () => {
    it("the names of the API, and refuses the table's own", async () => {
      const params: unknown[] = [];
      const { ask, token } = await openTestDoor({
        services: {
          'containers/copy': (given) => {
            params.push(given);
            return Promise.resolve([]);
          },
        },
      });
      const all = await token(['copy', 'manage']);
      const copy = (body: unknown): Promise<Answer> =>
        ask('POST', '/api/v1/containers/web/copy', { token: all, body });
      await copy({
        name: 'experiment-a',
        source_snapshot: 'pre-migration',
        target_project_id: 'prod',
        publish: [{ host_port: 8080, container_port: 80 }],
      });
      assert.deepEqual(params, [
        {
          container: 'web',
          name: 'experiment-a',
          snapshot: 'pre-migration',
          targetProject: 'prod',
          publish: [{ ip: '127.0.0.1', hostPort: 8080, containerPort: 80 }],
          count: 1,
          cold: false,
        },
      ]);
      for (const body of [
        { name: 'a', snapshot: 'x' },
        { name: 'a', targetProject: 'x' },
        { name: 'a', publish: [{ hostPort: 1, containerPort: 1 }] },
        { name: 'a', container: 'other' },
        { name: 'a', nonsense: 1 },
      ])
        isProblem(await copy(body), 400, 'request.invalid');
    });

    it('a state, and a project, of a workspace', async () => {
      const calls: unknown[] = [];
      const note =
        (operation: string) =>
        (params: unknown): Promise<never> => {
          calls.push([operation, params]);
          return Promise.resolve({ id: webId } as never);
        };
      const { ask, token } = await openTestDoor({
        services: {
          'containers/start': note('start'),
          'containers/stop': note('stop'),
          'containers/project': note('project'),
        },
      });
      const all = await token(['manage']);
      const patch = (body: unknown): Promise<Answer> =>
        ask('PATCH', '/api/v1/containers/web', { token: all, body });
      assert.equal((await patch({ state: 'running' })).status, 200);
      assert.equal((await patch({ state: 'stopped', timeout: 3 })).status, 200);
      assert.equal((await patch({ project_id: null })).status, 200);
      assert.deepEqual(calls, [
        ['start', { container: 'web' }],
        ['stop', { container: 'web', timeout: 3 }],
        ['project', { container: 'web', project: null }],
      ]);
      for (const body of [
        {},
        { state: 'frozen' },
        { state: 'running', project_id: 'x' },
        { state: 'running', timeout: 3 },
      ])
        isProblem(await patch(body), 400, 'request.invalid');
    });

    it('flags in the query of a deletion, and nothing else there', async () => {
      const calls: unknown[] = [];
      const { ask, token } = await openTestDoor({
        services: {
          'containers/delete': (params) => {
            calls.push(params);
            return Promise.resolve({ name: 'web', deletedSnapshots: [], timing: [] });
          },
        },
      });
      const all = await token(['delete']);
      const answer = await ask('DELETE', '/api/v1/containers/web?with_snapshots=true', { token: all });
      assert.deepEqual(answer.json(), { name: 'web', deleted_snapshots: [], timing: [] });
      assert.deepEqual(calls, [{ container: 'web', withSnapshots: true }]);
      for (const query of [
        'withSnapshots=true',
        'with_snapshots=yes',
        'x=1',
        '__proto__=1',
        'with_snapshots=true&with_snapshots=true',
      ])
        isProblem(
          await ask('DELETE', `/api/v1/containers/web?${query}`, { token: all }),
          400,
          'request.invalid',
        );
    });

    for (const [title, target, asking, status] of [
      ['a body that is no JSON', snapshots, { raw: '{"alias": ' }, 400],
      ['a body that is an array', snapshots, { raw: '["alias"]' }, 400],
      ['a body that is no UTF-8', snapshots, { raw: '"\ud800"' }, 400],
      [
        'a form',
        snapshots,
        { raw: 'a=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
        400,
      ],
      ['a body of another type', snapshots, { raw: '{}', headers: { 'content-type': 'text/plain' } }, 415],
      ['a body of no type', snapshots, { raw: '{}', headers: { 'content-type': '' } }, 415],
      ['a body of over 64 KiB', snapshots, { body: { note: 'x'.repeat(70_000) } }, 413],
      ['a body of over 1 MiB', snapshots, { body: { note: 'x'.repeat(2_000_000) } }, 413],
      ['an expiry of ten years and a day', snapshots, { body: { expiry: 3651 } }, 400],
      ['a path that leads elsewhere', '/api/v1/containers/..%2fweb/snapshots', {}, 400],
      ['a path of dots', '/api/v1/containers/%2e%2e/snapshots', {}, 400],
      ['a path that is not UTF-8', '/api/v1/containers/%ff/snapshots', {}, 400],
      ['a path that there is not', '/api/v1/nothing', {}, 404],
      ['a path without the base', '/containers', {}, 404],
      ['a query where a body belongs', `${snapshots}?alias=x`, {}, 400],
      [
        'an idempotency key with a line break in it',
        snapshots,
        { headers: { 'idempotency-key': 'a"b' } },
        400,
      ],
    ] as const) {
      it(`that it must refuse ${title}`, async () => {
        const { ask, token } = await openTestDoor();
        const answer = await ask('POST', target, { token: await token(['create']), ...asking });
        assert.equal(answer.status, status, answer.text);
        assert.equal(answer.headers['content-type'], 'application/problem+json');
      });
    }

    it('a path as it is written, and none that leads elsewhere', async () => {
      const { ask, token } = await openTestDoor({
        services: { 'snapshots/list': () => Promise.resolve([]) },
      });
      const all = await token(['list']);
      assert.equal((await ask('GET', snapshots, { token: all })).status, 200);
      for (const target of [
        '/api/v1/containers/other/../web/snapshots',
        '/api/v1/containers/other/%2e%2E/web/snapshots',
        '/api/v1/containers/other\\..\\web/snapshots',
        '/api/v1/containers\\web/snapshots',
      ])
        isProblem(await ask('GET', target, { token: all }), 400, 'request.invalid');
    });

    it('which methods a path has', async () => {
      const { ask, token } = await openTestDoor();
      const answer = await ask('PUT', before, { token: await token(['create']) });
      assert.equal(answer.status, 405);
      assert.equal(answer.headers.allow, 'GET, PATCH, DELETE');
    });
  });

  it('hangs up on what is no HTTP and on headers without end, and goes on', async () => {
    const { ask, socket } = await openTestDoor();
    for (const [sent, status] of [
      ['\x16\x03\x01\x02\x00', 400],
      ['GET / HTTP/1.1\r\n: \r\n\r\n', 400],
      [`GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 431],
    ] as const) {
      const connection = createConnection(socket);
      connection.write(sent);
      assert.match(String(await buffer(connection)), new RegExp(`^HTTP/1\\.1 ${String(status)} `));
    }
    assert.equal((await ask('GET', '/api/v1/openapi.json')).status, 200);
  });

  describe('runs what takes long', () => {
    const unfinished: (() => void)[] = [];
    // A daemon ends only after its operations.
    afterEach(() => unfinished.splice(0).forEach((finish) => finish()));

    /** A door at which a deletion takes until it is let go. */
    async function slow(): Promise<
      Awaited<ReturnType<typeof openTestDoor>> & {
        runs: () => number;
        finish: () => void;
        started: Promise<void>;
      }
    > {
      const [begun, end] = [gate(), gate()];
      unfinished.push(() => end.open());
      let runs = 0;
      const door = await openTestDoor({
        services: {
          'snapshots/delete': async (_params, call) => {
            runs += 1;
            call.progress('first', false);
            begun.open();
            await Promise.race([end.opened, once(call.signal, 'abort')]);
            call.signal.throwIfAborted();
            call.progress('second', true);
            return deleted;
          },
        },
      });
      return { ...door, runs: () => runs, finish: () => end.open(), started: begun.opened };
    }

    it('as a job, at once if asked to, which can be polled and followed', async () => {
      const { ask, token, finish, socket } = await slow();
      const all = await token(['delete']);
      const accepted = await ask('DELETE', before, { token: all, headers: { prefer: 'respond-async' } });
      assert.equal(accepted.status, 202);
      assert.equal(accepted.headers['preference-applied'], 'respond-async');
      const job = accepted.headers.location ?? '';
      assert.match(job, /^\/api\/v1\/jobs\/job-/);
      const running = (await ask('GET', job, { token: all })).json();
      assert.equal(running['state'], 'running');
      assert.equal(running['step'], 'first');
      assert.equal(running['is_past_point_of_no_return'], false);

      const following = request({
        socketPath: socket,
        path: `${job}/events`,
        headers: { host: 'x', authorization: `Bearer ${all}` },
      });
      following.end();
      const [response] = (await once(following, 'response')) as [IncomingMessage];
      assert.equal(response.headers['content-type'], 'text/event-stream');
      finish();
      const events = String(await buffer(response));
      assert.match(events, /event: step\ndata: \{"step":"first","is_past_point_of_no_return":false\}\n\n/);
      assert.match(events, /event: step\ndata: \{"step":"second","is_past_point_of_no_return":true\}\n\n/);
      assert.match(events, /event: done\ndata: \{.*"name":"snap-20260101-000000".*\}\n\n$/);
      const done = (await ask('GET', job, { token: all })).json();
      assert.deepEqual([done['state'], done['result']], ['done', deleted]);
    });

    it('as a job, after the seconds that the client waits', async () => {
      const { ask, token } = await slow();
      const answer = await ask('DELETE', before, {
        token: await token(['delete']),
        headers: { prefer: 'wait=0' },
      });
      assert.equal(answer.status, 202);
      assert.equal(answer.headers['preference-applied'], 'wait=0');
    });

    it('for its own token only, which may cancel it', async () => {
      const { ask, token } = await slow();
      const [own, other] = [await token(['delete']), await token(['delete', 'list'])];
      const { headers } = await ask('DELETE', before, { token: own, headers: { prefer: 'respond-async' } });
      const job = headers.location ?? '';
      for (const target of [job, `${job}/events`])
        isProblem(await ask('GET', target, { token: other }), 404, 'api.jobNotFound');
      isProblem(await ask('DELETE', job, { token: other }), 404, 'api.jobNotFound');
      assert.equal((await ask('DELETE', job, { token: own })).status, 202);
      const ended = (await ask('GET', job, { token: own })).json();
      assert.equal(ended['state'], 'failed');
      assert.equal((ended['problem'] as Record<string, unknown>)['code'], 'operation.cancelled');
    });

    it('to its end when the client hangs up', async () => {
      const { token, socket, started, finish, ask } = await slow();
      const all = await token(['delete']);
      const headers = { host: 'x', authorization: `Bearer ${all}`, 'idempotency-key': 'mine' };
      const leaving = request({ socketPath: socket, method: 'DELETE', path: before, headers });
      leaving.on('error', () => undefined);
      leaving.end();
      await started;
      leaving.destroy();
      finish();
      const again = await ask('DELETE', before, { token: all, headers: { 'idempotency-key': 'mine' } });
      assert.deepEqual(again.json(), deleted);
    });

    it('once for each idempotency key, quoted or bare, and each token', async () => {
      const { ask, token, finish, runs } = await slow();
      finish();
      const [one, two] = [await token(['delete']), await token(['delete'])];
      const first = await ask('DELETE', before, { token: one, headers: { 'idempotency-key': 'k' } });
      const second = await ask('DELETE', before, { token: one, headers: { 'idempotency-key': '"k"' } });
      assert.equal(first.text, second.text);
      assert.equal(runs(), 1);
      await ask('DELETE', before, { token: two, headers: { 'idempotency-key': 'k' } });
      assert.equal(runs(), 2);
      const other = await ask('DELETE', `${snapshots}/after`, {
        token: one,
        headers: { 'idempotency-key': 'k' },
      });
      isProblem(other, 422, 'request.keyReused');
      assert.equal(runs(), 2);
    });

    it('once also when the daemon was replaced in between', async () => {
      const { ask, token, finish, daemon, parts, runs } = await slow();
      const all = await token(['delete']);
      finish();
      const headers = { 'idempotency-key': 'k' };
      const first = await ask('DELETE', before, { token: all, headers });
      await daemon.stop('test');
      const next = await Daemon.start(parts);
      try {
        const again = await ask('DELETE', before, { token: all, headers });
        assert.equal(again.text, first.text);
        assert.equal(runs(), 1);
      } finally {
        await next?.stop('test');
      }
    });
  });

  it('answers fifty requests at once', async () => {
    const { ask, token } = await openTestDoor({
      services: { 'snapshots/delete': () => Promise.resolve(deleted) },
    });
    const all = await token(['delete']);
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => ask('DELETE', before, { token: all })),
    );
    assert.ok(answers.every(({ status }) => status === 200));
  });

  it('is switched off at once', async () => {
    const { api, ask } = await openTestDoor();
    const status = await api.services()['api/disable']({}, silent);
    assert.deepEqual([status.enabled, status.isListening], [false, false]);
    await assert.rejects(ask('GET', '/api/v1/openapi.json'), /ENOENT/);
  });

  it('listens on without a break when it can not listen elsewhere', async () => {
    const { api, ask } = await openTestDoor();
    const failure = await failureOf(
      api.services()['api/enable']({ listen: 'unix:/nowhere/api.sock' }, silent),
    );
    assert.equal(failure.code, 'api.notListening');
    assert.equal((await ask('GET', '/api/v1/openapi.json')).status, 200);
  });
});

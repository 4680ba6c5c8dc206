import assert from 'node:assert/strict';
import { readListen } from '../../../../src/helper/service/apiListen.ts';
import { hostGuard } from '../../../../src/helper/doors/http/hostGuard.ts';
import { readPreference } from '../../../../src/helper/doors/http/prefer.ts';
import { RateLimit } from '../../../../src/helper/doors/http/rateLimit.ts';
import { fromJsonNames, toJsonNames } from '../../../../src/protocol/httpNames.ts';
import { operations } from '../../../../src/protocol/operations.ts';
import { ForkpointError } from '../../../../src/protocol/errors.ts';

describe('where the HTTP API listens', () => {
  for (const listen of ['127.0.0.1:7465', '127.3.2.1:1', '[::1]:65535', 'localhost:80', 'unix:/run/api.sock'])
    it(`may be ${listen}`, () => assert.ok(readListen(listen, false)));

  for (const listen of [
    '0.0.0.0:7465',
    '[::]:7465',
    '192.0.2.1:80',
    '[2001:db8::1]:80',
    '[::ffff:127.0.0.1]:80',
  ])
    it(`may be ${listen} only with TLS`, () => {
      assert.throws(() => readListen(listen, false), { code: 'api.notListening' });
      assert.ok(readListen(listen, true));
    });

  for (const listen of [
    '',
    '7465',
    ':7465',
    '127.0.0.1',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '127.0.0.1:http',
    'example.org:80',
    '127.1:80',
    '127.0.0.1.example.org:80',
    'unix:api.sock',
    'unix:/run/../etc/x',
    'unix:',
    `unix:/${'x'.repeat(107)}`,
  ])
    it(`can't be "${listen.slice(0, 30)}"`, () =>
      assert.throws(() => readListen(listen, true), { code: 'api.notListening' }));
});

describe('the Host header', () => {
  const isOwn = hostGuard({
    place: { kind: 'tcp', address: '127.0.0.1', port: 7465 },
    tls: null,
    groupId: null,
  });

  for (const host of ['127.0.0.1:7465', '127.0.0.1', 'localhost:9999', 'LOCALHOST', '[::1]:7465'])
    it(`may be ${host}`, () => assert.ok(isOwn(host)));

  for (const host of [
    undefined,
    '',
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '192.0.2.1',
    'a@localhost',
  ])
    it(`can't be ${String(host)}, which a page could have chosen`, () => assert.ok(!isOwn(host)));
});

describe('what a client prefers', () => {
  it('is heeded as RFC 7240 says', () => {
    assert.deepEqual(readPreference(undefined), { waitSeconds: 60, applied: null });
    assert.deepEqual(readPreference('respond-async'), { waitSeconds: 0, applied: 'respond-async' });
    assert.deepEqual(readPreference('wait=300'), { waitSeconds: 300, applied: 'wait=300' });
    assert.deepEqual(readPreference('Respond-Async, Wait="5"'), {
      waitSeconds: 5,
      applied: 'respond-async, wait=5',
    });
    assert.deepEqual(readPreference('wait=9999'), { waitSeconds: 600, applied: 'wait=600' });
    assert.deepEqual(readPreference('wait=soon, handling=lenient'), { waitSeconds: 60, applied: null });
  });
});

describe('the rate limit', () => {
  it('lets a burst through, then so many a second, and says when to try again', () => {
    let now = 0;
    const limit = new RateLimit({ burst: 3, perSecond: 0.5 }, () => now);
    assert.deepEqual(
      [1, 2, 3, 4].map(() => limit.take('a')),
      [0, 0, 0, 2],
    );
    assert.equal(limit.take('b'), 0);
    now = 1999;
    assert.equal(limit.take('a'), 1);
    now = 2000;
    assert.equal(limit.take('a'), 0);
    assert.equal(limit.take('a'), 2);
  });
});

describe('the names of the API', () => {
  it('are snake_case at every depth, but keys of records stay as they are', () => {
    const { params } = operations['containers/create'];
    const json = {
      name: 'web',
      shm_bytes: 1,
      env: { myVar: 'x', my_var: 'y' },
      publish: [{ host_port: 1, container_port: 2 }],
    };
    const value = {
      name: 'web',
      shmBytes: 1,
      env: { myVar: 'x', my_var: 'y' },
      publish: [{ hostPort: 1, containerPort: 2 }],
    };
    assert.deepEqual(fromJsonNames(params, json), value);
    assert.deepEqual(toJsonNames(params, value), json);
  });

  it('are not those of the table, nor any other', () => {
    for (const json of [{ shmBytes: 1 }, { publish: [{ hostPort: 1 }] }, JSON.parse('{"__proto__": 1}')])
      assert.throws(() => fromJsonNames(operations['containers/create'].params, json), ForkpointError);
  });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import * as path from 'node:path';
import { PodmanService } from '../../../src/helper/engines/podmanService.ts';
import { ForkpointError } from '../../../src/protocol/errors.ts';
import { cleanUp, memoryLog, temporaryDirectory } from './daemonHarness.ts';

describe("Podman's service", () => {
  let socket: string;
  let log: ReturnType<typeof memoryLog>;
  let servers: Server[];

  beforeEach(() => {
    socket = path.join(temporaryDirectory(), 'podman.sock');
    log = memoryLog();
    servers = [];
  });

  afterEach(async () => {
    for (const server of servers) server.close();
    await cleanUp();
  });

  it('is started once, and asked over its socket', async () => {
    const asked: string[] = [];
    const service = make((request, response) => {
      asked.push(`${request.method ?? ''} ${request.url ?? ''}`);
      response.end('{"Id": "abc"}');
    });
    assert.deepEqual(await Promise.all([service.start(), service.start()]), [true, true]);
    assert.deepEqual(await service.ask('GET', '/containers/a/json', [200]), {
      status: 200,
      body: '{"Id": "abc"}',
    });
    assert.deepEqual(asked, ['GET /v4.0.0/libpod/containers/a/json']);
    assert.equal(servers.length, 1);
  });

  it('is asked nothing before it was started, nor after it has ended by itself', async () => {
    const service = make((_request, response) => response.end('{}'));
    assert.equal(await service.ask('GET', '/x', [200]), null);
    assert.equal(servers.length, 0);
    assert.equal(await service.start(), true);
    servers[0]?.close();
    await service.end();
    assert.equal(await service.ask('GET', '/x', [200]), null);
    assert.equal(await service.start(), true, 'it is started anew');
    assert.equal((await service.ask('GET', '/x', [200]))?.status, 200);
    assert.equal(servers.length, 2);
  });

  it('does without where it has ended, and nobody has noticed yet', async () => {
    const service = make((_request, response) => response.end('{}'));
    await service.start();
    await rm(socket);
    assert.equal(await service.ask('POST', '/x', [200]), null);
  });

  it('tells what Podman says of a failure, and which statuses are none', async () => {
    const service = make((_request, response) => {
      response.statusCode = 500;
      response.end('{"cause": "runc", "message": "criu failed:\\nno memory", "response": 500}');
    });
    await service.start();
    assert.equal((await service.ask('GET', '/x', [200, 500]))?.status, 500);
    await assert.rejects(service.ask('POST', '/containers/a/restore', [200]), (error) => {
      assert.ok(error instanceof ForkpointError);
      assert.equal(error.code, 'command.failed');
      assert.deepEqual(error.args, { command: 'podman POST /containers/a/restore', status: '500' });
      assert.equal(error.detail, 'criu failed:\nno memory');
      return true;
    });
  });

  it('fails where an answer breaks off or never comes, but for a question that another can answer as well', async () => {
    const service = make((request, response) => {
      if (request.url?.endsWith('/half') === true) response.write('{', () => response.destroy());
      else if (request.url?.endsWith('/cut') === true) response.destroy();
    });
    await service.start();
    for (const place of ['/half', '/cut', '/never']) {
      await assert.rejects(
        service.ask('POST', place, [200], 100),
        (error) => error instanceof ForkpointError && error.args['status'] === 'no answer',
      );
      assert.equal(await service.ask('GET', place, [200], 100), null);
    }
  });

  it('says why where it can not be had', async () => {
    const service = new PodmanService(
      socket,
      () =>
        Promise.reject(
          new ForkpointError(
            'command.failed',
            { command: 'podman', status: 'exit 125' },
            { detail: 'unknown' },
          ),
        ),
      log,
    );
    assert.equal(await service.start(), false);
    assert.equal(await service.ask('GET', '/x', [200]), null);
    assert.match(log.lines.join('\n'), /Podman's service: .*exit 125[^]*unknown/);
    await service.end();
  });

  /** One whose program is a server that answers by `listener`, until it is closed. */
  function make(listener: RequestListener): PodmanService {
    return new PodmanService(
      socket,
      async () => {
        const server = createServer(listener);
        servers.push(server);
        server.listen(socket);
        await once(server, 'close');
      },
      log,
    );
  }
});

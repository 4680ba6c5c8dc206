import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import * as path from 'node:path';
import { Podman } from '../../../src/helper/engines/podman.ts';
import type { Run } from '../../../src/helper/host/run.ts';
import { cleanUp, memoryLog, temporaryDirectory } from './daemonHarness.ts';

describe('what Podman says of a container', () => {
  const record = { engine: { container: 'forkpoint-web' } };
  let server: Server | null;

  beforeEach(() => {
    server = null;
  });

  afterEach(async () => {
    server?.close();
    await cleanUp();
  });

  it('is that it is missing, where it goes while its service looks: at the name first, then at the id', async () => {
    const problem = 'no container with ID 0266ce found in database: no such container';
    const directory = temporaryDirectory();
    const commands: string[] = [];
    const run: Run = async (_command, args) => {
      commands.push(args.slice(0, 2).join(' '));
      if (args[0] === 'container') return { stdout: '[]', stderr: `Error: ${problem}`, exitCode: 125, ms: 1 };
      server = createServer((_request, response) => {
        response.statusCode = 500;
        response.end(JSON.stringify({ message: problem }));
      }).listen(path.join(directory, 'podman.sock'));
      await once(server, 'close');
      return { stdout: '', stderr: '', exitCode: 0, ms: 1 };
    };
    const podman = new Podman(run, memoryLog(), directory, () => Promise.resolve([]));
    podman.expectRestore();
    assert.equal((await podman.facts(record)).state, 'missing');
    assert.deepEqual(commands, ['system service', 'container inspect']);
  });
});

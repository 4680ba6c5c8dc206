import assert from 'node:assert/strict';
import { ForkpointError } from '../../src/protocol/errors.ts';
import type { TestHost } from './machine/machine.ts';
import {
  breakPodman,
  daemonPid,
  endEngineService,
  endOfLog,
  killDaemon,
  logLength,
  logSince,
  mendPodman,
  SmallWorkspace,
  whenLogged,
} from './small/smallWorkspace.ts';
import { ask, sharedHost, until } from './workspace.ts';

const socket = '/run/forkpoint/podman.sock';

describe("the engine's service", function () {
  this.timeout(180_000);
  let host: TestHost;
  let small: SmallWorkspace;

  before(async () => {
    host = await sharedHost();
    small = await SmallWorkspace.create(host, 'served');
    await ask(host, 'snapshots/create', { container: 'served', alias: 'target', mode: 'stateful' });
  });
  after(() => ask(host, 'containers/delete', { container: 'served', withSnapshots: true }));

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await endOfLog(host));
  });

  const services = async (): Promise<string> =>
    (await host.exec(['pgrep', '-f', '^podman system service'])).stdout.trim();

  /** Restores, and answers what the log says of it. */
  async function restore(): Promise<string> {
    const before = await logLength(host);
    await ask(host, 'snapshots/restore', { container: 'served', name: 'target' });
    await small.requireSound('running');
    return logSince(host, before);
  }

  it('wakes the processes, and is there already for a second restore', async () => {
    await endEngineService(host);
    assert.match(await restore(), /asked podman POST \/containers\/forkpoint-served\/restore\S*: 200/);
    const first = await services();
    assert.match(first, /^\d+$/, 'one runs');
    assert.match(await restore(), /asked podman GET \/containers\/forkpoint-served\/json: 200/);
    assert.equal(await services(), first);
  });

  it('is begun when a restore is looked at before it is wanted', async () => {
    await endEngineService(host);
    await ask(host, 'snapshots/preview', { container: 'served', name: 'target' });
    await until(async () => (await services()) !== '');
  });

  it("is root's alone", async () => {
    await restore();
    assert.equal(await host.run(['stat', '-c', '%U %F', socket]), 'root socket\n');
    const connect = `import socket; socket.socket(socket.AF_UNIX).connect('${socket}')`;
    assert.equal((await host.exec(['python3', '-c', connect])).exitCode, 0);
    const { exitCode, stderr } = await host.exec(['runuser', '-u', 'dev', '--', 'python3', '-c', connect]);
    assert.equal(exitCode, 1);
    assert.match(stderr, /PermissionError/);
  });

  it('ends with its daemon, and holds up no successor of one that was killed', async () => {
    await restore();
    const pid = String(await daemonPid(host));
    await host.run(['sh', '-c', `kill ${pid}; while kill -0 ${pid} 2>/dev/null; do sleep 0.01; done`]);
    assert.equal(await services(), '');
    await restore();
    const left = await services();
    await killDaemon(host);
    assert.equal(await services(), left, 'it lives on without its daemon');
    const before = await logLength(host);
    await ask(host, 'containers/list', {});
    const milliseconds = /recovery done, (\d+) ms/.exec(await logSince(host, before))?.[1];
    assert.ok(Number(milliseconds) < 5_000, `${milliseconds ?? 'no'} ms`);
    assert.equal(await services(), '');
    await small.requireSound('running');
  });

  it('H13 killed in the middle of a restore leaves nothing at work, and the workspace is put back', async () => {
    await small.mark('now');
    const outcome = await whenLogged(
      host,
      'snapshots/restore: wake\n',
      "until pgrep -f '[c]riu swrk' > /dev/null; do sleep 0.005; done; pkill -KILL -f '^podman system service'",
      () =>
        ask(host, 'snapshots/restore', { container: 'served', name: 'target' }).then(
          () => 'done',
          (error: unknown) => ForkpointError.from(error).code,
        ),
    );
    assert.ok(['done', 'restore.rolledBack'].includes(outcome), outcome);
    await small.requireSound('running');
    assert.match(await restore(), /asked podman POST/);
  });

  it('is done without where it can not be had, which the log says', async () => {
    try {
      await breakPodman(host, '"nothing else"');
      const log = await restore();
      assert.match(log, /Podman's service: .*exit 126/);
      assert.match(log, /ran podman \S+ \S+ container restore .*: exit 0/);
    } finally {
      await mendPodman(host);
    }
  });
});

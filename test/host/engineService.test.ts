import assert from 'node:assert/strict';
import type { TestHost } from './machine/machine.ts';
import {
  breakPodman,
  createArguments,
  daemonPid,
  endEngineService,
  endOfLog,
  forkpoint,
  forkpointJson,
  killDaemon,
  logLength,
  logSince,
  mendPodman,
  type Sight,
  SmallWorkspace,
} from './small/smallWorkspace.ts';
import { ask, sharedHost, until } from './workspace.ts';

const socket = '/run/forkpoint/podman.sock';
/** What Podman has set up a container's network; it has given the address just before, and writes both down after it. */
const netavark = '/usr/lib/podman/netavark';
/** What Podman has start a container; it returns when the runtime is at work. */
const conmon = '/usr/bin/conmon';
/** There as long as nobody was killed. */
const next = '/run/kill-next';

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

  describe('H13 killed in the middle leaves nothing at work, and the next start is as ever', () => {
    /** Has Podman killed by the next program that it starts so, as soon as that has done what it was started for. */
    async function killNext(program: string, pattern: string): Promise<void> {
      await host.run(['mv', program, `${program}.real`]);
      const script = `#!/bin/sh
case "$*" in ${pattern}) if rm ${next}; then "$0.real" "$@"; kill -KILL $PPID; exit; fi;; esac
exec "$0.real" "$@"
`;
      await host.run(['sh', '-c', `cat > ${program}; chmod 755 ${program}; touch ${next}`], {
        input: script,
      });
    }

    afterEach(async () => {
      for (const program of [netavark, conmon])
        await host.run(['sh', '-c', `[ ! -e ${program}.real ] || mv ${program}.real ${program}`]);
    });

    for (const [when, program, pattern] of [
      ['a restore, which goes on without it', conmon, '*--restore*'],
      ['a restore, when it has not written down yet that the workspace has its address', netavark, '*setup*'],
    ] as const) {
      it(`${when}: the workspace is put back`, async () => {
        const { address } = await ask(host, 'containers/show', { container: 'served' });
        const { namespaces } = await small.requireSound('running');
        await small.mark('as it was');
        await killNext(program, pattern);
        await assert.rejects(ask(host, 'snapshots/restore', { container: 'served', name: 'target' }), {
          code: 'restore.rolledBack',
        });
        assert.equal((await host.exec(['test', '-e', next])).exitCode, 1, 'it was killed');
        const sight = await small.requireSound('running');
        assert.deepEqual([sight.mark, sight.namespaces], ['as it was', namespaces]);
        assert.match(await restore(), /asked podman POST/);
        assert.equal((await small.requireSound('running')).namespaces, namespaces);
        assert.equal((await ask(host, 'containers/show', { container: 'served' })).address, address);
      });
    }

    for (const [when, program, pattern] of [
      ['a start, which goes on without it', conmon, '*'],
      ['a start, when it has not written down yet that the workspace has its address', netavark, '*setup*'],
    ] as const) {
      it(`${when}: the workspace stays stopped`, async () => {
        await ask(host, 'containers/stop', { container: 'served' });
        const { namespaces } = await small.requireSound('stopped');
        await killNext(program, pattern);
        await assert.rejects(ask(host, 'containers/start', { container: 'served' }), {
          code: 'workspace.startFailed',
        });
        assert.equal((await small.requireSound('stopped')).namespaces, namespaces);
        await ask(host, 'containers/start', { container: 'served' });
        assert.equal((await small.requireSound('running')).namespaces, namespaces + 1);
      });
    }
    for (const [when, program, pattern] of [
      ['a create, which goes on without it', conmon, '*'],
      ['a create, when it has not written down yet that the workspace has its address', netavark, '*setup*'],
    ] as const) {
      it(`${when}: nothing is left of the workspace`, async () => {
        const before = await leftovers();
        await killNext(program, pattern);
        const { exitCode, stdout } = await forkpoint(host, createArguments('unmade'));
        assert.equal(exitCode, 1, stdout);
        await requireKilledAndGone(before, 'unmade');
        await forkpointJson(host, createArguments('unmade'));
        await ask(host, 'containers/delete', { container: 'unmade' });
        assert.deepEqual(await leftovers(), before);
      });
    }

    for (const [when, program, pattern] of [
      ['a fork, which goes on without it', conmon, '*--restore*'],
      ['a fork, when it has not written down yet that the workspace has its address', netavark, '*setup*'],
    ] as const) {
      it(`${when}: nothing is left of the fork`, async () => {
        const copy = { container: 'served', snapshot: 'target', name: 'unmade' };
        const before = await leftovers();
        await killNext(program, pattern);
        await assert.rejects(ask(host, 'containers/copy', copy), { code: 'workspace.forkFailed' });
        await requireKilledAndGone(before, 'unmade');
        await ask(host, 'containers/copy', copy);
        await ask(host, 'containers/delete', { container: 'unmade' });
        assert.deepEqual(await leftovers(), before);
      });
    }

    it('a stop, when what ran has ended and the network has been taken back: asked again, the workspace is stopped', async () => {
      const { namespaces } = await small.requireSound('running');
      await killNext(netavark, '*teardown*');
      await assert.rejects(ask(host, 'containers/stop', { container: 'served' }), {
        code: 'workspace.notStopped',
      });
      assert.equal((await host.exec(['test', '-e', next])).exitCode, 1, 'it was killed');
      await ask(host, 'containers/stop', { container: 'served' });
      await small.requireSound('stopped');
      await ask(host, 'containers/start', { container: 'served' });
      assert.equal((await small.requireSound('running')).namespaces, namespaces);
    });

    /** What more would be there of a workspace that was not made. */
    async function leftovers(): Promise<Pick<Sight, 'namespaces' | 'allContainers' | 'workspaces'>> {
      const { namespaces, allContainers, workspaces } = await small.requireSound('running');
      return { namespaces, allContainers, workspaces };
    }

    async function requireKilledAndGone(
      before: Awaited<ReturnType<typeof leftovers>>,
      name: string,
    ): Promise<void> {
      assert.equal((await host.exec(['test', '-e', next])).exitCode, 1, 'it was killed');
      assert.ok((await ask(host, 'containers/list', {})).every((one) => one.name !== name));
      assert.deepEqual(await leftovers(), before);
    }
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

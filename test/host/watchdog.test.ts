import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { freezerOf, type Freezer } from './freezer.ts';
import { bootHost, endHost, type TestHost } from './machine/machine.ts';
import {
  endOfLog,
  forkpoint,
  forkpointJson,
  killDaemon,
  ownFile,
  SmallWorkspace,
  withoutUnit,
} from './small/smallWorkspace.ts';

/**
 * Memory of the process whose dump lasts long enough to be killed in the middle, in MiB: of more than 128 MiB together the
 * most is copied ahead, where the kernel tracks memory; there the processor is emulated, and less lasts as long.
 */
const HELD_MIB = process.env['FORKPOINT_TEST_MACHINE'] === 'vm' ? 64 : 384;

describe('a freeze that is interrupted', function () {
  this.timeout(240_000);

  let host: TestHost;
  let small: SmallWorkspace;
  let freezer: Freezer;
  let work: string;

  before(async () => {
    host = await bootHost({ name: 'watchdog', ifRunning: 'replace' });
    await withoutUnit(host);
    small = await SmallWorkspace.create(host, 'small');
    freezer = await freezerOf(host, 'forkpoint-small');
    work = `/var/lib/forkpoint/workspaces/${small.id}/work`;
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await endOfLog(host));
  });

  after(async () => {
    await endHost('watchdog');
  });

  it('H12: ends within a second when the daemon is killed, and its snapshot is discarded', async () => {
    await killDaemon(host);
    const { exitCode } = await forkpoint(host, ['snapshots', 'create', '-c', 'small'], {
      FORKPOINT_CRASH_AT: 'create/freeze',
    });
    assert.equal(exitCode, 1);
    await requireThawedWithin(1000);
    assert.equal((await host.exec(['test', '-e', `${work}/watchdog.mark`])).exitCode, 0);
    await requireSoundWithoutSnapshot();
  });

  it('H12: ends at its deadline when nobody sends the watchdog home', async () => {
    await host.run(['rm', '-f', `${work}/watchdog.mark`, `${work}/group`]);
    await host.run(['sh', '-c', `echo ${freezer.freeze} > ${freezer.file}`]);
    const watchdog = watch(small, '1', 0.5);
    await requireThawedWithin(3000);
    assert.equal((await host.exec(['test', '-e', `${work}/watchdog.mark`])).exitCode, 0);
    await watchdog;
    await requireSoundWithoutSnapshot();
  });

  describe('by the death of CRIU', () => {
    let talking: SmallWorkspace;
    let rootfs: string;

    before(async () => {
      await host.run([
        'sh',
        '-c',
        'setsid -f python3 -c "$1" </dev/null >/dev/null 2>&1',
        'echoer',
        `import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(4096):
            self.request.sendall(data)
socketserver.ThreadingTCPServer(("0.0.0.0", 7008), Echo).serve_forever()`,
      ]);
      await host.run(['sh', '-c', 'until ss -Htln sport = :7008 | grep -q .; do sleep 0.1; done']);
      // The talkers come first, so that CRIU has their sockets in its hands when it writes the large memory.
      const command = `python3 /app/workload.py 10.209.0.1:7008 & sleep 1; python3 /app/hold.py ${String(HELD_MIB)} & wait`;
      talking = await SmallWorkspace.create(host, 'talking', ['/bin/sh', '-c', command]);
      rootfs = `/var/lib/forkpoint/workspaces/${talking.id}/rootfs`;
      await host.run([
        'sh',
        '-c',
        `until [ -s ${rootfs}/beats ] && [ -s ${rootfs}/pings-outside ]; do sleep 0.1; done`,
      ]);
    });

    it('H14: by the hand of the watchdog, holds no traffic back and closes no connection', async () => {
      await requireTraffic();
      await killInDump('STOP');
      await requireTraffic();
      await forkpointJson(host, [
        ...['snapshots', 'create', '-c', 'talking', '--alias', 'whole', '--mode', 'stateful'],
      ]);
    });

    // The kernel lets go of the processes when CRIU, which traces them, dies. Those that were waiting for data ask for it
    // again at once and get an error, before anybody can take the socket out of repair mode.
    it('H14: by itself, holds no traffic back either, though programs may notice', async () => {
      await killInDump('KILL');
      const init = await initPid();
      const script = readFileSync(ownFile('converse.py'), 'utf8');
      await host.run(['python3', '-', init, '10.209.0.1:7008'], { input: script });
      const { frozen, tables, journal, trash } = await talking.look('stopped');
      assert.deepEqual(
        { frozen, tables, journal, trash },
        { frozen: 'THAWED', tables: [], journal: [], trash: [] },
      );
      await forkpointJson(host, [
        ...['snapshots', 'restore', '-c', 'talking', '--name', 'whole', '--safety', 'stateful'],
      ]);
      assert.equal((await talking.look('running')).advances, true);
    });

    /** Has CRIU killed in the middle of a dump, by a watchdog where it was only stopped. That leaves nothing listed. */
    async function killInDump(how: 'STOP' | 'KILL'): Promise<void> {
      const list = ['snapshots', 'list', '-c', 'talking'];
      const before = await forkpointJson(host, list);
      const script = readFileSync(ownFile('killCriu.py'), 'utf8');
      const init = await initPid();
      const [seen, created] = await Promise.all([
        host.run(['python3', '-', talking.id, init, how], { input: script }).then(async (printed) => {
          // Its own watchdog has more than half a minute.
          if (how === 'STOP') await watch(talking, init, 0.5);
          return printed;
        }),
        forkpoint(host, ['snapshots', 'create', '-c', 'talking', '--mode', 'stateful']),
      ]);
      const { tables, criu } = z
        .object({ tables: z.array(z.string()), criu: z.number() })
        .parse(JSON.parse(seen));
      assert.ok(criu > 0 && tables.some((one) => one.includes('CRIU-')), `CRIU was not in mid-dump: ${seen}`);
      assert.equal(created.exitCode, 1, created.stdout);
      assert.deepEqual(await forkpointJson(host, list), before);
    }

    async function initPid(): Promise<string> {
      const pid = await host.run(['podman', 'inspect', '--format', '{{.State.Pid}}', 'forkpoint-talking']);
      return pid.trim();
    }

    /** All programs talk on, over the connections that they have: a stalled or closed one is told as trouble. */
    async function requireTraffic(): Promise<void> {
      const before = await outsidePings();
      const { advances, frozen, tables, trouble, journal } = await talking.look('running');
      assert.deepEqual(
        { advances, frozen, tables, trouble, journal },
        { advances: true, frozen: 'THAWED', tables: [], trouble: '', journal: [] },
      );
      const deadline = performance.now() + 8_000;
      while ((await outsidePings()) <= before) {
        assert.ok(performance.now() < deadline, 'nothing comes back from outside');
        await sleep(50);
      }
    }

    async function outsidePings(): Promise<number> {
      return Number(await host.run(['cat', `${rootfs}/pings-outside`]));
    }
  });

  /** Has a watchdog look after a workspace that is frozen; its standard input stays open, as the daemon's end of the pipe does. */
  async function watch(workspace: SmallWorkspace, init: string, seconds: number): Promise<void> {
    const script = '/var/lib/forkpoint/assets/watchdog.sh';
    const own = `/var/lib/forkpoint/workspaces/${workspace.id}/work`;
    const deadline = String(seconds);
    const { file, freeze, thaw } = await freezerOf(host, `forkpoint-${workspace.name}`);
    await host.run([
      'sh',
      '-c',
      `sleep 5 | sh ${script} ${own} ${file} ${freeze} ${thaw} ${deadline} ${init}`,
    ]);
  }

  async function requireThawedWithin(ms: number): Promise<void> {
    const begun = performance.now();
    for (;;) {
      const state = (await host.run(['cat', freezer.file])).trim();
      if (state === freezer.thaw) return;
      // One look itself takes some time on a busy machine.
      assert.ok(performance.now() - begun < ms + 500, `still ${state} after ${String(ms)} ms`);
      await sleep(20);
    }
  }

  /** The workspace runs, its connections live, and nothing of the snapshot is left. */
  async function requireSoundWithoutSnapshot(): Promise<void> {
    assert.deepEqual(await forkpointJson(host, ['snapshots', 'list', '-c', 'small']), []);
    const { subvolumes } = await small.requireSound('running');
    assert.equal(subvolumes.length, 2, subvolumes.join());
  }
});

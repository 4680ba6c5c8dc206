import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { bootHost, endHost, type TestHost } from './machine/machine.ts';
import {
  daemonPid,
  endOfLog,
  forkpoint,
  forkpointJson,
  killDaemon,
  logLength,
  logSince,
  makeRootfs,
  ownFile,
  spoilImage,
  whenLogged,
} from './small/smallWorkspace.ts';
import { until } from './workspace.ts';

const MIB = 1024 ** 2;
/** Memory of the process that is restored lazily, in MiB. */
const heldMib = process.env['FORKPOINT_LONG'] === '1' ? 4096 : 1024;
/** Its files, its images, those of a second snapshot, and what a restore needs beside. */
const poolBytes = (heldMib * 5 + 4096) * MIB;

const pool = '/var/lib/forkpoint';
const SnapshotSchema = z.object({ name: z.string(), alias: z.string().nullable(), memoryBytes: z.number() });

const ShownSchema = z.object({
  state: z.string(),
  undo: z.object({ safety: z.string() }).nullable(),
  setback: z.object({ code: z.string() }).nullable(),
});

describe('a lazy restore', function () {
  this.timeout(300_000);

  let host: TestHost;
  let files: string;
  let id: string;
  let containerId: string;

  before(async () => {
    host = await bootHost({ name: 'lazy', ifRunning: 'replace', poolSizeBytes: poolBytes });
    await makeRootfs(host);
    const made = await forkpointJson(host, [
      ...['containers', 'create', 'large', '--rootfs', '/srv/small'],
      ...['--', '/usr/bin/python3', '/app/hold.py', String(heldMib)],
    ]);
    const container = z.object({ id: z.string(), engine: z.object({ id: z.string() }) }).parse(made);
    id = container.id;
    containerId = container.engine.id;
    files = `${pool}/workspaces/${id}/rootfs`;
    await requireBeats();
    const snapshot = z
      .object({ snapshot: SnapshotSchema })
      .parse(await forkpointJson(host, ['snapshots', 'create', '-c', 'large', '--alias', 'whole'])).snapshot;
    assert.ok(snapshot.memoryBytes > heldMib * MIB, `${String(snapshot.memoryBytes)} bytes of images`);
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await endOfLog(host));
  });

  after(async () => {
    await endHost('lazy');
  });

  it('H1: is waited for by a snapshot, which then holds all of the memory', async () => {
    await restore('whole');
    assert.ok(
      await isReading(),
      'the restore was not lazy, or its pages were read too fast to prove anything',
    );
    await forkpointJson(host, [
      'snapshots',
      'create',
      '-c',
      'large',
      '--alias',
      'after',
      '--mode',
      'stateful',
    ]);
    assert.equal(await isReading(), false, 'the snapshot was taken while pages were still being read');
    await restore('after');
    await requireSameMemory();
    await remove('after');
  });

  it('H2: keeps its snapshot from delete and expiry, and an idle daemon from ending', async () => {
    await restore('whole');
    await signalLazyPages('STOP');
    await setIdleExit(1);
    // A daemon that did not start it knows of it too.
    const deleted = await forkpoint(host, [
      'snapshots',
      'delete',
      '-c',
      'large',
      '--name',
      'whole',
      '--json',
    ]);
    assert.equal(codeOf(deleted.stdout + deleted.stderr), 'snapshot.inUse');
    await sleep(4000);
    assert.notEqual(await daemonPid(host), null, 'the daemon ended while pages were being read');
    await forkpointJson(host, [
      'snapshots',
      'expiry',
      '-c',
      'large',
      '--name',
      'whole',
      '--expiry',
      '0.000001',
    ]);
    // It looks for what has expired when it starts.
    await killDaemon(host);
    await list();
    await sleep(1000);
    assert.ok(
      (await list()).some((one) => one.alias === 'whole'),
      'the snapshot expired',
    );
    await forkpointJson(host, ['snapshots', 'expiry', '-c', 'large', '--name', 'whole', '--clear']);
    await signalLazyPages('CONT');
    await requireSameMemory();
    // A daemon looks at its start for what keeps it, and then once a minute.
    await killDaemon(host);
    await list();
    await requireIdleExit();
    await setIdleExit(600);
  });

  it('H1: is waited for by the safety snapshot of the next restore', async () => {
    await restore('whole');
    // Above 2 GiB, as in the long form, it is not taken without being asked for.
    const withSafety = ['snapshots', 'restore', '-c', 'large', '--name', 'whole', '--safety', 'stateful'];
    const restored = await forkpointJson(host, withSafety);
    const { safety } = z.object({ safety: z.string() }).parse(restored);
    await restore(safety);
    await requireSameMemory();
    await remove(safety);
  });

  it('H2: is made again, eagerly, when its pages can not be read in full', async () => {
    const offset = await logLength(host);
    const [broken] = await Promise.all([breakLazyPages('daemon-lives', offset), restore('whole')]);
    console.log(`      processes lived on for ${String(broken.ms)} ms without their pages`);
    assert.ok(broken.processes > 0);
    assert.ok(broken.ms < 1000);
    await requireRestoredAgain(offset);
    await requireSameMemory();
  });

  it('H2: is tried again, eagerly, when its pages can not be read while the processes are being woken', async () => {
    const offset = await logLength(host);
    await Promise.all([breakLazyPages('waking', offset), restore('whole')]);
    const log = await logSince(host, offset);
    assert.match(log, /restore large: wake failed .*\n[^]*restored again[^]*restore large: wake, /);
    assert.doesNotMatch(log, /undo-/);
    await requireSameMemory();
  });

  it('H2: of a fork is tried again, eagerly, when its pages can not be read while it is being woken', async () => {
    const offset = await logLength(host);
    const copy = ['containers', 'copy', '-c', 'large', '--snapshot', 'whole', '--name', 'twin'];
    const [, forked] = await Promise.all([breakLazyPages('waking', offset), forkpointJson(host, copy)]);
    const [twin] = z.array(z.object({ workspace: z.object({ id: z.string() }) })).parse(forked);
    assert.match(
      await logSince(host, offset),
      /copy twin: wake failed .*\n[^]*restored again[^]*copy twin: wake, /,
    );
    await requireSameMemory(`${pool}/workspaces/${String(twin?.workspace.id)}/rootfs`);
    await forkpointJson(host, ['containers', 'delete', '-c', 'twin']);
    await requireSameMemory();
  });

  it('H2: tells what was waiting for it that it is made again', async () => {
    await restore('whole');
    await signalLazyPages('STOP');
    const offset = await logLength(host);
    const loseLazyPages = "pkill -KILL -f '^[^ ]*criu lazy-pages'";
    const snapshot = await whenLogged(host, ' snapshots/create: wait\n', loseLazyPages, () =>
      forkpoint(host, ['snapshots', 'create', '-c', 'large', '--json']),
    );
    assert.equal(codeOf(snapshot.stdout + snapshot.stderr), 'workspace.isRestoredAgain');
    await requireRestoredAgain(offset);
    await requireSameMemory();
  });

  it('H2: is made again when its pages can not be read and the daemon is dead', async () => {
    const offset = await logLength(host);
    const [broken] = await Promise.all([
      breakLazyPages('daemon-too', offset),
      forkpoint(host, ['snapshots', 'restore', '-c', 'large', '--name', 'whole', '--safety', 'none']),
    ]);
    console.log(`      processes lived on for ${String(broken.ms)} ms without their pages`);
    assert.ok(broken.processes > 0);
    assert.ok(broken.ms < 1000);
    await list();
    await requireRestoredAgain(offset);
    await requireSameMemory();
  });

  describe('H2: that can not be made again', () => {
    let before: string;
    let broken: string;

    /** Restored lazily from a snapshot that nobody needs, whose reader of pages stands still. */
    beforeEach(async () => {
      await restore('whole');
      await requireSameMemory();
      const made = ['snapshots', 'create', '-c', 'large', '--alias', 'broken', '--mode', 'stateful'];
      const Created = z.object({ snapshot: SnapshotSchema });
      broken = Created.parse(await forkpointJson(host, made)).snapshot.name;
      const undoable = ['snapshots', 'restore', '-c', 'large', '--name', 'broken', '--safety', 'stateful'];
      const Restored = z.object({ safety: z.string() });
      before = Restored.parse(await forkpointJson(host, undoable)).safety;
      await signalLazyPages('STOP');
    });

    afterEach(async () => {
      await forkpoint(host, ['snapshots', 'delete', '-c', 'large', '--name', 'broken']);
      for (const { name, alias } of await list()) if (alias !== 'whole') await remove(name);
    });

    it('because its snapshot is damaged by now, leaves the workspace stopped, says so, and hinders nothing', async () => {
      await host.run(['truncate', '-s', '-1', `${pool}/snapshots/${id}/${broken}/memory/inventory.img`]);
      await signalLazyPages('KILL');
      const { state, undo } = await requireSetback();
      assert.equal(state, 'stopped');
      assert.equal(undo?.safety, before);
      const listed = await forkpoint(host, ['containers', 'list']);
      assert.match(listed.stdout, /could not be read in full/);
      // None of these waits for pages that nobody reads any more.
      await forkpointJson(host, ['snapshots', 'create', '-c', 'large', '--alias', 'files']);
      assert.equal((await show()).setback, null);
      await restore(before);
      await requireSameMemory();
    });

    it('because it can not be woken any more, leaves the workspace started from its files, says so, and leaves Undo', async () => {
      await spoilImage(host, `${pool}/snapshots/${id}/${broken}`);
      await list();
      await signalLazyPages('KILL');
      const { state, undo } = await requireSetback();
      assert.equal(state, 'running');
      assert.equal(undo?.safety, before);
      await restore(before);
      assert.equal((await show()).setback, null);
      await requireSameMemory();
    });
  });

  it('H3: leaves no option behind that would turn the next dump into a page server', async () => {
    const options = await host.run(['cat', `${pool}/workspaces/${id}/criu.conf`]);
    assert.doesNotMatch(options, /lazy/);
  });

  async function restore(name: string): Promise<void> {
    await forkpointJson(host, ['snapshots', 'restore', '-c', 'large', '--name', name, '--safety', 'none']);
  }

  async function remove(name: string): Promise<void> {
    await forkpointJson(host, ['snapshots', 'delete', '-c', 'large', '--name', name]);
  }

  async function list(): Promise<z.infer<typeof SnapshotSchema>[]> {
    return z.array(SnapshotSchema).parse(await forkpointJson(host, ['snapshots', 'list', '-c', 'large']));
  }

  /** Whether CRIU still reads pages. */
  async function isReading(): Promise<boolean> {
    return (await host.exec(['pgrep', '-f', 'criu lazy-pages'])).exitCode === 0;
  }

  async function show(): Promise<z.infer<typeof ShownSchema>> {
    return ShownSchema.parse(await forkpointJson(host, ['containers', 'show', '-c', 'large']));
  }

  /** Waits until the workspace tells of its lost memory. */
  async function requireSetback(): Promise<z.infer<typeof ShownSchema>> {
    await until(async () => (await show()).setback !== null);
    const shown = await show();
    assert.equal(shown.setback?.code, 'restore.memoryLost');
    return shown;
  }

  async function signalLazyPages(signal: 'STOP' | 'CONT' | 'KILL'): Promise<void> {
    await host.run(['pkill', `-${signal}`, '-f', 'criu lazy-pages']);
  }

  async function breakLazyPages(
    whom: 'daemon-too' | 'daemon-lives' | 'waking',
    offset: number,
  ): Promise<{ ms: number; processes: number }> {
    const script = readFileSync(ownFile('breakLazyPages.py'), 'utf8');
    const printed = await host.run(['python3', '-', containerId, whom, String(offset)], { input: script });
    return z.object({ ms: z.number(), processes: z.number() }).parse(JSON.parse(printed));
  }

  /** Waits for the end of the repeated restore, which is not lazy, and of which the log speaks. */
  async function requireRestoredAgain(offset: number): Promise<void> {
    const deadline = performance.now() + 60_000;
    for (;;) {
      const log = await logSince(host, offset);
      const [, after] = log.split(/could not be read in full.*restored again/);
      if (after !== undefined && /(recover-)?restore large: close, /.test(after)) {
        assert.doesNotMatch(after, /restore large: lazy, /);
        return;
      }
      assert.ok(performance.now() < deadline, `it was not restored again:\n${log}`);
      await sleep(200);
    }
  }

  async function requireBeats(): Promise<void> {
    await host.run(['sh', '-c', `until [ -s ${files}/beats ]; do sleep 0.1; done`]);
  }

  /** The process runs, and all of its memory is what it put there. */
  async function requireSameMemory(rootfs = files): Promise<void> {
    const word = String(Math.random());
    // Whole at once: the process reads it as soon as it is there.
    await host.run(['sh', '-c', `cat > ${rootfs}/check.new && mv ${rootfs}/check.new ${rootfs}/check`], {
      input: word,
    });
    const waiting = `n=0; until grep -q '${word}' ${rootfs}/checked 2>/dev/null; do n=$((n+1)); [ $n -lt 600 ] || exit 1; sleep 0.1; done; cat ${rootfs}/checked`;
    assert.equal(await host.run(['sh', '-c', waiting]), `same ${word}`);
  }

  /** The daemon ends by itself once nothing keeps it. */
  async function requireIdleExit(): Promise<void> {
    const deadline = performance.now() + 30_000;
    while ((await daemonPid(host)) !== null) {
      assert.ok(performance.now() < deadline, 'the daemon does not end though it is idle');
      await sleep(200);
    }
  }

  async function setIdleExit(seconds: number): Promise<void> {
    await killDaemon(host);
    const change = `const f='/etc/forkpoint/host.json',fs=require('fs'); const o=JSON.parse(fs.readFileSync(f)); o.idleExitSeconds=${String(seconds)}; fs.writeFileSync(f,JSON.stringify(o))`;
    await host.run(['node', '-e', change]);
  }
});

/** The code of a failure that the command line printed as JSON. */
function codeOf(text: string): string {
  return z.object({ code: z.string() }).parse(JSON.parse(text)).code;
}

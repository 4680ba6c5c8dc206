import assert from 'node:assert/strict';
import * as z from 'zod';
import { bootHost, endHost, type TestHost } from './machine/machine.ts';
import {
  endOfLog,
  forkpointJson,
  killDaemon,
  logLength,
  logSince,
  makeRootfs,
} from './small/smallWorkspace.ts';

const MIB = 1024 ** 2;
/** Memory of the process, in MiB: enough for a lazy restore. */
const heldMib = 288;
const poolBytes = 8 * 1024 * MIB;

const pool = '/var/lib/forkpoint';
const WorkspaceSchema = z.object({ id: z.string() });
const CreatedSchema = z.object({ snapshot: z.object({ name: z.string(), memoryBytes: z.number() }) });

/** What is known of a snapshot when it is taken. */
interface Taken {
  readonly name: string;
  readonly directory: string;
  readonly memoryBytes: number;
  /** Of all that its process holds, as that reckons. */
  readonly sum: string;
  /** Of its images, by file. */
  readonly hashes: string;
}

describe('the memory that successive snapshots have in common', function () {
  this.timeout(300_000);

  let host: TestHost;
  let usedBefore: number;
  const row: Taken[] = [];
  const original = { name: 'held', id: '' };

  before(async () => {
    host = await bootHost({ name: 'dedupe-pages', ifRunning: 'replace', poolSizeBytes: poolBytes });
    await makeRootfs(host);
    const made = await forkpointJson(host, [
      ...['containers', 'create', original.name, '--rootfs', '/srv/small'],
      ...['--', '/usr/bin/python3', '/app/hold.py', String(heldMib)],
    ]);
    original.id = WorkspaceSchema.parse(made).id;
    await host.run(['sh', '-c', `until [ -s ${files(original)}/beats ]; do sleep 0.1; done`]);
    usedBefore = await usedBytes();
    for (let number = 0; number < 5; number++) {
      if (number > 0) await change();
      row.push(await take(original));
    }
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await endOfLog(host));
  });

  after(async () => {
    await endHost('dedupe-pages');
  });

  it('takes the disk of one and of what differs', async () => {
    for (const one of row) await untilCompared(one);
    const used = (await usedBytes()) - usedBefore;
    const { memoryBytes } = last(row);
    console.log(
      `      ${String(Math.round(used / MIB))} MiB for ${String(row.length)} snapshots of ${String(Math.round(memoryBytes / MIB))} MiB`,
    );
    assert.ok(used > memoryBytes, 'less than one snapshot takes: the pool was not measured right');
    assert.ok(used < 1.5 * memoryBytes, `${String(used)} bytes, one has ${String(memoryBytes)}`);
  });

  it('is in each of them as it was, and known to be less than it looks', async () => {
    for (const one of row) assert.equal(await hashesOf(one.directory), one.hashes);
    const ListSchema = z.array(z.object({ name: z.string(), exclusiveBytes: z.number().nullable() }));
    await until(async () => {
      const listed = ListSchema.parse(await forkpointJson(host, ['snapshots', 'list', '-c', original.name]));
      return listed.every(({ exclusiveBytes }) => exclusiveBytes !== null && exclusiveBytes < 64 * MIB);
    }, 'the space of each snapshot is not told');
  });

  it('comes back whole, lazily, from the newest and from the oldest', async () => {
    const [oldest, , middle] = row;
    for (const one of [last(row), oldest, middle]) {
      assert.ok(one);
      const offset = await logLength(host);
      await restore(one);
      assert.match(await logSince(host, offset), /restore held: lazy, /);
      await requireSum(original, one);
    }
  });

  it('stays whole in those that remain when the others are deleted', async () => {
    for (const one of [...row.splice(2, 1), ...row.splice(0, 1)]) await remove(one);
    await until(async () => (await host.run(['ls', `${pool}/trash`])) === '', 'the trash is not emptied');
    for (const one of row) {
      assert.equal(await hashesOf(one.directory), one.hashes);
      await restore(one);
      await requireSum(original, one);
    }
  });

  it('is shared with another when that which it is being shared with is deleted', async () => {
    const later = await taken();
    await stopSharing();
    const offset = await logLength(host);
    await remove(last(row));
    row.pop();
    await continueSharing();
    await untilCompared(later);
    assert.match(
      await logSince(host, offset),
      new RegExp(`${later.name} of .* shares .* with ${last(row).name}`),
    );
    row.push(later);
    for (const one of row) assert.equal(await hashesOf(one.directory), one.hashes);
  });

  it('is left alone when its snapshot is deleted while it is being shared', async () => {
    const offset = await logLength(host);
    const later = await taken();
    await stopSharing();
    await remove(later);
    await continueSharing();
    const next = await taken();
    await untilCompared(next);
    assert.doesNotMatch(await logSince(host, offset), /warn +in the background/);
    row.push(next);
    for (const one of row) assert.equal(await hashesOf(one.directory), one.hashes);
  });

  it('is shared by the next daemon when one is killed meanwhile', async () => {
    const later = await taken();
    await stopSharing();
    await killDaemon(host);
    await forkpointJson(host, ['containers', 'list']);
    await untilCompared(later);
    assert.equal(await hashesOf(later.directory), later.hashes);
    row.push(later);
    await restore(later);
    await requireSum(original, later);
  });

  it('comes back whole, lazily, while it is being shared', async () => {
    const later = await taken();
    await stopSharing();
    const offset = await logLength(host);
    await restore(later);
    assert.match(await logSince(host, offset), /restore held: lazy, /);
    await continueSharing();
    await requireSum(original, later);
    await untilCompared(later);
    assert.equal(await hashesOf(later.directory), later.hashes);
    row.push(later);
  });

  it('is shared between a fork and what it is a fork of', async () => {
    const copied = await forkpointJson(host, [
      ...['containers', 'copy', '-c', original.name, '--snapshot', last(row).name, '--name', 'twin'],
    ]);
    const [made] = z.array(z.object({ workspace: WorkspaceSchema })).parse(copied);
    const twin = { name: 'twin', id: made?.workspace.id ?? '' };
    const offset = await logLength(host);
    const first = await take(twin);
    await untilCompared(first);
    const [, mebibytes] = /shares (\d+) MiB of its memory with/.exec(await logSince(host, offset)) ?? [];
    assert.ok(Number(mebibytes) > 0.9 * heldMib, `${String(mebibytes)} MiB are shared`);
    assert.equal(await hashesOf(first.directory), first.hashes);
  });

  it('of a pre-dump is put among that of a dump by references to its blocks', async () => {
    const pieces = [
      [1, 0, 0, 3],
      [0, 5, 3, 1],
      [1, 7, 4, 1],
    ].map((piece) => piece.map((number, index) => (index === 0 ? number : number * 4096)).join(' '));
    const script = `mkdir ${pool}/pieces && cd ${pool}/pieces
      head -c 1M /dev/urandom > last; head -c 1M /dev/urandom > before; sync -f .
      perl ${pool}/assets/clone-pages.pl joined last before
      { head -c 12288 before; tail -c +20481 last | head -c 4096; tail -c +28673 before | head -c 4096; } | cmp - joined
      btrfs filesystem du --raw -s joined; stat -c %a joined; cd ..; rm -r pieces`;
    const printed = await host.run(['sh', '-ec', script], { input: `${pieces.join('\n')}\n` });
    assert.match(printed, /\n\s+20480\s+0\s+20480\s+joined\n600\n$/);
  });

  function files({ id }: { id: string }): string {
    return `${pool}/workspaces/${id}/rootfs`;
  }

  /** Of the whole pool, for blocks that nothing can reach may still be taken. */
  async function usedBytes(): Promise<number> {
    await host.run(['btrfs', 'subvolume', 'sync', pool]);
    // What a commit lets go of is free after it.
    for (let round = 0; round < 2; round++) await host.run(['btrfs', 'filesystem', 'sync', pool]);
    const printed = await host.run(['stat', '-f', '-c', '%b %f %S', pool]);
    const [blocks = 0, free = 0, size = 0] = printed.split(' ').map(Number);
    return (blocks - free) * size;
  }

  async function change(): Promise<void> {
    const file = `${files(original)}/change`;
    await host.run(['sh', '-c', `: > ${file}; while [ -e ${file} ]; do sleep 0.05; done`]);
  }

  async function taken(): Promise<Taken> {
    await change();
    return take(original);
  }

  async function take(workspace: { name: string; id: string }): Promise<Taken> {
    const sum = await sumOf(workspace);
    const created = await forkpointJson(host, [
      ...['snapshots', 'create', '-c', workspace.name, '--mode', 'stateful'],
    ]);
    const { name, memoryBytes } = CreatedSchema.parse(created).snapshot;
    const directory = `${pool}/snapshots/${workspace.id}/${name}`;
    return { name, directory, memoryBytes, sum, hashes: await hashesOf(directory) };
  }

  async function hashesOf(directory: string): Promise<string> {
    return host.run(['sh', '-c', `cd ${directory}/memory && sha256sum *`]);
  }

  async function untilCompared({ directory }: Taken): Promise<void> {
    await until(async () => {
      const record: unknown = JSON.parse(await host.run(['cat', `${directory}/snapshot.json`]));
      return z.object({ pagesCompared: z.boolean() }).parse(record).pagesCompared;
    }, `${directory} was not compared`);
  }

  async function restore({ name }: Taken): Promise<void> {
    await forkpointJson(host, [
      'snapshots',
      'restore',
      '-c',
      original.name,
      '--name',
      name,
      '--safety',
      'none',
    ]);
  }

  /** Deletes it as soon as no lazy restore reads from it. */
  async function remove({ name }: Taken): Promise<void> {
    await host.run([
      'sh',
      '-c',
      'while pgrep -f "[c]riu lazy-pages" > /dev/null; do sleep 0.1; done; sleep 0.5',
    ]);
    await forkpointJson(host, ['snapshots', 'delete', '-c', original.name, '--name', name]);
  }

  /** Waits until memory is being compared, and keeps it from going on. */
  async function stopSharing(): Promise<void> {
    // In brackets, so that the shell's own command line is not found.
    const stop = `n=0; until pid=$(pgrep -f "[s]hare-pages.pl .* share$") && kill -STOP $pid 2>/dev/null && grep -q '^State:.T' /proc/$pid/status; do
      n=$((n + 1)); [ $n -lt 3000 ] || exit 1; sleep 0.01; done`;
    await host.run(['sh', '-c', stop]);
  }

  async function continueSharing(): Promise<void> {
    await host.run(['pkill', '-CONT', '-f', 'share-pages.pl']);
  }

  async function requireSum(workspace: { id: string }, { sum }: Taken): Promise<void> {
    assert.equal(await sumOf(workspace), sum);
  }

  /** The process runs, all of its memory is what it put there, and that is this. */
  async function sumOf(workspace: { id: string }): Promise<string> {
    const rootfs = files(workspace);
    const word = String(Math.random());
    await host.run(['sh', '-c', `cat > ${rootfs}/check.new && mv ${rootfs}/check.new ${rootfs}/check`], {
      input: word,
    });
    const waiting = `n=0; until grep -q '${word}' ${rootfs}/checked 2>/dev/null; do n=$((n+1)); [ $n -lt 600 ] || exit 1; sleep 0.1; done; cat ${rootfs}/checked`;
    assert.equal(await host.run(['sh', '-c', waiting]), `same ${word}`);
    return host.run(['cat', `${rootfs}/sum`]);
  }
});

async function until(isSo: () => Promise<boolean>, problem: string): Promise<void> {
  const deadline = performance.now() + 120_000;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, problem);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

function last(row: readonly Taken[]): Taken {
  const found = row.at(-1);
  assert.ok(found);
  return found;
}

import { readFile, readdir, statfs } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { command } from './command.ts';
import { forkOf, type ForkpointContestant } from './forkpoint.ts';
import { change, untilAnswer } from './probe.ts';

const pool = '/var/lib/forkpoint';
/** What is packed or freed in the background is over when the pool's use did not change for that long. */
const restMs = 3_000;
/** One snapshot may wait that long until its memory was compared. */
const sharingMs = 120_000;

/** What successive snapshots of one process cost, which changes a twentieth of its memory between them. */
export async function snapshotsInARow(
  forkpoint: ForkpointContestant,
  container: string,
  count: number,
): Promise<{ diskBytes: number }> {
  const before = await usedBytes();
  const names: string[] = [];
  for (let number = 0; number < count; number++) {
    await change(forkpoint.address, 5);
    const { snapshot } = await forkpoint.client.call('snapshots/create', { container, mode: 'stateful' });
    names.push(snapshot.name);
  }
  for (const name of names) await untilCompared(forkpoint.id, name);
  const after = await usedBytes();
  for (const name of names) await forkpoint.client.call('snapshots/delete', { container, name });
  return { diskBytes: after - before };
}

/** The disk that the last of several forks adds, each of which is stopped once it has answered. */
export async function forksInARow(
  forkpoint: ForkpointContestant,
  container: string,
  count: number,
): Promise<{ diskBytes: number }> {
  const { snapshot } = await forkpoint.client.call('snapshots/create', { container, mode: 'stateful' });
  await untilCompared(forkpoint.id, snapshot.name);
  let added = 0;
  const names = Array.from({ length: count }, (_, index) => `${container}-row-${String(index + 1)}`);
  for (const [index, name] of names.entries()) {
    const before = index === count - 1 ? await usedBytes() : 0;
    const { address } = await forkOf(forkpoint.client, { container, snapshot: snapshot.name, name });
    await untilAnswer(address);
    await forkpoint.client.call('containers/stop', { container: name, timeout: 0 });
    if (index === count - 1) added = (await usedBytes()) - before;
  }
  for (const name of names) await forkpoint.client.call('containers/delete', { container: name });
  await forkpoint.client.call('snapshots/delete', { container, name: snapshot.name });
  return { diskBytes: added };
}

/** Waits until the snapshot shares the memory that it has in common with an earlier one, which begins when nothing else is under way. */
async function untilCompared(workspace: string, name: string): Promise<void> {
  const RecordSchema = z.object({ pagesCompared: z.boolean() });
  for (const deadline = performance.now() + sharingMs; ;) {
    const record = await readFile(`${pool}/snapshots/${workspace}/${name}/snapshot.json`, 'utf8');
    if (RecordSchema.parse(JSON.parse(record)).pagesCompared) return;
    if (performance.now() > deadline) throw new Error(`the memory of ${name} was not compared`);
    await delay(restMs);
  }
}

/** Bytes of the pool that are in use, once nothing is written or freed any more. */
async function usedBytes(): Promise<number> {
  for (let last = -1; ;) {
    while ((await readdir(`${pool}/trash`)).length > 0) await delay(restMs);
    // What was deleted is cleaned up by the kernel, in its own time.
    await command(['btrfs', 'subvolume', 'sync', pool]);
    await command(['btrfs', 'filesystem', 'sync', pool]);
    const { blocks, bfree, bsize } = await statfs(pool);
    const used = (blocks - bfree) * bsize;
    if (used === last) return used;
    last = used;
    await delay(restMs);
  }
}

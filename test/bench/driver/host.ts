import { readdirSync, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { DaemonClient } from '../../host/daemonClient.ts';
import { Figures, type Figure } from '../figures.ts';
import { listedWorkspace, type Extent } from '../order.ts';
import { command } from './command.ts';
import { templateDirectory } from './places.ts';

/** So long without a line in its log, the daemon has nothing left to do. */
const quietMs = 10_000;

/** All that the daemon does within so long counts as one wake-up, in milliseconds. */
const momentMs = 500;

/** What the daemon costs, and what does not depend on what runs in a workspace. */
export async function measureHost(client: DaemonClient, extent: Extent): Promise<Figure[]> {
  const figures = new Figures('host');
  const container = listedWorkspace;
  await client.call('containers/create', {
    ...{ name: container, rootfs: templateDirectory, command: ['sleep', 'infinity'] },
  });
  const { rootfs } = await client.call('containers/show', { container });
  await client.call('containers/stop', { container, timeout: 0 });
  for (let round = 0; round <= extent.hostRounds; round++) {
    const target = `${templateDirectory}.${String(round)}`;
    const begun = performance.now();
    const { timing } = await client.call('snapshots/create', { container });
    // Until the answer: the record that the snapshot has its own time in is written after that time was taken.
    const stopped = performance.now() - begun;
    const plain = await command(['btrfs', '-q', 'subvolume', 'snapshot', '-r', rootfs, target]);
    await command(['btrfs', '-q', 'subvolume', 'delete', target]);
    // The first warms the caches.
    if (round === 0) continue;
    figures.add('forkpoint', {
      stopped,
      ...Object.fromEntries(timing.map(({ step, ms }) => [`step:stopped/${step}`, ms])),
    });
    figures.add('btrfs', { stopped: plain.ms });
  }
  process.stderr.write(`  ${extent.listed} snapshots\n`);
  const { snapshotCount } = await client.call('containers/show', { container });
  for (let count = snapshotCount; count < extent.listed; count++)
    await client.call('snapshots/create', { container });
  await untilQuiet();
  figures.add('forkpoint', await idle(extent.idleMs));
  return figures.all;
}

/** Waits until the daemon has done in the background what the snapshots left to it: it logs nothing any more. */
async function untilQuiet(): Promise<void> {
  const size = async (): Promise<number> => (await stat('/var/log/forkpoint/helper.log')).size;
  for (let before = -1, now = await size(); now !== before; now = await size()) {
    before = now;
    await delay(quietMs);
  }
}

/** What the daemon does while it is asked nothing: CPU time, moments in which it wakes up, resident memory. */
async function idle(watchedMs: number): Promise<Record<string, number>> {
  const { stdout } = await command(['pgrep', '-f', '^[^ ]*node [^ ]*/helper\\.cjs daemon$']);
  const pid = stdout.split('\n')[0] ?? '';
  const before = usage(pid);
  const until = performance.now() + watchedMs;
  let moments = 0;
  let last = before;
  while (performance.now() < until) {
    await delay(momentMs);
    const now = usage(pid);
    // What a timer begins wakes several threads, one after the other.
    if (now.switches > last.switches) moments++;
    last = now;
  }
  const minutes = watchedMs / 60_000;
  return {
    idleCpu: (last.cpuMs - before.cpuMs) / minutes,
    idleWakeUps: moments / minutes,
    residentBytes: last.residentBytes,
  };
}

function usage(pid: string): { cpuMs: number; switches: number; residentBytes: number } {
  const directory = `/proc/${pid}`;
  // proc_pid_stat(5): (14) utime and (15) stime, in ticks of 10 ms; the name in parentheses may hold blanks.
  const fields = readFileSync(`${directory}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const switches = readdirSync(`${directory}/task`)
    .map((thread) => readFileSync(`${directory}/task/${thread}/status`, 'utf8'))
    .reduce((sum, status) => sum + numberIn(status, 'voluntary_ctxt_switches'), 0);
  return {
    cpuMs: (Number(fields[11]) + Number(fields[12])) * 10,
    switches,
    residentBytes: numberIn(readFileSync(`${directory}/status`, 'utf8'), 'VmRSS') * 1024,
  };
}

function numberIn(status: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s*(\\d+)`, 'm').exec(status)?.[1]);
}

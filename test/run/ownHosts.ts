import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { cacheDirectory } from '../host/machine/paths.ts';
import { runNode } from './process.ts';

/** One directory of hosts per run, named by its process id. */
const runsDirectory = path.join(cacheDirectory, 'runs');
const ownDirectory = path.join(runsDirectory, String(process.pid));

const endTimeoutMs = 120_000;

/** From here on the hosts of this run are its own: other runs, and a person at work, have theirs, of equal names. */
export function useOwnHosts(): void {
  process.env['FORKPOINT_HOSTS_DIRECTORY'] = ownDirectory;
}

/** Ends the hosts of this run that are still up, which happens when a suite is killed. */
export async function endOwnHosts(): Promise<void> {
  await endHosts(ownDirectory);
}

/** Ends the hosts of earlier runs that were killed. */
export async function clearAbandonedHosts(): Promise<void> {
  if (!existsSync(runsDirectory)) return;
  for (const pid of await readdir(runsDirectory)) {
    if (!existsSync(`/proc/${pid}`)) await endHosts(path.join(runsDirectory, pid));
  }
}

async function endHosts(directory: string): Promise<void> {
  if (!existsSync(directory)) return;
  const entries = await readdir(directory, { withFileTypes: true });
  for (const { name } of entries.filter((entry) => entry.isDirectory())) {
    process.stdout.write(`  Ending the test host "${name}", which was left up.\n`);
    const { status, output } = await runNode(
      ['--import', 'tsx', 'test/host/machine/cli.ts', 'down', '--name', name],
      {
        timeoutMs: endTimeoutMs,
        signal: AbortSignal.any([]),
        output: 'keep',
        env: { FORKPOINT_HOSTS_DIRECTORY: directory },
      },
    );
    if (status !== 0) throw new Error(`The test host "${name}" could not be ended: ${output}`);
  }
  await rm(directory, { recursive: true, force: true });
}

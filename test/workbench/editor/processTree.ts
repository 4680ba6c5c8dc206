import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { until } from './deadline.ts';

/** The variable by which processes of one tree are known after their parent has died. */
const markVariable = 'FORKPOINT_TEST_TREE';

/** What the first process of a tree gets in its environment, so that {@link endProcessTree} finds them all. */
export function treeMark(id: string): Record<string, string> {
  return { [markVariable]: id };
}

/**
 * Ends a process with all that it has started, those included that have left its process group or lost their parent
 * (pseudo terminals, daemons). The first gets `graceMs` milliseconds to end in good order; the rest is killed by pid.
 */
export async function endProcessTree(pid: number, id: string, graceMs = 5_000): Promise<void> {
  send(pid, 'SIGTERM');
  const end = performance.now() + graceMs;
  while ((await members(pid, id)).length > 0 && performance.now() < end) await delay(50);
  await until(`the processes of ${pid} to end`, async () => {
    const left = await members(pid, id);
    for (const member of left) send(member, 'SIGKILL');
    return left.length === 0;
  });
}

/** The living processes of the tree: descendants of `pid`, itself included, and all that carry the mark. */
async function members(pid: number, id: string): Promise<number[]> {
  const parents = new Map<number, number>();
  const found = new Set<number>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const candidate = Number(name);
    const status = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '');
    // A zombie is dead already; only its parent can remove it.
    if (status === '' || /^State:\s*Z/m.test(status)) continue;
    parents.set(candidate, Number(/^PPid:\s*(\d+)/m.exec(status)?.[1] ?? 0));
    const environment = await readFile(`/proc/${name}/environ`, 'utf8').catch(() => '');
    if (environment.split('\0').includes(`${markVariable}=${id}`)) found.add(candidate);
  }
  if (parents.has(pid)) found.add(pid);
  for (let previous = -1; previous !== found.size;) {
    previous = found.size;
    for (const [child, parent] of parents) if (found.has(parent)) found.add(child);
  }
  return [...found];
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended by itself in the meantime.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

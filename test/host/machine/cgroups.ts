import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { machineWideName } from './paths.ts';
import { TestHostError } from './testHostError.ts';

/** Which of the kernel's two kinds of cgroups a host sees. */
export type CgroupVersion = 1 | 2;

/** One cgroup hierarchy that is mounted on the machine. */
interface Hierarchy {
  readonly version: CgroupVersion;
  readonly mountPoint: string;
  /** Mount options, among them the controllers. */
  readonly options: readonly string[];
}

/** How long dying processes may take: the last one unmounts the pool, which writes what is left to be written. */
const endDeadlineMs = 60_000;

/** The directories of one host's own cgroups, one in each hierarchy. Its cgroup namespace has its root there. */
export interface HostCgroups {
  readonly version: CgroupVersion;
  readonly roots: readonly string[];
  /** Where the host's own processes live: v2 wants processes in leaves only. */
  readonly processes: readonly string[];
}

async function readHierarchies(): Promise<Hierarchy[]> {
  const found = new Map<string, Hierarchy>();
  for (const line of (await readFile('/proc/self/mountinfo', 'utf8')).split('\n')) {
    // See proc_pid_mountinfo(5): the number of optional fields before " - " varies.
    const [before, after] = line.split(' - ');
    const mountPoint = before?.split(' ')[4];
    const [type, , options] = after?.split(' ') ?? [];
    if (mountPoint === undefined || (type !== 'cgroup' && type !== 'cgroup2')) continue;
    found.set(mountPoint, {
      version: type === 'cgroup' ? 1 : 2,
      mountPoint,
      options: options?.split(',') ?? [],
    });
  }
  return [...found.values()];
}

/** v1 where the machine has such hierarchies, for v2 beside them has no controllers; else v2. */
export async function machineCgroupVersion(): Promise<CgroupVersion> {
  return (await readHierarchies()).some(({ version }) => version === 1) ? 1 : 2;
}

/** The cgroups that host `name` of that version has or would have. */
export async function hostCgroups(name: string, version: CgroupVersion): Promise<HostCgroups> {
  const roots = (await readHierarchies())
    .filter((hierarchy) => hierarchy.version === version)
    .map(({ mountPoint }) => join(mountPoint, machineWideName(name)));
  return { version, roots, processes: version === 2 ? roots.map((root) => join(root, 'init')) : roots };
}

/** The cgroups of host `name` that exist, whatever its version: one directory in each hierarchy. */
export async function existingCgroups(name: string): Promise<string[]> {
  return (await readHierarchies())
    .map(({ mountPoint }) => join(mountPoint, machineWideName(name)))
    .filter((root) => existsSync(root));
}

/** Pids, as the machine counts, of all processes of host `name`. */
export async function listProcesses(name: string): Promise<number[]> {
  const directories = (await Promise.all((await existingCgroups(name)).map(listTree))).flat();
  return [...new Set((await Promise.all(directories.map(readProcesses))).flat())];
}

/** Creates the cgroups of host `name`, empty. */
export async function createCgroups(name: string, version: CgroupVersion): Promise<HostCgroups> {
  for (const hierarchy of await readHierarchies()) {
    if (hierarchy.version !== version) continue;
    if (version === 2) await handDownControllers(hierarchy.mountPoint);
    const root = join(hierarchy.mountPoint, machineWideName(name));
    await mkdir(root, { recursive: true });
    // A cpuset is born without CPUs and memory nodes, and takes no process until it has some.
    for (const file of hierarchy.options.includes('cpuset') ? ['cpuset.cpus', 'cpuset.mems'] : []) {
      await writeFile(join(root, file), await readFile(join(hierarchy.mountPoint, file)));
    }
  }
  const cgroups = await hostCgroups(name, version);
  for (const directory of cgroups.processes) await mkdir(directory, { recursive: true });
  return cgroups;
}

/** Lets the children of a v2 cgroup have its controllers; boot.sh does so once more for the host's own root. */
async function handDownControllers(directory: string): Promise<void> {
  const controllers = await readFile(join(directory, 'cgroup.controllers'), 'utf8');
  for (const controller of controllers.split(/\s+/).filter(Boolean)) {
    await writeFile(join(directory, 'cgroup.subtree_control'), `+${controller}`).catch((error: unknown) => {
      // Where the machine is a container itself, its root cgroup holds processes and hands nothing down.
      if (!isCode(error, 'EBUSY')) throw error;
    });
  }
}

/** Whether process `pid` (as the machine counts) is in the cgroups of host `name`. */
export async function isInCgroups(name: string, pid: number): Promise<boolean> {
  try {
    const lines = await readFile(`/proc/${pid}/cgroup`, 'utf8');
    return lines.split('\n').some((line) => line.split(':')[2]?.split('/')[1] === machineWideName(name));
  } catch {
    return false;
  }
}

/**
 * Ends every process of host `name`, frozen ones too, and removes its cgroups. Does nothing where there
 * are none.
 * @throws {TestHostError} when processes are still there after a minute
 */
export async function endCgroups(name: string): Promise<void> {
  const deadline = Date.now() + endDeadlineMs;
  for (;;) {
    const directories = (await Promise.all((await existingCgroups(name)).map(listTree))).flat();
    if (directories.length === 0) return;
    // SIGKILL waits for the thaw, and the end of pid 1 waits for all others.
    for (const directory of directories) await thaw(directory);
    const processes = new Set((await Promise.all(directories.map(readProcesses))).flat());
    for (const pid of processes) kill(pid);
    if (processes.size === 0) await removeTrees(directories);
    if (Date.now() > deadline) {
      throw new TestHostError(
        `Test host "${name}" can't be ended: ${processes.size} processes or ${directories.length} cgroups of it remain ` +
          `(${directories[0] ?? ''}).`,
      );
    }
    await sleep(20);
  }
}

/** `root` and every cgroup below it, parents first. */
async function listTree(root: string): Promise<string[]> {
  const found = [root];
  for (const directory of found) {
    // Cgroups vanish while they are listed.
    const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) if (entry.isDirectory()) found.push(join(directory, entry.name));
  }
  return found;
}

async function thaw(directory: string): Promise<void> {
  for (const [file, value] of [
    ['freezer.state', 'THAWED'],
    ['cgroup.freeze', '0'],
  ] as const) {
    if (existsSync(join(directory, file))) await writeFile(join(directory, file), value).catch(ignoreGone);
  }
}

async function readProcesses(directory: string): Promise<number[]> {
  const text = await readFile(join(directory, 'cgroup.procs'), 'utf8').catch(() => '');
  // 0 stands for a process that this pid namespace can't name; kill(0) would end ourselves.
  return text
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 0);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!isCode(error, 'ESRCH')) throw error;
  }
}

async function removeTrees(directories: readonly string[]): Promise<void> {
  for (const directory of [...directories].reverse()) {
    await rmdir(directory).catch((error: unknown) => {
      // Busy: a process was born in it, or is not quite gone. The next round sees to it.
      if (!isCode(error, 'EBUSY')) ignoreGone(error);
    });
  }
}

function ignoreGone(error: unknown): void {
  if (!isCode(error, 'ENOENT') && !isCode(error, 'ENODEV')) throw error;
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

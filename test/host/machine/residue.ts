import { execa } from 'execa';
import { existsSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { existingCgroups, listProcesses } from './cgroups.ts';
import { hostPaths } from './paths.ts';

/** What shows that a host exists, noted while it does. Other hosts on the machine come and go meanwhile. */
export interface HostTraces {
  readonly name: string;
  /** Like "mnt:[4026532190]", those alone that are not the machine's. */
  readonly namespaces: ReadonlySet<string>;
  readonly links: readonly string[];
}

const namespaceKinds = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'uts'];

/** Notes the namespaces and links of host `name`; a host that is half up has some of them. */
export async function traceHost(name: string, links: readonly string[] = []): Promise<HostTraces> {
  const namespaces = new Set<string>();
  for (const pid of await listProcesses(name)) {
    for (const namespace of await namespacesOf(String(pid))) namespaces.add(namespace);
  }
  for (const namespace of await namespacesOf('self')) namespaces.delete(namespace);
  return { name, namespaces, links };
}

/**
 * Names everything that is still there of a host that was ended. A "zombie" among it is dead and waits for
 * its parent to take note, which may be the machine's init.
 */
export async function findResidue({ name, namespaces, links }: HostTraces): Promise<string[]> {
  const { directory } = hostPaths(name);
  const residue: string[] = [];
  for (const pid of (await readdir('/proc')).filter((entry) => /^[0-9]+$/.test(entry))) {
    const shared = (await namespacesOf(pid)).filter((namespace) => namespaces.has(namespace));
    if (shared.length > 0) residue.push(`${await describeProcess(pid)} in ${shared.join(', ')}`);
  }
  residue.push(...(await existingCgroups(name)).map((cgroup) => `cgroup ${cgroup}`));
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  residue.push(...mounts.filter((line) => line.includes(`${directory}/`)).map((line) => `mount ${line}`));
  const loops = (
    await execa('losetup', ['--list', '--noheadings', '--output', 'NAME,BACK-FILE'])
  ).stdout.split('\n');
  residue.push(
    ...loops.filter((line) => line.includes(`${directory}/`)).map((line) => `loop device ${line}`),
  );
  residue.push(...links.filter((link) => existsSync(`/sys/class/net/${link}`)).map((link) => `link ${link}`));
  if (existsSync(directory)) residue.push(`directory ${directory}`);
  return residue;
}

async function describeProcess(pid: string): Promise<string> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const name = /^Name:\s*(.*)$/m.exec(status)?.[1] ?? 'ended just now';
  return `${/^State:\s*Z/m.test(status) ? 'zombie' : 'process'} ${pid} (${name})`;
}

async function namespacesOf(pid: string): Promise<string[]> {
  const links = namespaceKinds.map((kind) =>
    // Processes end while they are looked at, and a zombie has no namespaces.
    readlink(`/proc/${pid}/ns/${kind}`).catch(() => undefined),
  );
  return (await Promise.all(links)).filter((link) => link !== undefined);
}

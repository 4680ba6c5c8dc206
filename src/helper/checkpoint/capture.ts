import { readFile } from 'node:fs/promises';
import { visible } from '../../protocol/names.ts';
import type { Capture, OutsideConnection, Process } from '../../protocol/snapshot.ts';
import type { Cgroup } from '../engines/cgroup.ts';
import { unescapeMount } from '../host/mounts.ts';
import { readProcess } from '../host/processes.ts';
import type { ProcessStatus } from '../host/processes.ts';
import { readSockets } from './sockets.ts';

/** What lives in a workspace right now. */
export interface LiveState {
  readonly kept: Process[];
  readonly leftOut: Capture['leftOut'];
  readonly listeners: Capture['listeners'];
  readonly outsideConnections: OutsideConnection[];
  readonly otherMounts: Capture['otherMounts'];
  /** Local addresses that its sockets may use: all of its network namespace, and those that connections still have. */
  readonly addresses: string[];
}

/** Reads it from /proc and the network namespace. Every name is the container's, so it is made {@link visible}. */
export async function readLiveState(
  cgroup: Cgroup,
  initPid: number,
  volumePaths: readonly string[],
): Promise<LiveState> {
  const [processes, sockets, mounts] = [
    readProcesses(cgroup, initPid),
    readSockets(initPid),
    readMounts(initPid, volumePaths),
  ];
  const { connections, listeners, addresses } = await sockets;
  return { ...processes, listeners, outsideConnections: connections, addresses, otherMounts: await mounts };
}

/**
 * The processes of a container: those that descend from its init, which a dump holds, and those started from outside
 * (`podman exec`), which CRIU leaves out without a word (FACTS: exec'd processes).
 */
export function readProcesses(cgroup: Cgroup, initPid: number): Pick<LiveState, 'kept' | 'leftOut'> {
  const all = new Map<number, ProcessStatus>();
  for (const pid of cgroup.processes()) {
    const status = readProcess(pid);
    if (status) all.set(pid, status);
  }
  const descends = (status: ProcessStatus | undefined, depth = 0): boolean => {
    if (!status || depth > all.size) return false;
    return status.pid === initPid || descends(all.get(status.parent), depth + 1);
  };
  const kept: Process[] = [];
  const leftOut: Capture['leftOut'] = [];
  for (const status of [...all.values()].sort((a, b) => a.innerPid - b.innerPid)) {
    const shown = { pid: status.innerPid, name: visible(status.name), memoryBytes: status.memoryBytes };
    if (descends(status)) kept.push(shown);
    else leftOut.push({ ...shown, reason: 'started from outside the workspace (exec), not by its init' });
  }
  return { kept, leftOut };
}

/** Kernel interfaces without content of their own. */
const INTERFACES = new Set([
  'proc',
  'sysfs',
  'devpts',
  'mqueue',
  'cgroup',
  'cgroup2',
  'securityfs',
  'debugfs',
  'tracefs',
  'bpf',
]);

async function readMounts(pid: number, volumePaths: readonly string[]): Promise<Capture['otherMounts']> {
  return otherMounts(await readFile(`/proc/${String(pid)}/mountinfo`, 'utf8').catch(() => ''), volumePaths);
}

/** The mounts of a workspace, by its mountinfo, whose content is not in the files of a snapshot. */
export function otherMounts(mountinfo: string, volumePaths: readonly string[]): Capture['otherMounts'] {
  const found: Capture['otherMounts'] = [];
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    const point = unescapeMount(before?.split(' ')[4] ?? '');
    const type = after?.split(' ')[0] ?? '';
    if (point === '' || point === '/' || volumePaths.includes(point) || INTERFACES.has(type)) continue;
    // The runtime's own: masked files of /proc and /sys, device nodes and the tmpfs that holds them.
    if (/^\/(proc|sys|dev)(\/|$)/.test(point) && point !== '/dev/shm') continue;
    const reason =
      type === 'tmpfs' ? 'in memory: kept with the processes, not with the files' : 'mounted from the host';
    found.push({ path: visible(point), type, reason });
  }
  return found;
}

import { visible } from '../../protocol/names.ts';
import type { Params, Result } from '../../protocol/operations.ts';
import type { WorkspacePort } from '../../protocol/reach.ts';
import { addressOf } from '../checkpoint/sockets.ts';
import { readProcess } from '../host/processes.ts';
import type { Parts } from './parts.ts';
import { runningWorkspace } from './terminals.ts';

/** What listens in a workspace, and what it publishes; one row for each port. */
export async function listPorts(parts: Parts, params: Params<'ports/list'>): Promise<Result<'ports/list'>> {
  const { record, facts, cgroup } = await runningWorkspace(parts, params.container);
  const own = new Set(cgroup.processes());
  const found = new Map<number, WorkspacePort>();
  for (const { port, address, pids } of await listListeners(parts, facts.pid)) {
    const known = found.get(port);
    // What a process calls itself may look like another's id, so only ids of the workspace count.
    const pid = pids.find((one) => own.has(one));
    const holder = pid === undefined ? null : readProcess(pid);
    found.set(port, {
      port,
      addresses: [...(known?.addresses ?? []), visible(address)],
      process:
        known?.process ?? (holder === null ? null : { pid: holder.innerPid, name: visible(holder.name) }),
      published: [],
    });
  }
  for (const { ip, hostPort, containerPort } of record.spec.published) {
    const known = found.get(containerPort) ?? {
      port: containerPort,
      addresses: [],
      process: null,
      published: [],
    };
    const shown = `${ip.includes(':') ? `[${ip}]` : ip}:${String(hostPort)}`;
    found.set(containerPort, { ...known, published: [...known.published, shown] });
  }
  return [...found.values()].sort((a, b) => a.port - b.port);
}

/** A TCP port that something listens on. */
export interface Listener {
  readonly port: number;
  /** As `ss` writes it. */
  readonly address: string;
  /** Ids on the host of the processes that hold it. */
  readonly pids: readonly number[];
}

/** The listeners in the network namespace of `pid`. */
export async function listListeners(parts: Parts, pid: number): Promise<Listener[]> {
  const inside = [`--net=/proc/${String(pid)}/ns/net`, '--'];
  const { stdout } = await parts.run('nsenter', [...inside, 'ss', '-Htlnp']);
  return readListeners(stdout);
}

/** Reads `ss -Htlnp`: state, queues, local address, peer, and `users:(("name",pid=1,fd=2),…)` where it knows them. */
export function readListeners(printed: string): Listener[] {
  return printed
    .split('\n')
    .filter((line) => line.trim() !== '')
    .flatMap((line) => {
      const local = line.trim().split(/\s+/)[3];
      const port = Number(/:(\d{1,5})$/.exec(local ?? '')?.[1]);
      if (local === undefined || !(port >= 1 && port <= 65535)) return [];
      return [
        {
          port,
          address: addressOf(local),
          pids: [...line.matchAll(/,pid=(\d+),fd=/g)].map((match) => Number(match[1])),
        },
      ];
    });
}

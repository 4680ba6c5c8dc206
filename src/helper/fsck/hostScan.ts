import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import * as z from 'zod';
import { WorkspaceIdSchema } from '../../protocol/names.ts';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import { closeOutsideConnections } from '../checkpoint/connections.ts';
import { Cgroup } from '../engines/cgroup.ts';
import { PODMAN_ENVIRONMENT } from '../engines/podmanEnvironment.ts';
import { abandonedCommands, takeOverCommands } from '../host/leftCommands.ts';
import type { Log } from '../host/log.ts';
import { mountAt, mountPointsBelow } from '../host/mounts.ts';
import { commandLines, isRunning, signalProcess } from '../host/processes.ts';
import type { Run } from '../host/run.ts';
import type { Found } from './finding.ts';
import type { PoolLook } from './poolScan.ts';
import { workspaceIn, type PoolView } from './poolFiles.ts';

/** What a look at the host needs beside the pool. */
export interface HostView {
  readonly run: Run;
  readonly log: Log;
  /** Script that undoes what a CRIU cut short leaves of the network. */
  readonly releaseNetwork: string;
}

const ContainersSchema = z.array(
  z.object({
    Id: z.string(),
    Names: z.array(z.string()),
    State: z.string(),
    Pid: z.int().optional(),
    Labels: z.record(z.string(), z.string()).nullish(),
  }),
);
type EngineContainer = z.infer<typeof ContainersSchema>[number];

/** Tables that hold traffic back for the moment of a dump or of a restore. */
const HOLDING_TABLES = /^table inet (CRIU-\S+|forkpoint_restore)$/gm;

/** Looks at the engine's containers, cgroups, network namespaces, processes and mounts, and changes nothing. */
export async function lookAtHost(view: PoolView, host: HostView, pool: PoolLook): Promise<Found[]> {
  return [
    ...(await examinePoolMount(view, host)),
    ...(await examineContainers(host, pool)),
    ...examineProcesses(view, host, pool),
    ...examineMounts(view),
  ];
}

async function examinePoolMount(view: PoolView, { run }: HostView): Promise<Found[]> {
  const { root } = view.layout;
  const found: Found[] = [];
  const about = { subject: root, workspace: null, mend: null };
  if (mountAt(root)?.options.includes('ro') === true)
    found.push({ kind: 'pool.readOnly', ...about, problem: 'it is mounted read-only' });
  const { stdout } = await run('btrfs', ['device', 'stats', '--', root]);
  const errors = [...stdout.matchAll(/\.(\w+_errs)\s+([1-9]\d*)$/gm)];
  if (errors.length > 0) {
    const counts = errors.map(([, name, count]) => `${String(name)} ${String(count)}`).join(', ');
    found.push({ kind: 'pool.diskErrors', ...about, problem: `the kernel counted ${counts}` });
  }
  return found;
}

async function examineContainers(host: HostView, pool: PoolLook): Promise<Found[]> {
  const { stdout } = await host.run(
    'podman',
    ['ps', '--all', '--filter', 'label=forkpoint.workspace', '--format', 'json'],
    { env: PODMAN_ENVIRONMENT },
  );
  const found: Found[] = [];
  for (const container of ContainersSchema.parse(JSON.parse(stdout))) {
    const label = WorkspaceIdSchema.safeParse(container.Labels?.['forkpoint.workspace']);
    const id = label.success ? label.data : null;
    const pid = container.Pid ?? 0;
    const cgroup = isRunning(pid) ? Cgroup.find(pid, container.Id) : null;
    const [name = container.Id] = container.Names;
    const workspace = pool.workspaces.find((one) => one.id === id || one.engine.container === name);
    if (workspace === undefined) {
      // One whose record can't be read is found as that.
      const isKnown = pool.found.some(
        (one) => one.kind === 'workspace.recordUnreadable' && one.workspace === id,
      );
      if (!isKnown) found.push(orphan(host, container, name, id, cgroup !== null));
    } else if (cgroup !== null) {
      found.push(...examineFrozen(host, container, workspace, cgroup, name));
      found.push(...(await examineTraffic(host, workspace, cgroup, pid)));
    }
  }
  return found;
}

function orphan(
  { run }: HostView,
  { Id }: EngineContainer,
  name: string,
  workspace: WorkspaceId | null,
  isAlive: boolean,
): Found {
  const about = { subject: name, problem: `its workspace ${workspace ?? ''} does not exist`, workspace };
  if (isAlive) return { kind: 'container.orphanRuns', ...about, mend: null };
  const mend = async (): Promise<void> => {
    await run('podman', ['rm', '--ignore', Id], { env: PODMAN_ENVIRONMENT });
  };
  return { kind: 'container.orphan', ...about, mend };
}

function examineFrozen(
  { run }: HostView,
  { State, Id }: EngineContainer,
  workspace: WorkspaceRecord,
  cgroup: Cgroup,
  name: string,
): Found[] {
  if (!cgroup.isFrozen()) return [];
  const isPaused = State === 'paused';
  const mend = async (): Promise<void> => {
    if (isPaused) await run('podman', ['unpause', Id], { env: PODMAN_ENVIRONMENT });
    else cgroup.thaw();
  };
  return [
    {
      kind: 'workspace.frozen',
      subject: workspace.name,
      problem: isPaused ? `somebody has paused the container ${name}` : 'nothing is under way for it',
      workspace: workspace.id,
      mend,
    },
  ];
}

async function examineTraffic(
  { run, releaseNetwork }: HostView,
  workspace: WorkspaceRecord,
  cgroup: Cgroup,
  pid: number,
): Promise<Found[]> {
  const inside = [`--net=/proc/${String(pid)}/ns/net`, '--'];
  const { stdout } = await run('nsenter', [...inside, 'nft', 'list', 'tables', 'inet'], { accept: [0, 1] });
  const tables = [...stdout.matchAll(HOLDING_TABLES)].map(([, name]) => name ?? '');
  return tables.map((table) => ({
    kind: 'workspace.trafficHeld',
    subject: workspace.name,
    problem: `the table "${table}" of a ${table.startsWith('CRIU') ? 'dump' : 'restore'} is there still`,
    workspace: workspace.id,
    mend: async () => {
      if (table.startsWith('CRIU')) await run('/bin/sh', [releaseNetwork, String(pid), cgroup.directory]);
      else await closeOutsideConnections(run, pid, false);
    },
  }));
}

function examineProcesses(view: PoolView, { log }: HostView, pool: PoolLook): Found[] {
  const found: Found[] = abandonedCommands().map(({ pid, name }) => ({
    kind: 'process.left',
    subject: `process ${String(pid)}`,
    problem: `"${name}" was started by a daemon that has ended`,
    workspace: null,
    mend: () => takeOverCommands(log),
  }));
  for (const { pid, args } of commandLines()) {
    // Of the shell that runs the script: what it starts bears other words.
    const watched = args[1]?.endsWith('/watchdog.sh') === true ? args[2] : undefined;
    if (watched?.startsWith(view.layout.root) === true) {
      found.push({
        kind: 'process.left',
        subject: `process ${String(pid)}`,
        problem: 'it watches over a freeze, and nothing is under way',
        workspace: workspaceIn(watched),
        mend: () => {
          // What it watched over is looked at again afterwards, and thawed where it stands still.
          signalProcess(pid, 'SIGKILL');
          return Promise.resolve();
        },
      });
    }
    const images = args[1]?.endsWith('/lazy-pages.sh') === true ? args[2] : undefined;
    if (
      images?.startsWith(view.layout.root) === true &&
      !pool.workspaces.some(({ lazy }) => lazy?.pid === pid)
    ) {
      found.push({
        kind: 'process.lazyPages',
        subject: `process ${String(pid)}`,
        problem: `it serves ${path.relative(view.layout.root, images)}`,
        workspace: workspaceIn(images),
        mend: null,
      });
    }
  }
  return found;
}

function examineMounts(view: PoolView): Found[] {
  const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8');
  return mountPointsBelow(view.layout.root, mountinfo).map((place) => ({
    kind: 'mount.left',
    subject: place,
    problem: 'something is mounted there',
    workspace: workspaceIn(`${place}/`),
    mend: null,
  }));
}

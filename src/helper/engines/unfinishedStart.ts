import { existsSync, readFileSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import * as path from 'node:path';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import { mountPointsBelow } from '../host/mounts.ts';
import { poll } from '../host/poll.ts';
import { commandLines } from '../host/processes.ts';
import type { Run } from '../host/run.ts';
import { Cgroup } from './cgroup.ts';
import { RUNTIME_ROOT } from './runtimeRoot.ts';

/** Where Podman mounts the network namespaces of containers (go.podman.io/common/pkg/netns). */
const NAMESPACES = '/run/netns';

/** Where runtimes bind the files of a container for CRIU while they restore it (runc's criu_linux.go, crun's criu.c). */
const RESTORE_MOUNT = 'criu-root';

/** How long what goes on without Podman may take, in milliseconds. */
const ENDING_MS = 60_000;

/** Whether a start or a restore of a container that does not run was killed together with its runtime, or has yet to be cleared away. */
export function isUnfinished({ id, runtime }: Pick<WorkspaceRecord['engine'], 'id' | 'runtime'>): boolean {
  return id !== '' && (existsSync(path.join(RUNTIME_ROOT[runtime], id)) || restoreMounts(id).length > 0);
}

/**
 * Ends what is left of a start or a restore that Podman began and did not finish, because it was killed: the monitor, the
 * runtime and CRIU go on without it, and would get in the way of whatever is done next; and a network namespace that it had
 * no time to write down keeps the container's address in the network.
 */
export async function endUnfinishedStart(
  run: Run,
  podman: (args: readonly string[]) => Promise<{ readonly stdout: string }>,
  container: Pick<WorkspaceRecord['engine'], 'id' | 'runtime'> & Pick<WorkspaceRecord['spec'], 'mac'>,
): Promise<void> {
  const { id, runtime, mac } = container;
  const isOver = async (): Promise<boolean> => {
    const programs = commandLines().map(({ args }) => ({ name: path.basename(args[0] ?? ''), args }));
    const own = programs.filter(({ args }) => args.includes(id));
    // CRIU's own code may be at work inside the processes as long as the runtime is there.
    if (!own.some(({ name }) => name === 'runc' || name === 'crun'))
      await Cgroup.findThroughAnyMember(id)?.killAll();
    return !own.some(({ name }) => name !== 'podman') && !programs.some(({ name }) => name === 'netavark');
  };
  await poll(isOver, { everyMs: 20, timeoutMs: ENDING_MS });
  // Runtime and Podman delete their directories with all that is in them, mounted or not: the files of the workspace.
  for (const point of restoreMounts(id)) await run('umount', ['--lazy', point]);
  // Forced, it is content with one that is not there (runc-delete(8), crun(1)).
  await run(runtime, ['--root', RUNTIME_ROOT[runtime], 'delete', '--force', id]);
  // What it has written down it takes back itself; the next start would count on it.
  await podman(['container', 'cleanup', id]);
  if (await hasNamespace(podman, id)) {
    // It cleans up nothing of one that it has not written down as started (libpod/container_internal.go, fullCleanup).
    await podman(['init', id]);
    await podman(['stop', '--time', '0', id]);
  }
  for (const file of await namespaces()) await removeNamespace(run, file, mac);
}

function restoreMounts(id: string): string[] {
  const points = mountPointsBelow('', readFileSync('/proc/self/mountinfo', 'utf8'));
  return points.filter((point) => point.endsWith(`/${RESTORE_MOUNT}`) && point.includes(`/${id}/`));
}

async function hasNamespace(
  podman: (args: readonly string[]) => Promise<{ readonly stdout: string }>,
  id: string,
): Promise<boolean> {
  const { stdout } = await podman([
    ...['container', 'inspect', '--format', '{{.NetworkSettings.SandboxKey}}'],
    id,
  ]);
  return stdout.trim() !== '';
}

/** The hardware addresses that containers have in named network namespaces. */
export async function macsOfNamespaces(run: Run): Promise<string[]> {
  const files = await namespaces();
  return (await Promise.all(files.map((file) => macsIn(run, file)))).flat();
}

async function namespaces(): Promise<string[]> {
  const names = await readdir(NAMESPACES).catch(() => []);
  return names.filter((name) => name.startsWith('netns-')).map((name) => path.join(NAMESPACES, name));
}

async function macsIn(run: Run, file: string): Promise<string[]> {
  const { stdout } = await run('nsenter', [`--net=${file}`, '--', 'ip', '-oneline', 'link'], {
    // It may have gone since.
    accept: [0, 1],
  });
  return [...stdout.matchAll(/ link\/ether (\S+)/g)].map(([, mac]) => mac ?? '');
}

/** Removes a network namespace of that hardware address, and with it its end of the network (ip-netns(8)). */
async function removeNamespace(run: Run, file: string, mac: string): Promise<void> {
  if (!(await macsIn(run, file)).includes(mac)) return;
  await run('umount', [file]);
  await rm(file, { force: true });
}

import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import type { Artefacts } from './build.ts';
import { hasSysResource } from './capability.ts';
import { createCgroups, type CgroupVersion, type HostCgroups } from './cgroups.ts';
import { wrapCriu } from './criuShim.ts';
import { makeKeys, writeKnownHosts } from './keys.ts';
import { linkToMachine, type HostLink } from './network.ts';
import { ownFile, type HostPaths } from './paths.ts';
import { TestHostError } from './testHostError.ts';

/** What {@link boot} needs to know. */
export interface BootOptions {
  readonly name: string;
  readonly paths: HostPaths;
  readonly artefacts: Artefacts;
  /** Size of the pool's file system, bytes; the file is sparse. */
  readonly poolSizeBytes: number;
  readonly cgroupVersion: CgroupVersion;
}

/** A host whose sshd answers. */
export interface BootedHost {
  /** The host's pid 1, as the machine counts. */
  readonly pid: number;
  readonly link: HostLink;
}

/** From the start of pid 1 until sshd listens; about one second on an idle machine. */
const bootDeadlineMs = 60_000;

/** Makes the host's layer, starts its namespaces and waits until it is up. Nothing of it may exist yet. */
export async function boot(options: BootOptions): Promise<BootedHost> {
  const { name, paths, artefacts } = options;
  await mkdir(paths.upperDirectory, { recursive: true });
  // Keeps a later build from removing what this host stands on.
  await writeFile(join(paths.directory, 'artefacts'), `${artefacts.hostRoot}\n${artefacts.workspaceTar}\n`);
  await mkdir(join(paths.upperDirectory, 'etc'), { recursive: true });
  await writeFile(join(paths.upperDirectory, 'etc/hostname'), `${name}\n`);
  await writeFile(join(paths.upperDirectory, 'etc/hosts'), `127.0.0.1 localhost ${name}\n::1 localhost\n`);
  const [cgroups] = await Promise.all([
    createCgroups(name, options.cgroupVersion),
    makeKeys(paths),
    hasSysResource() ? undefined : wrapCriu(artefacts.hostRoot, paths.upperDirectory),
  ]);
  return await startInit(options, cgroups);
}

async function startInit(options: BootOptions, cgroups: HostCgroups): Promise<BootedHost> {
  const { name, paths, artefacts, poolSizeBytes } = options;
  const child = spawn(
    'sh',
    [
      ...joining(cgroups.roots),
      // The cgroup namespace's root is where this process is when it makes it: above the leaf that
      // processes live in under cgroup v2.
      ...['unshare', '--cgroup', 'sh', ...joining(cgroups.processes)],
      ...['unshare', '--mount', '--pid', '--uts', '--ipc', '--net', '--fork', '--propagation', 'private'],
      ...['sh', ownFile('boot.sh'), artefacts.hostRoot, paths.directory, name],
      ...[artefacts.workspaceTar, String(poolSizeBytes), String(cgroups.version)],
    ],
    { detached: true, stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' },
  );
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  const deadline = setTimeout(() => {
    complaints += `It was not up within ${bootDeadlineMs} ms.`;
    // The whole group: unshare's child would live on and hold the pipes open.
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  }, bootDeadlineMs);
  try {
    let booted: Promise<BootedHost> | undefined;
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.startsWith('pid ')) {
        const pid = Number(line.slice('pid '.length));
        booted = linkToMachine(pid).then((link) => ({ pid, link }));
        // Awaited only after "ready"; a failure before that must not count as unhandled.
        booted.catch(() => undefined);
      }
      if (line === 'ready' && booted) {
        const host = await booted;
        await writeKnownHosts(paths, artefacts.hostRoot, host.link.address);
        child.unref();
        return host;
      }
    }
    // stderr may still hold words that stdout's end overtook.
    await finished(child.stderr);
    throw new TestHostError(`Test host "${name}" did not boot. It said: ${complaints}`);
  } finally {
    clearTimeout(deadline);
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

/** Arguments of `sh` that put it into `cgroups` and make it the command that follows. */
export function joining(cgroups: readonly string[]): string[] {
  return [ownFile('join.sh'), String(cgroups.length), ...cgroups];
}

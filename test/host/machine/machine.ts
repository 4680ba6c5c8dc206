import { execa } from 'execa';
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { boot, joining } from './boot.ts';
import { provideArtefacts } from './build.ts';
import { endCgroups, hostCgroups, isInCgroups, machineCgroupVersion, type CgroupVersion } from './cgroups.ts';
import { installHelper } from './helper.ts';
import { withLock } from './lock.ts';
import { removeLink } from './network.ts';
import { hostPaths, hostsDirectory } from './paths.ts';
import { HostDescriptionSchema, TestHost, type HostDescription } from './testHost.ts';
import { requirePrerequisites } from './prerequisites.ts';
import { devUser, poolMountPoint } from './recipe.ts';
import { TestHostError } from './testHostError.ts';
import { endQemu, isQemuRunning } from '../vm/qemu.ts';
import { bootVm, findVm } from '../vm/vmHost.ts';
import { provideImages } from '../vm/images.ts';

export { enterOptions, TestHost, type ExecOptions, type ExecResult } from './testHost.ts';

const StateSchema = z.object({
  description: HostDescriptionSchema,
  kind: z.discriminatedUnion('machine', [
    z.object({
      machine: z.literal('namespaces'),
      interfaceName: z.string(),
      cgroupVersion: z.literal([1, 2]),
    }),
    z.object({ machine: z.literal('vm') }),
  ]),
});
type State = z.infer<typeof StateSchema>;

/** What a host is made of: namespaces of the machine's own kernel, or a virtual machine with all that a host has. */
export type Machine = 'namespaces' | 'vm';

/** How to boot a host. */
export interface BootHostOptions {
  /** Default: what FORKPOINT_TEST_MACHINE says, else "namespaces"; so a suite for the one runs on the other unchanged. */
  readonly machine?: Machine;
  /** Letters, digits and inner hyphens, at most 32: it is the host's hostname, too. Default: "default". */
  readonly name?: string;
  /** Default: 12 GiB, of which the machine's disk holds only what is written. */
  readonly poolSizeBytes?: number;
  /** A host of that name that is up: end it first, or (default) refuse. */
  readonly ifRunning?: 'replace' | 'refuse';
  /**
   * Which cgroups the host sees. Default: v1 where the machine has them. Version 2 works there too, but
   * without controllers (no limits of memory or processes, yet freezing and killing).
   */
  readonly cgroupVersion?: CgroupVersion;
  /** Whether dist/helper.cjs, where it is built, is installed on the host. Default: true. */
  readonly installsHelper?: boolean;
}

export const defaultHostName = 'default';
const defaultPoolSizeBytes = 12 * 1024 ** 3;
/** Booting takes seconds, ending a host up to 20. */
const lockWaitSeconds = 60;

/** A test host made of namespaces of the machine's own kernel. */
class NamespaceHost extends TestHost {
  /** All of its namespaces, its root, its cgroups. */
  override async enterArguments(argv: readonly string[]): Promise<[string, ...string[]]> {
    const { processes } = await hostCgroups(this.name, this.cgroupVersion);
    return [
      'sh',
      ...joining(processes),
      ...['nsenter', '--target', String(this.description.pid)],
      ...['--mount', '--pid', '--uts', '--ipc', '--net', '--cgroup', '--'],
      // nsenter passes no signal on; when it is killed, the command goes with it.
      ...['setpriv', '--pdeathsig', 'KILL', '--'],
      ...argv,
    ];
  }

  override async down(): Promise<void> {
    await endHost(this.name);
  }
}

/**
 * Boots a host, building what it is made from if that is not cached. What a killed `up` or a crash left
 * under that name is cleaned away first.
 * @throws {TestHostError} when the machine lacks something, the name is taken, or it does not boot
 */
export async function bootHost(options: BootHostOptions = {}): Promise<TestHost> {
  const {
    name = defaultHostName,
    poolSizeBytes = defaultPoolSizeBytes,
    ifRunning = 'refuse',
    installsHelper = true,
  } = options;
  requireHostName(name);
  const machine = options.machine ?? machineOfEnvironment();
  await requirePrerequisites();
  const artefacts = await provideArtefacts();
  if (machine === 'vm') await provideImages();
  const cgroupVersion = options.cgroupVersion ?? (await machineCgroupVersion());
  const paths = hostPaths(name);
  return await withHostLock(name, async () => {
    if (ifRunning === 'refuse' && (await readRunning(name))) {
      throw new TestHostError(`Test host "${name}" is up. End it first: npm run host -- down --name ${name}`);
    }
    await removeHost(name);
    try {
      if (machine === 'vm') {
        const host = await bootVm(name, poolSizeBytes);
        await writeState(name, { description: host.description, kind: { machine } });
        if (installsHelper) await installHelper(host.sshArguments());
        return host;
      }
      const { pid, link } = await boot({ name, paths, artefacts, poolSizeBytes, cgroupVersion });
      const description: HostDescription = {
        name,
        pid,
        ssh: {
          host: link.address,
          port: 22,
          user: devUser,
          identityFile: paths.identityFile,
          knownHostsFile: paths.knownHostsFile,
        },
        pool: poolMountPoint,
      };
      const { interfaceName } = link;
      await writeState(name, { description, kind: { machine, interfaceName, cgroupVersion } });
      const host = new NamespaceHost(description, cgroupVersion);
      if (installsHelper) await installHelper(host.sshArguments());
      return host;
    } catch (error) {
      await removeHost(name);
      throw error;
    }
  });
}

/**
 * The host `name`, which is up.
 * @throws {TestHostError} when it isn't
 */
export async function findHost(name: string): Promise<TestHost> {
  requireHostName(name);
  const state = await readRunning(name);
  if (!state) {
    throw new TestHostError(`Test host "${name}" is not up. Boot it: npm run host -- up --name ${name}`);
  }
  return state.kind.machine === 'vm'
    ? await findVm(state.description)
    : new NamespaceHost(state.description, state.kind.cgroupVersion);
}

/** Ends host `name`: processes, mounts, namespaces, loop device, link, cgroups, files. Does nothing where there is none. */
export async function endHost(name: string): Promise<void> {
  requireHostName(name);
  await withHostLock(name, () => removeHost(name));
}

/** Names of the hosts that are up, or of which something is left. */
export async function listHosts(): Promise<string[]> {
  if (!existsSync(hostsDirectory)) return [];
  const entries = await readdir(hostsDirectory, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

function machineOfEnvironment(): Machine {
  const machine = process.env['FORKPOINT_TEST_MACHINE'] ?? 'namespaces';
  if (machine === 'namespaces' || machine === 'vm') return machine;
  throw new TestHostError(`FORKPOINT_TEST_MACHINE is "${machine}"; there are "namespaces" and "vm".`);
}

function requireHostName(name: string): void {
  if (!/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/i.test(name)) {
    throw new TestHostError(
      `"${name}" can't name a test host: use up to 32 letters, digits and inner hyphens.`,
    );
  }
}

async function withHostLock<T>(name: string, body: () => Promise<T>): Promise<T> {
  return await withLock(
    hostPaths(name).lockFile,
    { waitSeconds: lockWaitSeconds, what: `test host "${name}"` },
    body,
  );
}

async function writeState(name: string, state: State): Promise<void> {
  const { stateFile } = hostPaths(name);
  // Renamed, so that a reader never sees half of it.
  await writeFile(`${stateFile}.partial`, JSON.stringify(state));
  await rename(`${stateFile}.partial`, stateFile);
}

async function readState(name: string): Promise<State | undefined> {
  const { stateFile } = hostPaths(name);
  if (!existsSync(stateFile)) return undefined;
  // What another version of this program wrote in another form still tells enough to clear the host away: it is there.
  return StateSchema.safeParse(JSON.parse(await readFile(stateFile, 'utf8'))).data;
}

/** The state of a host whose pid 1 lives; a pid that another process has got since doesn't count. */
async function readRunning(name: string): Promise<State | undefined> {
  const state = await readState(name);
  if (!state) return undefined;
  const isUp =
    state.kind.machine === 'vm'
      ? await isQemuRunning(hostPaths(name))
      : await isInCgroups(name, state.description.pid);
  return isUp ? state : undefined;
}

async function removeHost(name: string): Promise<void> {
  const running = await readRunning(name);
  // Before its namespace goes: after that the name may be another host's.
  if (running?.kind.machine === 'namespaces') await removeLink(running.kind.interfaceName);
  await endQemu(hostPaths(name));
  await endCgroups(name);
  const { directory } = hostPaths(name);
  await waitForLoopDevice(directory);
  await rm(directory, { recursive: true, force: true });
}

/** The kernel lets go of the pool's loop device a moment after its last mount is gone. */
async function waitForLoopDevice(directory: string): Promise<void> {
  const pool = `${directory}/pool.img`;
  if (!existsSync(pool)) return;
  for (let attempt = 0; attempt < 200; attempt++) {
    const { stdout } = await execa('losetup', ['--associated', pool, '--noheadings', '--output', 'NAME']);
    if (stdout === '') return;
    await sleep(50);
  }
  throw new TestHostError(`The loop device of ${pool} is still in use; "losetup -a" shows it.`);
}

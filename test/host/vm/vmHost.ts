import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostPaths } from '../machine/paths.ts';
import { report } from '../machine/progress.ts';
import { poolMountPoint } from '../machine/recipe.ts';
import { TestHost, type HostDescription } from '../machine/testHost.ts';
import { provideImages } from './images.ts';
import { asRoot, bootQemu, endQemu, prepareVm, type Vm } from './qemu.ts';

/**
 * A test host that is a whole virtual machine: its own kernel, systemd, cgroup v2, AppArmor and every capability, which
 * the host of namespaces lacks; and it can lose its power. QEMU emulates the processor, so it is several times slower.
 */
export class VmHost extends TestHost {
  protected override readonly execTimeoutMs = 600_000;

  constructor(
    description: HostDescription,
    private readonly vm: Vm,
  ) {
    super(description, 2);
  }

  override enterArguments(argv: readonly string[]): Promise<[string, ...string[]]> {
    return Promise.resolve(asRoot(this.vm, this.ssh, argv));
  }

  /** Ends the machine between two instructions: what it had not written to its disks is lost. */
  async cutPower(): Promise<void> {
    await endQemu(this.vm);
  }

  /** Lets the machine start again from its disks. */
  async boot(): Promise<void> {
    await bootQemu(this.vm, this.ssh);
  }

  override async down(): Promise<void> {
    await endQemu(this.vm);
    await rm(this.vm.directory, { recursive: true, force: true });
  }
}

/**
 * Boots a virtual machine on new disks; the caller holds the lock of that name and has removed what was there.
 * @throws {TestHostError} when the machine lacks something or it does not boot
 */
export async function bootVm(name: string, poolSizeBytes: number): Promise<VmHost> {
  const images = await provideImages();
  const vm: Vm = { ...images, directory: hostPaths(name).directory };
  await mkdir(vm.directory, { recursive: true, mode: 0o700 });
  // Keeps a later build from removing what this host stands on.
  await writeFile(join(vm.directory, 'artefacts'), `${images.tools}\n${images.images}\n`);
  const ssh = await prepareVm(vm, poolSizeBytes);
  const started = Date.now();
  const pid = await bootQemu(vm, ssh);
  const host = new VmHost({ name, pid, ssh, pool: poolMountPoint }, vm);
  await host.run(['chmod', '0700', poolMountPoint]);
  report(`virtual machine "${name}" booted in ${((Date.now() - started) / 1000).toFixed(0)} s`);
  return host;
}

/** The virtual machine of that description, which is up. */
export async function findVm(description: HostDescription): Promise<VmHost> {
  return new VmHost(description, {
    ...(await provideImages()),
    directory: hostPaths(description.name).directory,
  });
}

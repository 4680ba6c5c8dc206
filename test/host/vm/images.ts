import { execa } from 'execa';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, realpath, rm, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  bootstrap,
  buildOnce,
  buildWaitSeconds,
  furnish,
  provideArtefacts,
  removeOutdated,
} from '../machine/build.ts';
import { withLock } from '../machine/lock.ts';
import { artefactsDirectory } from '../machine/paths.ts';
import { report } from '../machine/progress.ts';
import { recipe, workspaceTarInHost } from '../machine/recipe.ts';
import { asRoot, bootQemu, endQemu, prepareVm, runTool, untilEnded, type Vm, type VmImages } from './qemu.ts';
import { imagesDigest, toolsDigest, vmRecipe } from './recipe.ts';

const cached: VmImages = {
  tools: join(artefactsDirectory, `tools-${toolsDigest}`),
  images: join(artefactsDirectory, `vm-${imagesDigest}`),
};

/**
 * The images of the current recipe, built if they are not in the cache (about three minutes). Progress goes to stderr.
 * @throws {TestHostError} when the machine lacks something or the build fails
 */
export async function provideImages(): Promise<VmImages> {
  if (existsSync(cached.tools) && existsSync(cached.images)) return cached;
  const { workspaceTar } = await provideArtefacts();
  await withLock(
    join(artefactsDirectory, 'vm.lock'),
    { waitSeconds: buildWaitSeconds, what: "the virtual machine's images" },
    async () => {
      if (!existsSync(cached.tools))
        await buildOnce(cached.tools, 'the tools of virtual machines', buildTools);
      if (!existsSync(cached.images)) {
        await buildOnce(cached.images, "the virtual machine's images", (target) =>
          buildImages(target, workspaceTar),
        );
      }
      await removeOutdated(/^(partial-)?(tools|vm)-/, Object.values(cached));
    },
  );
  return cached;
}

async function buildTools(target: string): Promise<void> {
  await bootstrap(vmRecipe.tools, target);
  for (const mountPoint of ['images', 'host']) await mkdir(join(target, mountPoint));
}

async function buildImages(target: string, workspaceTar: string): Promise<void> {
  await mkdir(target, { mode: 0o700 });
  const root = join(target, 'root');
  const early = join(target, 'early');
  for (const [path, text] of Object.entries(vmRecipe.early)) {
    await mkdir(join(early, dirname(path)), { recursive: true });
    await writeFile(join(early, path), text);
  }
  await bootstrap([...recipe.host.packages, ...vmRecipe.packages], root, [
    '--format=directory',
    // mmdebstrap runs this by a shell; the cache's path is quoted for it.
    `--essential-hook=cp -a '${early.replaceAll("'", String.raw`'\''`)}/.' "$1"`,
  ]);
  await rm(early, { recursive: true });
  await furnishVm(root, target, workspaceTar);
  await writeHostKeys(root, target);
  for (const name of ['vmlinuz', 'initrd.img'])
    await copyFile(await realpath(join(root, name)), join(target, name));
  const disk = join(target, 'root.raw');
  await writeFile(disk, '');
  await truncate(disk, vmRecipe.rootBytes);
  const vm: Vm = { tools: cached.tools, images: target, directory: join(target, 'first') };
  await mkdir(vm.directory);
  await runTool(vm, [
    ...['mke2fs', '-q', '-F', '-t', 'ext4', '-L', 'root', '-d', '/images/root', '/images/root.raw'],
  ]);
  await rm(root, { recursive: true });
  await bootFirst(vm);
  await rm(vm.directory, { recursive: true });
}

/** What a machine makes at its first boot (AppArmor's and the linker's caches) goes into the image, so that later ones are quick. */
async function bootFirst(vm: Vm): Promise<void> {
  report('booting the virtual machine for the first time, which fills its caches');
  const ssh = await prepareVm(vm, 1024 ** 3);
  await bootQemu(vm, ssh);
  const [command, ...args] = asRoot(vm, ssh, ['systemctl', 'poweroff']);
  await execa(command, args, { stdin: 'ignore', reject: false });
  await untilEnded(vm);
  await endQemu(vm);
  await runTool(vm, ['qemu-img', 'commit', '-q', '/host/root.qcow2']);
}

async function furnishVm(root: string, target: string, workspaceTar: string): Promise<void> {
  // The namespace host's own init, and what it tells Podman because it has no systemd.
  const files = recipe.host.files.filter(
    ({ path }) => !/test-host-init$|containers\.conf$|test-host\.conf$/.test(path),
  );
  await furnish(root, files);
  for (const [path, text] of Object.entries(vmRecipe.files)) {
    await mkdir(join(root, dirname(path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  await writeFile(join(root, 'etc/machine-id'), '');
  const key = join(target, 'id_ed25519');
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'forkpoint test host', '-f', key]);
  for (const [home, id] of [
    ['root', '0'],
    ['home/dev', '1000'],
  ] as const) {
    const directory = join(root, home, '.ssh');
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await copyFile(`${key}.pub`, join(directory, 'authorized_keys'));
    await execa('chown', ['-R', `${id}:${id}`, directory]);
  }
  await copyFile(workspaceTar, join(root, workspaceTarInHost));
  await execa('chroot', [root, 'systemctl', '--quiet', 'enable', 'systemd-networkd', 'ssh']);
  await execa('chroot', [root, 'systemctl', '--quiet', 'mask', ...vmRecipe.masked]);
}

/** Each key by which its sshd proves itself. */
async function writeHostKeys(root: string, target: string): Promise<void> {
  const directory = join(root, 'etc/ssh');
  const keys = (await readdir(directory)).filter((name) => /^ssh_host_.*\.pub$/.test(name)).sort();
  const lines = await Promise.all(keys.map((name) => readFile(join(directory, name), 'utf8')));
  await writeFile(join(target, 'host-keys'), lines.join(''));
}

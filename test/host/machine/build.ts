import { execa } from 'execa';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { hostKeyFile } from './keys.ts';
import { withLock } from './lock.ts';
import { artefactsDirectory, hostsDirectory } from './paths.ts';
import { requirePrerequisites } from './prerequisites.ts';
import { report } from './progress.ts';
import { hostRootDigest, poolMountPoint, recipe, workspaceTarDigest } from './recipe.ts';
import { TestHostError } from './testHostError.ts';

/** The cached things that hosts are made from. */
export interface Artefacts {
  /** Directory: the host's root file system. Never written to after it is built. */
  readonly hostRoot: string;
  /** Root file system for workspaces, a tar. */
  readonly workspaceTar: string;
}

/** A first build downloads and unpacks some 300 MB of packages; another process may be at it. */
export const buildWaitSeconds = 1200;

const artefacts: Artefacts = {
  hostRoot: join(artefactsDirectory, `host-${hostRootDigest}`),
  workspaceTar: join(artefactsDirectory, `workspace-${workspaceTarDigest}.tar`),
};

/**
 * The artefacts of the current recipe, built if they are not in the cache (about two minutes). Progress
 * goes to stderr.
 * @throws {TestHostError} when the machine lacks something or the build fails
 */
export async function provideArtefacts(): Promise<Artefacts> {
  if (isBuilt()) return artefacts;
  await requirePrerequisites();
  await withLock(
    join(artefactsDirectory, 'build.lock'),
    { waitSeconds: buildWaitSeconds, what: "the test host's cached roots" },
    async () => {
      if (!existsSync(artefacts.hostRoot))
        await buildOnce(artefacts.hostRoot, "the host's root", buildHostRoot);
      if (!existsSync(artefacts.workspaceTar)) {
        await buildOnce(artefacts.workspaceTar, 'the workspace tar', (target) =>
          bootstrap(recipe.workspace.packages, target),
        );
      }
      await removeOutdated(/^(partial-)?(host|workspace)-/, Object.values(artefacts));
    },
  );
  return artefacts;
}

function isBuilt(): boolean {
  return existsSync(artefacts.hostRoot) && existsSync(artefacts.workspaceTar);
}

/** Builds under another name first, so that what has the right name is whole. */
export async function buildOnce(
  target: string,
  what: string,
  build: (target: string) => Promise<void>,
): Promise<void> {
  const started = Date.now();
  report(`building ${what} from Debian ${recipe.suite}'s packages; this takes a minute or two, once`);
  // mmdebstrap tells a tar from a directory by the name's end, so the mark goes in front.
  const partial = join(dirname(target), `partial-${target.slice(dirname(target).length + 1)}`);
  await rm(partial, { recursive: true, force: true });
  await build(partial);
  await rename(partial, target);
  report(`built ${what} in ${Math.round((Date.now() - started) / 1000)} s`);
}

async function buildHostRoot(root: string): Promise<void> {
  await bootstrap(recipe.host.packages, root);
  await furnish(root, recipe.host.files);
  for (const type of recipe.host.ownHostKeyTypes) {
    await rm(hostKeyFile(root, type));
    await rm(`${hostKeyFile(root, type)}.pub`);
  }
}

/** Puts the recipe's directories, some files of it and its users into a root. */
export async function furnish(root: string, files: typeof recipe.host.files): Promise<void> {
  for (const directory of [poolMountPoint, '/var/lib/containers', '/etc/criu']) {
    await mkdir(join(root, directory), { recursive: true });
  }
  for (const file of files) {
    const path = join(root, file.path);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, file.text);
    await chmod(path, file.mode);
  }
  for (const user of recipe.host.users) {
    await execa('chroot', [
      root,
      'useradd',
      '--create-home',
      '--uid',
      String(user.uid),
      '--shell',
      user.shell,
      user.name,
    ]);
    // "*" is no password's hash, yet unlike "!" not a locked account, which sshd would turn away.
    if (user.password === undefined) await execa('chroot', [root, 'usermod', '--password', '*', user.name]);
    else await execa('chroot', [root, 'chpasswd'], { input: `${user.name}:${user.password}\n` });
  }
}

/**
 * Makes a root file system of Debian packages: a directory, or a tar where the name ends so.
 * @param options more of mmdebstrap's
 * @throws {TestHostError} with its last lines when it fails
 */
export async function bootstrap(
  packages: readonly string[],
  target: string,
  options: readonly string[] = [],
): Promise<void> {
  const { exitCode, stderr } = await execa(
    'setpriv',
    [
      // A build whose caller is killed ends with it, its mounts too, before the lock on the cache is free.
      ...['--pdeathsig', 'KILL', '--'],
      ...[
        'unshare',
        '--mount',
        '--propagation',
        'private',
        '--pid',
        '--mount-proc',
        '--fork',
        '--kill-child',
        '--',
      ],
      'mmdebstrap',
      '--mode=root',
      '--variant=minbase',
      `--include=${packages.join(',')}`,
      // A testing suite's Release expires within a week; a machine whose clock or mirror is off by more
      // still builds. Signatures are checked all the same.
      '--aptopt=Acquire::Check-Valid-Until "false"',
      ...['man', 'doc', 'locale', 'info'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
      ...options,
      recipe.suite,
      target,
      recipe.mirror,
    ],
    { stdin: 'ignore', reject: false },
  );
  if (exitCode !== 0) {
    throw new TestHostError(
      `mmdebstrap could not build from ${recipe.mirror}:\n${stderr.split('\n').slice(-15).join('\n')}`,
    );
  }
}

/** Removes what earlier recipes built by such names, except what hosts that are up stand on. */
export async function removeOutdated(pattern: RegExp, current: readonly string[]): Promise<void> {
  const hosts = existsSync(hostsDirectory) ? await readdir(hostsDirectory) : [];
  const inUse = new Set(current);
  for (const name of hosts) {
    const boundTo = join(hostsDirectory, name, 'artefacts');
    if (existsSync(boundTo)) (await readFile(boundTo, 'utf8')).split('\n').forEach((path) => inUse.add(path));
  }
  for (const name of await readdir(artefactsDirectory)) {
    const path = join(artefactsDirectory, name);
    if (pattern.test(name) && !inUse.has(path)) await rm(path, { recursive: true, force: true });
  }
}

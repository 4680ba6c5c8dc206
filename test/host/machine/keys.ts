import { execa } from 'execa';
import { chown, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostPaths } from './paths.ts';
import { devUser, recipe } from './recipe.ts';

/** Where sshd, in the root file system `root`, has its key of a type. */
export function hostKeyFile(root: string, type: string): string {
  return join(root, `etc/ssh/ssh_host_${type}_key`);
}

/** Makes the host's own SSH keys, in its own layer, and the key that lets {@link devUser} in. */
export async function makeKeys(paths: HostPaths): Promise<void> {
  await mkdir(join(paths.upperDirectory, 'etc/ssh'), { recursive: true });
  await Promise.all([
    makeKey('ed25519', paths.identityFile),
    ...recipe.host.ownHostKeyTypes.map((type) => makeKey(type, hostKeyFile(paths.upperDirectory, type))),
  ]);
  await authorize(paths);
}

async function makeKey(type: string, file: string): Promise<void> {
  await execa('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', 'forkpoint test host', '-f', file]);
}

async function authorize({ upperDirectory, identityFile }: HostPaths): Promise<void> {
  const uid = recipe.host.users.find(({ name }) => name === devUser)?.uid ?? 0;
  const home = join(upperDirectory, 'home', devUser);
  const sshDirectory = join(home, '.ssh');
  const authorizedKeys = join(sshDirectory, 'authorized_keys');
  await mkdir(home, { recursive: true });
  await mkdir(sshDirectory, { mode: 0o700 });
  await writeFile(authorizedKeys, await readFile(`${identityFile}.pub`), { mode: 0o600 });
  for (const path of [home, sshDirectory, authorizedKeys]) await chown(path, uid, uid);
}

/** Writes what a client that has met the host would know: all of its keys, under its address. */
export async function writeKnownHosts(paths: HostPaths, hostRoot: string, address: string): Promise<void> {
  const lines: string[] = [];
  for (const root of [paths.upperDirectory, hostRoot]) {
    const directory = join(root, 'etc/ssh');
    for (const name of (await readdir(directory)).sort()) {
      if (!/^ssh_host_.*\.pub$/.test(name)) continue;
      const [type, key] = (await readFile(join(directory, name), 'utf8')).split(' ');
      lines.push(`${address} ${type ?? ''} ${key ?? ''}\n`);
    }
  }
  await writeFile(paths.knownHostsFile, lines.join(''));
}

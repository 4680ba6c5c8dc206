import { lstat, mkdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import { INIT } from '../engines/podman.ts';
import { isMissing } from '../subvolumes/btrfs.ts';
import type { Parts } from './parts.ts';

/** Fills an empty subvolume from a directory or a tar archive. Owners, modes, times, links and attributes are kept. */
export async function copySource(
  parts: Parts,
  source: string,
  target: string,
  signal: AbortSignal,
): Promise<void> {
  const facts = await stat(source).catch((error: unknown) => {
    if (isMissing(error))
      throw new ForkpointError('source.invalid', { source, problem: 'it does not exist' });
    throw error;
  });
  const options = { signal, timeoutMs: 3_600_000 };
  if (facts.isDirectory()) {
    await parts.run('cp', ['-a', '--reflink=auto', '--no-target-directory', '--', source, target], options);
  } else if (facts.isFile()) {
    await parts.run(
      'tar',
      [
        '--extract',
        '--numeric-owner',
        '--preserve-permissions',
        '--xattrs',
        '--xattrs-include=*',
        '--file',
        source,
        '--directory',
        target,
      ],
      options,
    );
  } else {
    throw new ForkpointError('source.invalid', { source, problem: 'it is neither a directory nor a file' });
  }
}

/**
 * Puts our init and the files that Podman would otherwise mount from outside (H27) into a root file system that was just
 * filled and that nothing runs in. Refuses links on the way: a hostile image must not make us write elsewhere (H52).
 */
export async function finishRootfs(
  parts: Parts,
  rootfs: string,
  identity: { hostname: string; address: string },
): Promise<void> {
  const etc = await plainDirectory(rootfs, 'etc');
  const own = await plainDirectory(rootfs, path.dirname(INIT).slice(1));
  for (const place of ['proc', 'sys', 'dev', 'tmp', 'run']) await plainDirectory(rootfs, place);
  await parts.assets.copyInit(path.join(own, path.basename(INIT)));
  await replaceFile(path.join(etc, 'hostname'), `${identity.hostname}\n`);
  await replaceFile(
    path.join(etc, 'hosts'),
    `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n${identity.address}\t${identity.hostname}\n`,
  );
  await replaceFile(path.join(etc, 'resolv.conf'), await hostResolver());
}

/** Replaces a file, whatever it was: a link is removed, not followed. Owned by root. */
export async function replaceFile(file: string, content: string | Buffer, mode = 0o644): Promise<void> {
  await rm(file, { force: true, recursive: true });
  await writeFile(file, content, { mode, flag: 'wx' });
}

/** A directory right below the root, made where it is missing; anything else in its place is refused. */
async function plainDirectory(rootfs: string, name: string): Promise<string> {
  const directory = path.join(rootfs, name);
  await mkdir(directory, { mode: 0o755 }).catch((error: unknown) => {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  });
  const facts = await lstat(directory);
  if (!facts.isDirectory()) {
    const where = facts.isSymbolicLink() ? ` but a link to ${await readlink(directory)}` : '';
    throw new ForkpointError('source.invalid', {
      source: rootfs,
      problem: `/${name} is not a directory${where}`,
    });
  }
  return directory;
}

/** The host's name servers; systemd-resolved's stub on loopback can't be reached from a container, its upstream list can. */
async function hostResolver(): Promise<string> {
  const read = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '');
  const text = await read('/etc/resolv.conf');
  return /^nameserver\s+127\.0\.0\.53/m.test(text) ? read('/run/systemd/resolve/resolv.conf') : text;
}

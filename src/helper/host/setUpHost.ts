import { randomUUID } from 'node:crypto';
import { chmod, mkdir, open, readdir, rename, rm, rmdir, statfs } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import type { Params, Result } from '../../protocol/operations.ts';
import { syncDirectory } from '../catalogue/durableFile.ts';
import type { Call } from '../service/services.ts';
import { Steps } from '../service/steps.ts';
import { readHostFile, writeHostFile } from './hostFile.ts';
import type { HostParts } from './hostServices.ts';
import { mountAt } from './mounts.ts';
import { readPool } from './pool.ts';

/** The least that a pool is made with: below, btrfs mixes data and metadata. */
const MINIMUM_BYTES = 2 * 1024 ** 3;
/** Type of btrfs in statfs(2). */
const BTRFS_MAGIC = 0x9123683e;
/** Left free on the disk that holds the pool file. */
const LEFT_FREE_BYTES = 1024 ** 3;

/**
 * Makes the pool: a file allocated in full, so that a full disk can't turn the pool read-only (H18), with btrfs in it.
 * It gets its final name when it is whole: a set-up cut off before that leaves nothing that counts, one cut off
 * after it is adopted by the next start.
 * @throws `pool.exists`, `disk.full`, `host.toolMissing`, `command.failed`; nothing is left of what was made
 */
export async function setUpHost(
  { paths, run, log, pool }: HostParts,
  params: Params<'host/setup'>,
  call: Call,
): Promise<Result<'host/setup'>> {
  const unfinished = `${paths.poolFile}.new`;
  const directory = path.dirname(paths.poolFile);

  const steps = new Steps('set-up', paths.pool, call, log);
  const size = await steps.run('check', async () => {
    await refuseExisting(paths.hostFile, [paths.poolFile, paths.pool]);
    await rm(unfinished, { force: true });
    await mkdir(directory, { recursive: true });
    return chooseSize(directory, params.size, paths.poolFile);
  });

  const uuid = randomUUID();
  const undo: (() => Promise<void>)[] = [];
  try {
    await steps.run('allocate', async () => {
      undo.push(() => rm(unfinished, { force: true }));
      await createPrivateFile(unfinished);
      // On a btrfs host copy-on-write would make the allocation worthless.
      if ((await statfs(directory)).type === BTRFS_MAGIC) await run('chattr', ['+C', unfinished]);
      await run('fallocate', ['--length', String(size), unfinished], {
        signal: call.signal,
        timeoutMs: 600_000,
      });
    });
    await steps.run('format', async () => {
      const options = ['--quiet', '--nodiscard', '--label', 'forkpoint', '--uuid', uuid];
      await run('mkfs.btrfs', [...options, unfinished], { signal: call.signal });
      await syncFile(unfinished);
    });
    steps.passPointOfNoReturn();
    await steps.run('name', async () => {
      await rename(unfinished, paths.poolFile);
      undo.push(() => rm(paths.poolFile, { force: true }));
      await syncDirectory(directory);
    });
    await steps.run('record', async () => {
      await mkdir(paths.pool, { recursive: true, mode: 0o700 });
      undo.push(() => rmdir(paths.pool));
      await writeHostFile(paths.hostFile, {
        schema: 1,
        poolUuid: uuid,
        poolFile: paths.poolFile,
        root: paths.pool,
      });
      undo.push(() => rm(paths.hostFile, { force: true }));
    });
    await steps.run('mount', () => pool.ensure());
    log.info(`made the pool ${uuid}: ${paths.poolFile}, ${String(size)} bytes, mounted at ${paths.pool}`);
    return { ...(await readPool(paths.pool)), timing: steps.timing };
  } catch (error) {
    if (mountAt(paths.pool) !== null) await run('umount', [paths.pool]);
    for (const step of undo.reverse()) {
      await step().catch((problem: unknown) => log.warn(`undoing the set-up: ${String(problem)}`));
    }
    throw error;
  }
}

async function refuseExisting(hostFile: string, [poolFile, root]: readonly [string, string]): Promise<void> {
  const host = await readHostFile(hostFile);
  if (host !== null) throw new ForkpointError('pool.exists', { path: host.root });
  if (mountAt(root) !== null) throw new ForkpointError('pool.exists', { path: root });
  if ((await entriesOf(path.dirname(poolFile))).includes(path.basename(poolFile))) {
    throw new ForkpointError('pool.exists', { path: poolFile });
  }
  // Files below a mount point would be hidden by the mount.
  if ((await entriesOf(root)).length > 0) throw new ForkpointError('pool.exists', { path: root });
}

async function chooseSize(directory: string, wanted: number | undefined, poolFile: string): Promise<number> {
  const { bsize, bavail } = await statfs(directory);
  const freeBytes = bavail * bsize;
  const size = wanted ?? Math.max(MINIMUM_BYTES, Math.floor(freeBytes / 4 / 1024 ** 2) * 1024 ** 2);
  const neededBytes = size + LEFT_FREE_BYTES;
  if (freeBytes < neededBytes)
    throw new ForkpointError('disk.full', { path: poolFile, freeBytes, neededBytes });
  return size;
}

async function createPrivateFile(file: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  await handle.close();
  await chmod(file, 0o600);
}

async function syncFile(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function entriesOf(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

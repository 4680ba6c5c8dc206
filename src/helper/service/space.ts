import { ForkpointError } from '../../protocol/errors.ts';
import { readPool } from '../host/pool.ts';

/** Room for metadata, records and logs that any snapshot takes, in bytes. */
const OVERHEAD = 64 * 2 ** 20;

/** Rejected with `pool.full` unless `bytes` fit in above the reserve. Asked before anything is frozen. */
export async function requireSpace(root: string, bytes: number): Promise<void> {
  const { freeBytes, neededBytes } = await spaceFor(root, bytes);
  if (freeBytes < neededBytes) throw new ForkpointError('pool.full', { freeBytes, neededBytes });
}

/** Whether so many bytes fit in. */
export async function hasSpace(root: string, bytes: number): Promise<boolean> {
  const { freeBytes, neededBytes } = await spaceFor(root, bytes);
  return freeBytes >= neededBytes;
}

async function spaceFor(root: string, bytes: number): Promise<{ freeBytes: number; neededBytes: number }> {
  const { freeBytes, reserveBytes } = await readPool(root);
  return { freeBytes, neededBytes: bytes + OVERHEAD + reserveBytes };
}

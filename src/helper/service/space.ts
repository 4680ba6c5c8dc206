import { ForkpointError } from '../../protocol/errors.ts';
import { readPool } from '../host/pool.ts';

/** Room for metadata, records and logs that any snapshot takes, in bytes. */
const OVERHEAD = 64 * 2 ** 20;

/** Rejected with `pool.full` unless `bytes` fit in above the reserve. Asked before anything is frozen. */
export async function requireSpace(root: string, bytes: number): Promise<void> {
  const pool = await readPool(root);
  const neededBytes = bytes + OVERHEAD + pool.reserveBytes;
  if (pool.freeBytes < neededBytes)
    throw new ForkpointError('pool.full', { freeBytes: pool.freeBytes, neededBytes });
}

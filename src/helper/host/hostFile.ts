import { readFile, mkdir } from 'node:fs/promises';
import * as path from 'node:path';
import * as z from 'zod';
import { ForkpointError } from '../../protocol/errors.ts';
import { writeJsonDurably } from '../catalogue/durableFile.ts';

/** What a host was set up with. Fields that this version doesn't know are kept. */
const HostFileSchema = z.looseObject({
  schema: z.literal(1),
  /** UUID of the pool's file system: another one is refused (H18). */
  poolUuid: z.uuid(),
  /** The loop file, when host/setup made the pool. */
  poolFile: z.string().optional(),
  /** Where the pool is mounted. */
  root: z.string(),
  /** After how long without work the daemon exits, in seconds. */
  idleExitSeconds: z.number().positive().optional(),
});
export type HostFile = z.infer<typeof HostFileSchema>;

/** Reads what the host was set up with; null when it was not. */
export async function readHostFile(file: string): Promise<HostFile | null> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
  try {
    return HostFileSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new ForkpointError(
      'internal',
      { problem: `"${file}" can't be read` },
      { detail: String(error), cause: error },
    );
  }
}

/** Writes what the host was set up with. */
export async function writeHostFile(file: string, content: HostFile): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o755 });
  await writeJsonDurably(file, content);
}

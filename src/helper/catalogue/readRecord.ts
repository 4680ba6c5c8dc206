import { readFile, rename } from 'node:fs/promises';
import type * as z from 'zod';
import type { Log } from '../host/log.ts';
import { nullIfMissing } from '../subvolumes/btrfs.ts';
import { parseJson } from './journal.ts';

/**
 * Reads a JSON file of ours; null when there is none. One that can't be read is put aside as `FILE.unreadable` and
 * logged, so that what goes without it goes on.
 */
export async function readRecord<S extends z.ZodType>(
  file: string,
  schema: S,
  log: Log,
): Promise<z.output<S> | null> {
  const text = await readFile(file, 'utf8').catch(nullIfMissing);
  if (text === null) return null;
  const record = schema.safeParse(parseJson(text));
  if (record.success) return record.data;
  log.error(`${file} can't be read; it is put aside: ${record.error.message}`);
  await rename(file, `${file}.unreadable`);
  return null;
}

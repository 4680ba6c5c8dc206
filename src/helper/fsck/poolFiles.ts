import { readFile, readdir } from 'node:fs/promises';
import type * as z from 'zod';
import { writeJsonDurably } from '../catalogue/durableFile.ts';
import { parseJson } from '../catalogue/journal.ts';
import { WorkspaceIdSchema, type WorkspaceId } from '../../protocol/names.ts';
import type { Layout } from '../catalogue/layout.ts';
import { isMissing, nullIfMissing } from '../subvolumes/btrfs.ts';
import type { LostAndFound } from '../catalogue/lostAndFound.ts';

/** The pool as fsck sees it: through its files alone, never through what a daemon holds in memory. */
export interface PoolView {
  readonly layout: Layout;
  readonly lost: LostAndFound;
  /** Who must own everything: root, but in unit tests. */
  readonly owner: number;
  readonly bootId: string;
  isSubvolume(directory: string): Promise<boolean>;
  /** Whether a subvolume is read-only. */
  isReadOnly(directory: string): boolean;
  makeReadOnly(directory: string): Promise<void>;
}

/** A JSON file of ours, or why there is none. */
export type ReadRecord<T> =
  | { readonly kind: 'read'; readonly record: T }
  | { readonly kind: 'missing' }
  | { readonly kind: 'unreadable'; readonly problem: string };

/** Reads a JSON file of ours, and changes nothing. */
export async function readRecordFile<S extends z.ZodType>(
  file: string,
  schema: S,
): Promise<ReadRecord<z.output<S>>> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    return isMissing(error) ? { kind: 'missing' } : { kind: 'unreadable', problem: String(error) };
  }
  const parsed = schema.safeParse(parseJson(text));
  if (parsed.success) return { kind: 'read', record: parsed.data };
  const [issue] = parsed.error.issues;
  const place = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
  return { kind: 'unreadable', problem: `${place}${issue?.message ?? 'it is no JSON'}` };
}

/** Changes fields of a record on the disk, as it is by then; what is not named stays. A missing one is left missing. */
export async function changeRecord(
  file: string,
  change: (record: Readonly<Record<string, unknown>>) => Record<string, unknown>,
): Promise<void> {
  const text = await readFile(file, 'utf8').catch(nullIfMissing);
  if (text === null) return;
  const record = parseJson(text);
  if (typeof record !== 'object' || record === null) return;
  const before = { ...record };
  await writeJsonDurably(file, { ...before, ...change(before) });
}

/** Names in a directory, sorted; none where it is missing or no directory. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
}

/** The workspace that a path of the pool belongs to. */
export function workspaceIn(place: string): WorkspaceId | null {
  const id = WorkspaceIdSchema.safeParse(/\/(ws-[0-9a-f]{12})\//.exec(place)?.[1]);
  return id.success ? id.data : null;
}

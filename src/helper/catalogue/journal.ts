import { readFile, readdir, rm } from 'node:fs/promises';
import * as path from 'node:path';
import * as z from 'zod';
import { NameSchema, SnapshotNameSchema, WorkspaceIdSchema } from '../../protocol/names.ts';
import { removeDurably, writeJsonDurably } from './durableFile.ts';
import type { MakeRoom } from './durableFile.ts';

const base = { workspace: WorkspaceIdSchema, startedAt: z.string() };

/** A snapshot that goes from the timeline of a fork to that of its origin: how it is called there, and was before. */
const MoveSchema = z.object({
  from: SnapshotNameSchema,
  to: SnapshotNameSchema,
  aliasBefore: NameSchema.nullable(),
  alias: NameSchema.nullable(),
  parentBefore: SnapshotNameSchema.nullable(),
  parent: SnapshotNameSchema.nullable(),
});

/** What is under way, so that the next start of the daemon finishes or undoes it. */
export const JournalEntrySchema = z.discriminatedUnion('operation', [
  /** Undone: what was made of the workspace is removed. */
  z.object({ ...base, operation: z.literal('create-workspace'), name: NameSchema }),
  /** Finished. */
  z.object({ ...base, operation: z.literal('delete-workspace') }),
  /** Undone, unless snapshot.json is there already: then only the head is moved. */
  z.object({ ...base, operation: z.literal('create-snapshot'), snapshot: SnapshotNameSchema }),
  /** Finished. */
  z.object({ ...base, operation: z.literal('delete-snapshot'), snapshot: SnapshotNameSchema }),
  /** Undone until the fork is awake and cut off from the outside connections of its original; finished from then on. */
  z.object({ ...base, operation: z.literal('copy'), isAwake: z.boolean() }),
  /** Undone before the kill, finished after it. */
  z.object({
    ...base,
    operation: z.literal('restore'),
    snapshot: SnapshotNameSchema,
    /** The workspace whose snapshot it is, where it is another one's: a fork whose lazy waking failed. */
    source: WorkspaceIdSchema.optional(),
    safety: SnapshotNameSchema.nullable(),
    isStateful: z.boolean(),
    /** False leaves the workspace stopped. */
    start: z.boolean(),
    /** What the workspace's generation will be: tells that its head was moved. */
    generation: z.int(),
    /** The head before, to which a restore that fails goes back. */
    headBefore: SnapshotNameSchema.nullable(),
    /** The restore before it was lazy, and its pages could not be read in full (H2). */
    isRepeat: z.boolean(),
    /** Set right before the processes are killed: the point of no return. */
    isPastPointOfNoReturn: z.boolean(),
  }),
  /** The fork's. Undone until the head of the workspace that it came from is at the fork's last state; finished from then on. */
  z.object({
    ...base,
    operation: z.literal('promote'),
    origin: WorkspaceIdSchema,
    /** The fork's last state, as the fork calls it. */
    last: SnapshotNameSchema,
    /** The fork's snapshots, oldest first, that one included. */
    moves: z.array(MoveSchema),
  }),
]);
export type Move = z.infer<typeof MoveSchema>;
export type JournalEntry = z.infer<typeof JournalEntrySchema>;

/** The operations under way, one file each. */
export class Journal {
  /** @param makeRoom what a write on a full disk calls */
  constructor(
    private readonly directory: string,
    private readonly makeRoom: MakeRoom,
  ) {}

  /** Writes the intent before its first step; overwrites the workspace's earlier entry. One workspace has at most one. */
  async write(entry: JournalEntry): Promise<void> {
    await writeJsonDurably(this.file(entry), entry, this.makeRoom);
  }

  /**
   * Called after the last step. A create's entry may come back with a power cut, so that nobody waits for the disk here: to
   * move the head to its snapshot once more, or to undo it once more, changes nothing, and whatever moves the head elsewhere has
   * overwritten the entry before.
   */
  async close(entry: JournalEntry): Promise<void> {
    if (entry.operation === 'create-snapshot') await rm(this.file(entry), { force: true });
    else await removeDurably(this.file(entry));
  }

  /** What an earlier daemon left, with the files that can't be read. */
  async read(): Promise<{ entries: JournalEntry[]; unreadable: string[] }> {
    const entries: JournalEntry[] = [];
    const unreadable: string[] = [];
    for (const name of await readdir(this.directory)) {
      if (!name.endsWith('.json')) continue;
      const file = path.join(this.directory, name);
      const text = await readFile(file, 'utf8').catch(() => '');
      const parsed = JournalEntrySchema.safeParse(parseJson(text));
      if (parsed.success) entries.push(parsed.data);
      else unreadable.push(file);
    }
    return { entries, unreadable };
  }

  private file(entry: JournalEntry): string {
    return path.join(this.directory, `${entry.workspace}.json`);
  }
}

/** JSON of `text`, or undefined where it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

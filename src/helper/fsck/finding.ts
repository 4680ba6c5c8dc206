import type { WorkspaceId } from '../../protocol/names.ts';

/** What a kind of damage means for the user's data, and what is done about it. */
interface FindingText {
  readonly means: string;
  /** What `--repair` does, or null where a person must decide. */
  readonly repair: string | null;
  /** What that person can do; empty where repair does it. */
  readonly advice: string;
}

const PUT_ASIDE = 'Moves it to lost+found in the pool, where a person can look at it, and deletes nothing';

/** Every kind of damage that is looked for. */
export const findingTexts = {
  'pool.readOnly': {
    means:
      'Nothing can be written: no snapshot can be taken, and workspaces fail. What is there can be read.',
    repair: null,
    advice: 'See what the kernel says (dmesg), free some space, mount the pool again.',
  },
  'pool.diskErrors': {
    means: 'The disk has returned wrong data at some time. Files or memory of any snapshot may be affected.',
    repair: null,
    advice: 'Run "btrfs scrub start -B" on the pool to learn which; save what matters; replace the disk.',
  },
  'mode.open': {
    means: 'Others on this host may read what holds the secrets of workspaces.',
    repair: 'Gives it to root and takes all rights from others',
    advice: '',
  },
  'entry.unknown': {
    means: 'Nobody knows what this is; it takes space and is in no list.',
    repair: PUT_ASIDE,
    advice: '',
  },
  'workspace.recordMissing': {
    means: 'A workspace is in no list and can be neither started nor snapshotted. Its files may be whole.',
    repair: PUT_ASIDE,
    advice: '',
  },
  'workspace.recordUnreadable': {
    means: 'The workspace and its snapshots are in no list. Their files may be whole; nothing deletes them.',
    repair: null,
    advice: 'Mend workspace.json by hand; a workspace of the same kind shows how it looks.',
  },
  'workspace.filesMissing': {
    means: 'The live files are gone. Its snapshots do not depend on them.',
    repair: null,
    advice: 'Restore a snapshot of it, which puts files in their place.',
  },
  'workspace.headMissing': {
    means: 'The timeline says a wrong place for the live workspace. No files are affected.',
    repair: 'Forgets the place: the next snapshot begins a new branch',
    advice: '',
  },
  'workspace.undoMissing': {
    means: 'The last restore is offered to be undone, and could not be.',
    repair: 'Takes the offer back',
    advice: '',
  },
  'workspace.leftovers': {
    means: 'Files put ready for a restore that is not under way. The live files are not affected.',
    repair: PUT_ASIDE,
    advice: '',
  },
  'workspace.frozen': {
    means: 'Its processes stand still and answer nobody. Nothing is lost while they do.',
    repair: 'Lets them go on',
    advice: '',
  },
  'workspace.trafficHeld': {
    means: 'Its processes run, but their connections are held back.',
    repair: 'Lets traffic flow again, and closes connections that can not go on',
    advice: '',
  },
  'snapshot.halfMade': {
    means: 'It is in no list and can not be restored: it was never finished, or its record was lost.',
    repair: PUT_ASIDE,
    advice: '',
  },
  'snapshot.recordUnreadable': {
    means: 'It is in no list and can not be restored. Its files may be whole.',
    repair: PUT_ASIDE,
    advice: '',
  },
  'snapshot.misplaced': {
    means:
      'Its record speaks of another workspace or name. Where it lies is what counts, so that it can be restored.',
    repair: 'Corrects the record by where it lies',
    advice: '',
  },
  'snapshot.filesMissing': {
    means: 'It can not be restored: files that it should hold are gone.',
    repair: `${PUT_ASIDE}; what follows it in the timeline is joined to what it came from`,
    advice: '',
  },
  'snapshot.writable': {
    means: 'Its files are whole as far as can be told, but programs on this host could change them.',
    repair: 'Makes them read-only again',
    advice: '',
  },
  'snapshot.memoryDamaged': {
    means: 'Its processes can not be woken. Its files are kept apart and can be restored.',
    repair: 'Makes it a snapshot of files alone, and moves the memory images to lost+found',
    advice: '',
  },
  'snapshot.parentMissing': {
    means: 'The timeline is shown wrong. The snapshot can be restored.',
    repair: 'Makes it the first of its branch',
    advice: '',
  },
  'snapshot.parentCycle': {
    means: 'The timeline runs in a circle and is shown wrong. The snapshots can be restored.',
    repair: 'Makes the oldest of them the first of its branch',
    advice: '',
  },
  'snapshot.aliasTwice': {
    means: 'Two snapshots have one alias: a command may mean the wrong one.',
    repair: 'The older one keeps it',
    advice: '',
  },
  'snapshot.orphan': {
    means: 'Snapshots of a workspace that does not exist: they are in no list and take space.',
    repair: PUT_ASIDE,
    advice: '',
  },
  'expired.unreadable': {
    means: 'An expired snapshot that can neither be taken back nor be deleted when its day is over.',
    repair: PUT_ASIDE,
    advice: '',
  },
  'journal.left': {
    means:
      'An operation was cut short, and nobody has finished or undone it. The workspace may not be usable.',
    repair: 'Starts the daemon, which finishes or undoes it',
    advice: '',
  },
  'journal.unreadable': {
    means: 'An operation was cut short, and nobody can tell which; what it left is found on its own.',
    repair: PUT_ASIDE,
    advice: '',
  },
  'trash.full': {
    means: 'What was deleted takes space still.',
    repair: 'Deletes it, but for nested subvolumes that no snapshot holds: those go to lost+found',
    advice: '',
  },
  'container.orphan': {
    means: 'A stopped container of a workspace that does not exist. It holds no files.',
    repair: "Removes the container engine's entry",
    advice: '',
  },
  'container.orphanRuns': {
    means: 'Processes run in a workspace that does not exist; no snapshot can be taken of them.',
    repair: null,
    advice: 'Save what they hold, then end them: "podman rm --force NAME".',
  },
  'process.left': {
    means: 'A program of an operation that is over is still at work, and may be in the way of the next one.',
    repair: 'Waits for it, and ends it when it does not come to its end',
    advice: '',
  },
  'process.lazyPages': {
    means: 'A program serves memory to a restored workspace that does not know of it.',
    repair: null,
    advice: 'Leave it until it ends by itself: to end it would end the processes that still need it.',
  },
  'mount.left': {
    means: 'Something is mounted inside the pool: it hides what lies below, and is in no snapshot.',
    repair: null,
    advice: 'Unmount it, if nobody needs it: "umount PATH".',
  },
} as const satisfies Record<string, FindingText>;

export type FindingKind = keyof typeof findingTexts;

/** Something that is not as it should be. */
export interface Found {
  readonly kind: FindingKind;
  /** What it is about: `WORKSPACE/SNAPSHOT` by name, or a path, a container, a process. */
  readonly subject: string;
  /** What was seen, as a sentence without its end. */
  readonly problem: string;
  /** The workspace whose operation under way would explain it; null for none. */
  readonly workspace: WorkspaceId | null;
  /** Repairs it; null where its kind has no repair. May be repeated. */
  readonly mend: (() => Promise<void>) | null;
}

/** Tells two looks at the same thing from looks at two. */
export function keyOf({ kind, subject, problem }: Pick<Found, 'kind' | 'subject' | 'problem'>): string {
  return [kind, subject, problem].join('\n');
}

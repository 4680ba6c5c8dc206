import * as z from 'zod';
import {
  ApiStatusSchema,
  ApiTokenSchema,
  CreateTokenSchema,
  EnableApiSchema,
  TokenIdSchema,
} from './httpAccess.ts';
import {
  ExpiryDaysSchema,
  NameSchema,
  SnapshotNameSchema,
  SnapshotReferenceSchema,
  WorkspaceIdSchema,
  WorkspaceReferenceSchema,
} from './names.ts';
import {
  FileChangesSchema,
  MomentSchema,
  OutsideConnectionSchema,
  ProcessSchema,
  SnapshotKindSchema,
  SnapshotSchema,
  SnapshotSummarySchema,
} from './snapshot.ts';
import { ErrorDataSchema } from './errors.ts';
import {
  PublicKeySchema,
  SshAccessSchema,
  TerminalSchema,
  TerminalSessionSchema,
  UserNameSchema,
  WorkspacePortSchema,
} from './reach.ts';
import { OriginSchema, PoolSchema, PublishedPortSchema, VolumeSchema, WorkspaceSchema } from './workspace.ts';

/** How the command line spells an operation's parameters; all else becomes `--kebab-case` options. */
export interface CommandLineShape {
  /** Parameters given by position, in order. */
  readonly positionals?: readonly string[];
  /** The parameter that takes all after `--`. */
  readonly rest?: string;
  /** A nullable parameter that `--clear` sets to null. */
  readonly clears?: string;
}

/** One row of the table from which every door is made. */
export interface Operation<P extends z.ZodObject = z.ZodObject, R extends z.ZodType = z.ZodType> {
  /** One line, in the imperative. */
  readonly description: string;
  readonly params: P;
  readonly result: R;
  /** `destroys`: something may be lost that nothing else holds, so an editor asks before it. */
  readonly effect: 'reads' | 'changes' | 'destroys';
  readonly cli: CommandLineShape;
  /** It is cancelled after that long, the wait for its turn included; {@link DEADLINE_MINUTES} unless given. */
  readonly deadlineMinutes?: number;
  /** Its result holds a secret: it is given once and never kept. */
  readonly isSecret?: true;
}

/** Enough for what reads and writes gigabytes on a slow disk. */
export const DEADLINE_MINUTES = 20;

function operation<P extends z.ZodObject, R extends z.ZodType>(row: Operation<P, R>): Operation<P, R> {
  return row;
}

const container = { container: WorkspaceReferenceSchema };
const oneSnapshot = { ...container, name: SnapshotReferenceSchema };
const nothing = z.object({});

/** Milliseconds that one step took, in order. */
export const TimingSchema = z.array(z.object({ step: z.string(), ms: z.number() }));
export type Timing = z.infer<typeof TimingSchema>;
const timed = { timing: TimingSchema };

/** What the restore does first with the state that it replaces. */
export const SafetySchema = z.enum(['auto', 'stateful', 'stateless', 'none']);
export type Safety = z.infer<typeof SafetySchema>;

/** What a restore would throw away. A field is null until it is known; the answer may come in parts. */
export const PreviewSchema = z.object({
  snapshot: SnapshotNameSchema,
  /** Files that differ from the snapshot now; null at the end where btrfs can not tell (paths over 4,096 bytes, PATH_MAX). */
  files: FileChangesSchema.nullable(),
  /** Processes that run now and not in the snapshot. */
  started: z.array(ProcessSchema).nullable(),
  /** Processes of the snapshot that have ended since. */
  ended: z.array(ProcessSchema).nullable(),
  outsideConnections: z.array(OutsideConnectionSchema).nullable(),
  safety: z
    .object({
      /** What `auto` would take; `ask`: it stops and wants a choice. */
      choice: z.enum(['stateful', 'stateless', 'ask']),
      /** Why it can't hold the processes without being asked; null when it can. */
      reason: z.string().nullable(),
      /** Memory that a stateful one would keep, in bytes. */
      memoryBytes: z.int(),
    })
    .nullable(),
});
export type Preview = z.infer<typeof PreviewSchema>;

/** What became of a workspace since a snapshot. */
export const ChangesSchema = z.object({
  /** The snapshot that the fork began as. */
  since: SnapshotNameSchema,
  files: FileChangesSchema,
  /** Processes that run now and not in the snapshot. */
  started: z.array(ProcessSchema),
  /** Processes of the snapshot that have ended since. */
  ended: z.array(ProcessSchema),
});
export type Changes = z.infer<typeof ChangesSchema>;

/** How many forks one request may ask for. */
export const MAXIMUM_FORKS = 32;

/** One of the forks that were asked for. */
export const ForkSchema = z.object({
  name: NameSchema,
  ok: z.boolean(),
  /** Null when it could not be made; then nothing of it is left. */
  workspace: WorkspaceSchema.nullable(),
  /** Why it could not be made. */
  error: ErrorDataSchema.nullable(),
  /** Its processes go on from the snapshot; otherwise it was started from its files. */
  stateful: z.boolean(),
  origin: OriginSchema,
  /** How `/etc/forkpoint/on-fork` inside it failed; null when it did well or there is none. */
  hookFailure: z.string().nullable(),
  totalMs: z.number(),
  ...timed,
});
export type Fork = z.infer<typeof ForkSchema>;

/** One finding about the host. */
export const FindingSchema = z.object({
  subject: z.string(),
  level: z.enum(['ok', 'warning', 'error']),
  message: z.string(),
  /** A command or sentence that mends it. */
  fix: z.string().nullable(),
});
export type Finding = z.infer<typeof FindingSchema>;

/** The table of operations. The key is the JSON-RPC method; its two words are the command line's. */
export const operations = {
  'containers/create': operation({
    description: 'Create a workspace from a directory, tar archive or image, and start it',
    params: z.object({
      name: NameSchema.describe('Name of the workspace'),
      rootfs: z
        .string()
        .min(1)
        .optional()
        .describe('Directory or tar archive on the host to copy the root file system from'),
      image: z
        .string()
        .min(1)
        .optional()
        .describe("Image in Podman's local storage to copy the root file system from"),
      volume: z.array(VolumeSchema).default([]).describe('Volume kept in its own subvolume, NAME:/path'),
      publish: z.array(PublishedPortSchema).default([]).describe('Publish a port, [IP:]HOST:CONTAINER'),
      env: z
        .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string())
        .default({})
        .describe('Environment variable, K=V'),
      shmBytes: z.int().positive().default(268435456).describe('Size of /dev/shm in bytes'),
      command: z
        .array(z.string())
        .default([])
        .describe("Main program; the image's own, or none, unless given"),
      project: NameSchema.optional().describe('Label that groups workspaces'),
    }),
    result: WorkspaceSchema.extend(timed),
    effect: 'changes',
    cli: { positionals: ['name'], rest: 'command' },
    // A large root file system is copied.
    deadlineMinutes: 120,
  }),
  'containers/list': operation({
    description: 'List the workspaces of this host',
    params: nothing,
    result: z.array(WorkspaceSchema),
    effect: 'reads',
    cli: {},
  }),
  'containers/show': operation({
    description: 'Show all about one workspace',
    params: z.object(container),
    result: WorkspaceSchema.extend({
      /** Space of the live files, an estimate in bytes; null until it is known. */
      diskBytes: z.int().nullable(),
      pool: PoolSchema,
    }),
    effect: 'reads',
    cli: {},
  }),
  'containers/start': operation({
    description: 'Start a stopped workspace',
    params: z.object(container),
    result: WorkspaceSchema.extend(timed),
    effect: 'changes',
    cli: {},
  }),
  'containers/stop': operation({
    description: 'Stop a running workspace; its processes end, its files stay',
    params: z.object({
      ...container,
      timeout: z
        .number()
        .min(0)
        .max(3600)
        .default(10)
        .describe('Seconds to wait before its processes are killed'),
    }),
    result: WorkspaceSchema.extend(timed),
    effect: 'destroys',
    cli: {},
  }),
  'containers/delete': operation({
    description: 'Delete a workspace',
    params: z.object({
      ...container,
      withSnapshots: z.boolean().default(false).describe('Delete its snapshots too'),
    }),
    result: z.object({ name: z.string(), deletedSnapshots: z.array(SnapshotNameSchema), ...timed }),
    effect: 'destroys',
    cli: {},
  }),
  'containers/copy': operation({
    description: 'Fork a workspace: make independent ones from a snapshot, with its processes running',
    params: z.object({
      ...container,
      snapshot: SnapshotReferenceSchema.optional().describe(
        'Name or alias of the snapshot to begin from; one taken now unless given',
      ),
      name: NameSchema.describe('Name of the fork; NAME-1, NAME-2 … of several'),
      count: z.int().min(1).max(MAXIMUM_FORKS).default(1).describe('How many forks to make side by side'),
      publish: z
        .array(PublishedPortSchema)
        .default([])
        .describe(
          'Publish a port, [IP:]HOST:CONTAINER; counted up from HOST where there are several forks. ' +
            'Other ports that the original publishes get free ones',
        ),
      cold: z.boolean().default(false).describe('Start the forks from the files, without the kept processes'),
      targetProject: NameSchema.optional().describe("Project of the forks; the original's unless given"),
    }),
    result: z.array(ForkSchema),
    effect: 'changes',
    cli: {},
  }),
  'containers/changes': operation({
    description: 'Show what became of a fork since the snapshot that it began as',
    params: z.object(container),
    result: ChangesSchema,
    effect: 'reads',
    cli: {},
  }),
  'containers/project': operation({
    description: 'Set, change or clear the project of a workspace, a label that groups workspaces',
    params: z.object({ ...container, project: NameSchema.nullable().describe('The project') }),
    result: WorkspaceSchema.extend(timed),
    effect: 'changes',
    cli: { clears: 'project' },
  }),
  'containers/promote': operation({
    description:
      'Let a fork take the place of the workspace it came from: its state, under the name and ports of that one',
    params: z.object({
      ...container,
      safety: SafetySchema.default('auto').describe(
        'What is kept of the state that it replaces: auto, stateful (with processes), stateless (files alone) or none',
      ),
      cold: z
        .boolean()
        .default(false)
        .describe('Take the files of the fork alone, and start the workspace from them'),
    }),
    result: z.object({
      /** The workspace that the fork came from, in the state of the fork. Its `undo` leads back. */
      workspace: WorkspaceSchema,
      /** The fork's last state, in the timeline of the workspace. */
      promoted: SnapshotNameSchema,
      /** The state that was replaced; restoring it undoes the promotion. */
      safety: SnapshotNameSchema.nullable(),
      /** The fork, which is gone as a workspace of its own. */
      fork: z.object({ id: WorkspaceIdSchema, name: NameSchema }),
      /** The fork's snapshots, as they are called in the timeline of the workspace; oldest first. */
      adopted: z.array(SnapshotNameSchema),
      stateful: z.boolean(),
      /** For how long the workspace did not run, in milliseconds. */
      downMs: z.number(),
      totalMs: z.number(),
      ...timed,
    }),
    effect: 'destroys',
    cli: {},
  }),
  'snapshots/create': operation({
    description: 'Take a snapshot: files, and processes with their memory when the workspace runs',
    params: z.object({
      ...container,
      alias: NameSchema.optional().describe('A second name for it, unique in the workspace'),
      expiry: ExpiryDaysSchema.optional(),
      note: z.string().max(4096).optional().describe('Free text'),
      mode: z
        .enum(['auto', 'stateful', 'stateless'])
        .default('auto')
        .describe(
          "auto keeps processes where it can; stateful fails where it can't; stateless keeps the files alone",
        ),
      kind: SnapshotKindSchema.exclude(['safety']).default('manual').describe('Why it is taken'),
      numbered: z.boolean().default(false).describe('Add a number to the alias when it is taken'),
    }),
    result: z.object({ snapshot: SnapshotSchema, ...timed }),
    effect: 'changes',
    cli: {},
  }),
  'snapshots/list': operation({
    description: 'List the snapshots of a workspace, newest first',
    params: z.object({
      ...container,
      tree: z.boolean().default(false).describe('Show them as a tree, with the forks that began at each'),
    }),
    result: z.array(SnapshotSummarySchema),
    effect: 'reads',
    cli: {},
  }),
  'snapshots/show': operation({
    description: 'Show all about one snapshot, with its capture report',
    params: z.object(oneSnapshot),
    result: SnapshotSchema,
    effect: 'reads',
    cli: {},
  }),
  'snapshots/alias': operation({
    description: 'Set, change or clear the alias of a snapshot',
    params: z.object({ ...oneSnapshot, alias: NameSchema.nullable().describe('The alias') }),
    result: SnapshotSchema,
    effect: 'changes',
    cli: { clears: 'alias' },
  }),
  'snapshots/note': operation({
    description: 'Set, change or clear the note of a snapshot',
    params: z.object({ ...oneSnapshot, note: z.string().max(4096).nullable().describe('The note') }),
    result: SnapshotSchema,
    effect: 'changes',
    cli: { clears: 'note' },
  }),
  'snapshots/expiry': operation({
    description: 'Set or clear the expiry of a snapshot, in days from now',
    params: z.object({ ...oneSnapshot, expiry: ExpiryDaysSchema.nullable() }),
    result: SnapshotSchema,
    effect: 'changes',
    cli: { clears: 'expiry' },
  }),
  'snapshots/protect': operation({
    description: 'Protect a snapshot from deletion and expiry',
    params: z.object(oneSnapshot),
    result: SnapshotSchema,
    effect: 'changes',
    cli: {},
  }),
  'snapshots/unprotect': operation({
    description: 'Remove the protection of a snapshot',
    params: z.object(oneSnapshot),
    result: SnapshotSchema,
    effect: 'changes',
    cli: {},
  }),
  'snapshots/delete': operation({
    description: 'Delete a snapshot; its children are joined to its parent',
    params: z.object(oneSnapshot),
    result: z.object({ name: SnapshotNameSchema, alias: NameSchema.nullable(), ...timed }),
    effect: 'destroys',
    cli: {},
  }),
  'snapshots/preview': operation({
    description: 'Show what a restore would throw away',
    params: z.object(oneSnapshot),
    result: PreviewSchema,
    effect: 'reads',
    cli: {},
  }),
  'snapshots/restore': operation({
    description: 'Put a workspace back to a snapshot, keeping the state before in a safety snapshot',
    params: z.object({
      ...oneSnapshot,
      safety: SafetySchema.default('auto').describe(
        'What is kept of the state before: auto, stateful (with processes), stateless (files alone) or none',
      ),
      cold: z
        .boolean()
        .default(false)
        .describe('Start the workspace from the files, without the kept processes'),
    }),
    result: z.object({
      workspace: WorkspaceSchema,
      /** The snapshot that was restored. */
      restored: SnapshotNameSchema,
      safety: SnapshotNameSchema.nullable(),
      /** Its processes go on from the snapshot; otherwise it was started from its files, or left stopped. */
      stateful: z.boolean(),
      /** How `/etc/forkpoint/on-restore` inside it failed; null when it did well or there is none. */
      hookFailure: z.string().nullable(),
      /** From the freeze of the state before until the restored processes ran, in milliseconds. */
      downMs: z.number(),
      totalMs: z.number(),
      ...timed,
    }),
    effect: 'destroys',
    cli: {},
  }),
  'host/info': operation({
    description: 'Show the versions, the pool and the health of this host',
    params: nothing,
    result: z.object({
      hostname: z.string(),
      version: z.string(),
      pool: PoolSchema.nullable(),
      kernel: z.string(),
      findings: z.array(FindingSchema),
    }),
    effect: 'reads',
    cli: {},
  }),
  'host/setup': operation({
    description: 'Make the snapshot pool on this host, in a file that is allocated in full',
    params: z.object({
      size: z
        .int()
        .min(2_147_483_648)
        .optional()
        .describe('Size of the pool file in bytes; a quarter of the free space unless given'),
    }),
    result: PoolSchema.extend(timed),
    effect: 'changes',
    cli: {},
  }),
  'host/logs': operation({
    description: 'Show what the helper did, one line a step',
    params: z.object({
      lines: z.int().min(1).max(10_000).default(200).describe('How many of the last lines'),
    }),
    result: z.array(z.string()),
    effect: 'reads',
    cli: {},
  }),
  'host/trash': operation({
    description: 'List the expired snapshots that can still be taken back',
    params: nothing,
    result: z.array(
      z.object({
        workspace: z.string(),
        name: SnapshotNameSchema,
        alias: NameSchema.nullable(),
        expiredAt: MomentSchema,
      }),
    ),
    effect: 'reads',
    cli: {},
  }),
  'terminal/open': operation({
    description: 'Begin a terminal session that snapshots keep, and show how to attach to it',
    params: z.object({
      ...container,
      session: TerminalSessionSchema.default('main').describe('Name of the session'),
    }),
    result: TerminalSchema,
    effect: 'changes',
    cli: {},
  }),
  'ports/list': operation({
    description: 'List the ports that programs of a workspace listen on, and those that it publishes',
    params: z.object(container),
    result: z.array(WorkspacePortSchema),
    effect: 'reads',
    cli: {},
  }),
  'ssh/enable': operation({
    description: 'Let a key into a workspace by SSH, and show how to reach it',
    params: z.object({
      ...container,
      key: PublicKeySchema.describe('Public key to let in'),
      user: UserNameSchema.default('root').describe('User inside'),
    }),
    result: SshAccessSchema,
    effect: 'changes',
    cli: {},
  }),
  'snapshots/recover': operation({
    description: 'Take an expired snapshot back out of the trash',
    params: z.object(oneSnapshot),
    result: SnapshotSchema.extend(timed),
    effect: 'changes',
    cli: {},
  }),
  'api/enable': operation({
    description: 'Switch the HTTP API on',
    params: EnableApiSchema,
    result: ApiStatusSchema,
    effect: 'changes',
    cli: {},
  }),
  'api/disable': operation({
    description: 'Switch the HTTP API off; its tokens are kept',
    params: nothing,
    result: ApiStatusSchema,
    effect: 'changes',
    cli: {},
  }),
  'api/status': operation({
    description: 'Show whether and where the HTTP API is served',
    params: nothing,
    result: ApiStatusSchema,
    effect: 'reads',
    cli: {},
  }),
  'api/token/create': operation({
    description: 'Create a token for the HTTP API, shown this once',
    params: CreateTokenSchema,
    result: ApiTokenSchema.extend({ token: z.string() }),
    effect: 'changes',
    cli: {},
    isSecret: true,
  }),
  'api/token/list': operation({
    description: 'List the tokens of the HTTP API',
    params: nothing,
    result: z.array(ApiTokenSchema),
    effect: 'reads',
    cli: {},
  }),
  'api/token/revoke': operation({
    description: 'Revoke a token of the HTTP API, at once',
    params: z.object({ token: TokenIdSchema.describe('Its 12 digits') }),
    result: ApiTokenSchema,
    effect: 'destroys',
    cli: { positionals: ['token'] },
  }),
} as const;

/** Name of an operation, which is its JSON-RPC method. */
export type OperationName = keyof typeof operations;
/** What a caller passes; defaults may be left out. */
export type ParamsInput<N extends OperationName> = z.input<(typeof operations)[N]['params']>;
/** What a service receives: checked, with defaults filled in. */
export type Params<N extends OperationName> = z.output<(typeof operations)[N]['params']>;
/** What an operation answers. */
export type Result<N extends OperationName> = z.output<(typeof operations)[N]['result']>;

/** Whether `value` names an operation. */
export function isOperationName(value: string): value is OperationName {
  return Object.hasOwn(operations, value);
}

import * as z from 'zod';
import { ErrorDataSchema } from './errors.ts';
import { NameSchema, SnapshotNameSchema, WorkspaceIdSchema } from './names.ts';
import { MomentSchema } from './snapshot.ts';
import { WorkspaceStateSchema } from './workspaceState.ts';

/** A port of the workspace that the host publishes. */
export const PublishedPortSchema = z.object({
  /** Address of the host; loopback unless given. */
  ip: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
  hostPort: z.int().min(1).max(65535),
  containerPort: z.int().min(1).max(65535),
});
export type PublishedPort = z.infer<typeof PublishedPortSchema>;

/** A volume: a subvolume of its own, mounted at `path`, which snapshots include. */
export const VolumeSchema = z.object({
  name: NameSchema,
  /** Where it is mounted inside, absolute. */
  path: z
    .string()
    .regex(/^\/(?!.*(?:^|\/)\.{1,2}(?:\/|$))[^\0,:]+$/, 'an absolute path without ".", "..", "," or ":"'),
});

/** The last restore, for as long as it can be undone. */
export const UndoSchema = z.object({
  /** The safety snapshot that the restore took. */
  safety: SnapshotNameSchema,
  safetyIsStateful: z.boolean(),
  /** What was restored. */
  restored: SnapshotNameSchema,
  restoredAt: MomentSchema,
});
export type Undo = z.infer<typeof UndoSchema>;

/** A failure that met a workspace while nobody was waiting for an answer. */
export const SetbackSchema = z.object({
  ...ErrorDataSchema.shape,
  /** An `ErrorCode`; of a later helper, perhaps one that is not known here. */
  code: z.string(),
  at: MomentSchema,
});

/** Where a fork came from. */
export const OriginSchema = z.object({
  /** The workspace that it was made of; it may be gone. */
  workspace: WorkspaceIdSchema,
  /** How that was called then. */
  name: NameSchema,
  /** The snapshot of it that the fork began as; it may be gone. */
  snapshot: SnapshotNameSchema,
  /** Which of the forks that were made together, from 1 on. */
  forkIndex: z.int().positive(),
  at: MomentSchema,
});
export type Origin = z.infer<typeof OriginSchema>;

/** A container whose root file system and volumes are btrfs subvolumes. What has a default an older helper doesn't tell. */
export const WorkspaceSchema = z.object({
  id: WorkspaceIdSchema,
  name: NameSchema,
  createdAt: MomentSchema,
  state: WorkspaceStateSchema,
  /** The snapshot that the live workspace descends from. */
  head: SnapshotNameSchema.nullable(),
  headAlias: NameSchema.nullable(),
  headCreatedAt: MomentSchema.nullable(),
  snapshotCount: z.int().nonnegative(),
  /** How many of them are safety snapshots. */
  safetyCount: z.int().nonnegative().default(0),
  /** Raised by each restore: a client that knows an older one must read its files again. */
  generation: z.int().nonnegative(),
  engine: z.object({ kind: z.enum(['podman']), container: z.string(), id: z.string() }),
  /** Its inner address, for life. */
  address: z.ipv4(),
  hostname: z.string(),
  command: z.array(z.string()),
  published: z.array(PublishedPortSchema),
  volumes: z.array(VolumeSchema.extend({ hostPath: z.string() })),
  /** Where its root file system is on the host. */
  rootfs: z.string(),
  undo: UndoSchema.nullable(),
  /** Told until the workspace is next restored, started, stopped or kept in a snapshot. */
  setback: SetbackSchema.nullable().default(null),
  /** A label that groups workspaces. */
  project: NameSchema.nullable().default(null),
  /** Of a fork; null for a workspace that is none. */
  origin: OriginSchema.nullable().default(null),
  /** The operation under way. A fork with `containers/copy` and without a head is being made, and may yet be taken back. */
  operation: z.string().nullable(),
});
export type Workspace = z.infer<typeof WorkspaceSchema>;

/** State of the pool, in bytes. */
export const PoolSchema = z.object({
  path: z.string(),
  totalBytes: z.int(),
  freeBytes: z.int(),
  /** Kept back: creates can't use it, deletes can. */
  reserveBytes: z.int(),
  /** Under 10 % free. */
  isLow: z.boolean(),
});
export type Pool = z.infer<typeof PoolSchema>;

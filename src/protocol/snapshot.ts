import * as z from 'zod';
import { NameSchema, SnapshotNameSchema, WorkspaceIdSchema } from './names.ts';
import { WorkspaceStateSchema } from './workspaceState.ts';

/** Why a snapshot was taken. */
export const SnapshotKindSchema = z.enum(['manual', 'before-ai', 'safety', 'scheduled']);
export type SnapshotKind = z.infer<typeof SnapshotKindSchema>;

/** A moment, as ISO 8601 in UTC. */
export const MomentSchema = z.iso.datetime();

/** How many files differ, and how the first of them are called (`/`-separated, from the root of the workspace). */
export const FileChangesSchema = z.object({
  added: z.int().nonnegative(),
  changed: z.int().nonnegative(),
  deleted: z.int().nonnegative(),
  /** The first paths, at most 100; control characters are made visible. */
  first: z.array(z.object({ path: z.string(), change: z.enum(['added', 'changed', 'deleted']) })),
});
export type FileChanges = z.infer<typeof FileChangesSchema>;

/** A process as seen inside the workspace. */
export const ProcessSchema = z.object({
  /** Process id inside the workspace; 0 where it can't be told. */
  pid: z.int(),
  /** Its `comm`, control characters made visible. */
  name: z.string(),
  /** Resident memory in bytes. */
  memoryBytes: z.int(),
});
export type Process = z.infer<typeof ProcessSchema>;

/** A socket that listens inside the workspace. */
export const ListenerSchema = z.object({
  protocol: z.enum(['tcp', 'udp', 'unix']),
  /** `address:port`, or the path of a unix socket. */
  address: z.string(),
});

/** A TCP connection to a peer outside the workspace. */
export const OutsideConnectionSchema = z.object({ local: z.string(), peer: z.string() });
export type OutsideConnection = z.infer<typeof OutsideConnectionSchema>;

/** The capture report: what a snapshot caught and what it did not. */
export const CaptureSchema = z.object({
  /** Processes whose memory is in the snapshot. */
  kept: z.array(ProcessSchema),
  /** Processes that run in the workspace but are not in the snapshot. */
  leftOut: z.array(ProcessSchema.extend({ reason: z.string() })),
  listeners: z.array(ListenerSchema),
  /** Connections that a restore will close. */
  outsideConnections: z.array(OutsideConnectionSchema),
  /** Volumes included: name and path inside. */
  volumes: z.array(z.object({ name: z.string(), path: z.string() })),
  /** Nested subvolumes included: path inside. */
  nestedSubvolumes: z.array(z.string()),
  /** Mounts whose content is not in the snapshot's files, with the reason. */
  otherMounts: z.array(z.object({ path: z.string(), type: z.string(), reason: z.string() })),
});
export type Capture = z.infer<typeof CaptureSchema>;

/** One frozen moment of a workspace. Durations are in milliseconds, sizes in bytes. */
export const SnapshotSchema = z.object({
  name: SnapshotNameSchema,
  alias: NameSchema.nullable(),
  note: z.string().nullable(),
  createdAt: MomentSchema,
  expiresAt: MomentSchema.nullable(),
  /** The snapshot that the workspace descended from when this one was taken. */
  parent: SnapshotNameSchema.nullable(),
  /** Whether the live workspace descends from this one. */
  isHead: z.boolean(),
  protected: z.boolean(),
  /** With processes and memory. */
  stateful: z.boolean(),
  /** Why there are no processes in it although the workspace was running; null for a stateful one or a stopped workspace. */
  statelessReason: z.string().nullable(),
  kind: SnapshotKindSchema,
  /** How long the workspace stood still; 0 when it was not running. */
  freezeMs: z.number(),
  totalMs: z.number(),
  /** Size of the memory images; 0 for a stateless snapshot. */
  memoryBytes: z.int(),
  /** An estimate of what deleting it would free; null until it is known. */
  exclusiveBytes: z.int().nullable(),
  /** Against its parent; null until counted, and for the first of a timeline. */
  changedFiles: FileChangesSchema.nullable(),
  capture: CaptureSchema,
  /** Files and memory are on stable storage. */
  durable: z.boolean(),
});
export type Snapshot = z.infer<typeof SnapshotSchema>;

/** A workspace that began as a snapshot of another one. */
export const ForkReferenceSchema = z.object({
  id: WorkspaceIdSchema,
  name: NameSchema,
  state: WorkspaceStateSchema,
});
export type ForkReference = z.infer<typeof ForkReferenceSchema>;

/** A snapshot in a list: all but the capture report and the names of the changed files, which `snapshots/show` has. */
export const SnapshotSummarySchema = SnapshotSchema.omit({ capture: true, changedFiles: true }).extend({
  changedFiles: FileChangesSchema.omit({ first: true }).nullable(),
  /** The workspaces that began as this snapshot, sorted by name. */
  forks: z.array(ForkReferenceSchema).default([]),
});
export type SnapshotSummary = z.infer<typeof SnapshotSummarySchema>;

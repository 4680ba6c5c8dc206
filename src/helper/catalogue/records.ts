import * as path from 'node:path';
import * as z from 'zod';
import { NameSchema, SnapshotNameSchema, WorkspaceIdSchema } from '../../protocol/names.ts';
import { MomentSchema, SnapshotSchema } from '../../protocol/snapshot.ts';
import {
  OriginSchema,
  PublishedPortSchema,
  SetbackSchema,
  UndoSchema,
  VolumeSchema,
} from '../../protocol/workspace.ts';
import { ROOTFS, volumePart } from './layout.ts';

/** Version of the files on disk; a newer one is refused. Unknown fields are kept. */
export const SCHEMA = 1;

/** `workspace.json`: all that is needed to make the engine's container again (H16). */
export const WorkspaceRecordSchema = z.looseObject({
  schema: z.literal(SCHEMA),
  id: WorkspaceIdSchema,
  name: NameSchema,
  createdAt: MomentSchema,
  head: SnapshotNameSchema.nullable(),
  generation: z.int().nonnegative(),
  /** Whether it should run; a restore of a stopped workspace keeps that in mind. */
  undo: UndoSchema.nullable(),
  setback: SetbackSchema.nullable().default(null),
  project: NameSchema.nullable().default(null),
  origin: OriginSchema.nullable().default(null),
  engine: z.looseObject({
    kind: z.literal('podman'),
    /** Name of the engine's container. */
    container: z.string(),
    /** The engine's id; empty while there is none. */
    id: z.string(),
    runtime: z.enum(['runc', 'crun']),
  }),
  spec: z.looseObject({
    hostname: z.string(),
    address: z.ipv4(),
    mac: z.string(),
    command: z.array(z.string()),
    env: z.record(z.string(), z.string()),
    user: z.string(),
    workingDirectory: z.string(),
    shmBytes: z.int(),
    volumes: z.array(VolumeSchema),
    published: z.array(PublishedPortSchema),
  }),
  /** A lazy restore that still reads its images. */
  lazy: z
    .looseObject({
      snapshot: SnapshotNameSchema,
      /** The workspace whose snapshot it is; its own unless given. */
      source: WorkspaceIdSchema.optional(),
      pid: z.int(),
      /** Field 22 of /proc/PID/stat: tells a process from a later one with the same id. */
      startTime: z.string(),
    })
    .nullable(),
});
export type WorkspaceRecord = z.infer<typeof WorkspaceRecordSchema>;

/** What must be the same to wake processes from their images (H26). */
export const ImageOriginSchema = z.looseObject({
  kernel: z.string(),
  criu: z.string(),
  runtime: z.string(),
  architecture: z.string(),
  /** CPU feature flags of /proc/cpuinfo, sorted. */
  cpuFlags: z.array(z.string()),
});
export type ImageOrigin = z.infer<typeof ImageOriginSchema>;

/** What tells a workspace from its forks, as its files and processes know it. */
export const IdentitySchema = z.looseObject({
  workspace: WorkspaceIdSchema,
  hostname: z.string(),
  address: z.ipv4(),
});
export type Identity = z.infer<typeof IdentitySchema>;

/** `rootfs` or `volumes/NAME`. */
const PartSchema = z
  .string()
  .refine(
    (part) =>
      part === ROOTFS ||
      (NameSchema.safeParse(part.slice(volumePart('').length)).success && part.startsWith(volumePart(''))),
    'no part of a workspace',
  );

/** A file in the directory of the images. */
const ImageNameSchema = z.string().regex(/^(?!\.\.?$)[^/\0]+$/, 'no name of a file');

/** A path inside a part, which leads nowhere else. */
const InnerPathSchema = z
  .string()
  .refine(
    (inner) =>
      path.posix.normalize(inner) === inner && !path.isAbsolute(inner) && !/^\.\.?(?:\/|$)|\0/.test(inner),
    'a path that leads out of its part',
  );

/** `expired.json`, beside the files of an expired snapshot. `uptimeMs`: how much uptime the pool had counted then. */
export const ExpiredNoteSchema = z.object({ expiredAt: z.iso.datetime(), uptimeMs: z.number() });

/** `snapshot.json`: a snapshot exists when this file does. */
export const SnapshotRecordSchema = SnapshotSchema.omit({ isHead: true })
  .extend({
    schema: z.literal(SCHEMA),
    workspace: WorkspaceIdSchema,
    /** `rootfs` and each `volumes/NAME`. */
    parts: z.array(PartSchema),
    /** Nested subvolumes, outermost first: the part and the path in it; kept as `nested/INDEX`. */
    nested: z.array(z.object({ part: PartSchema, path: InnerPathSchema })),
    /** Name, size in bytes and, of small ones, SHA-256 of each image file; verified before a restore stops anything. */
    images: z.array(z.object({ name: ImageNameSchema, bytes: z.int(), sha256: z.string().optional() })),
    imageOrigin: ImageOriginSchema.nullable(),
    /** Whether its memory was compared with that of an earlier snapshot, with which it shares the blocks of equal pages. */
    pagesCompared: z.boolean().default(false),
    /** All local addresses that dumped sockets may use, those of a fork's originals included (H21). */
    addresses: z.array(z.string()),
    /** Whose machine id, host keys and name its files bear, where that is not its workspace: a promoted fork's. */
    identity: IdentitySchema.nullable().default(null),
    /** Of the host's boot; images that were not durable are doubtful after another boot (H9). */
    bootId: z.string(),
  })
  .loose();
export type SnapshotRecord = z.infer<typeof SnapshotRecordSchema>;

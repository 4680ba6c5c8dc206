import * as z from 'zod';
import { ContenderSchema } from './figures.ts';

/** What runs in the containers that are compared. All of them answer HTTP on port 8080. */
export const WorkloadSchema = z.object({
  /** A letter. */
  id: z.string(),
  what: z.string(),
  /** Name of the workspace. */
  name: z.string(),
  /** Its main program; null for a workspace that is there already. */
  command: z.array(z.string()).nullable(),
  /** Those that it is compared with; `podman-commit` and the copies keep files alone. */
  peers: z.array(ContenderSchema),
  rounds: z.int(),
  /** Memory that is read while it is restored lazily, in MiB; 0 where nothing is lazy. */
  memoryMiB: z.int(),
  /** Whether forks are measured: each needs the workload's memory once more. */
  isForked: z.boolean(),
  /** Whether the disk use of successive snapshots and forks is measured. */
  isRepeated: z.boolean(),
});
export type Workload = z.infer<typeof WorkloadSchema>;

/** How much is measured. */
export const ExtentSchema = z.object({
  isQuick: z.boolean(),
  /** How long answers are watched after a lazy restore, in milliseconds. */
  watchMs: z.number(),
  /** Snapshots of the workspace whose list is timed. */
  listed: z.int(),
  /** Forks, and successive snapshots, whose disk use is measured. */
  inARow: z.int(),
  /** How long the daemon is watched while nobody asks it anything, in milliseconds. */
  idleMs: z.number(),
  hostRounds: z.int(),
});
export type Extent = z.infer<typeof ExtentSchema>;

/** What the program that measures within the host is told. */
export const OrderSchema = z.object({
  /** Null: what does not depend on what runs in a workspace. */
  workload: WorkloadSchema.nullable(),
  extent: ExtentSchema,
  /** Text of workload.py. */
  program: z.string(),
  /** Tar of the workspaces' root file system, in the host. */
  tar: z.string(),
});
export type Order = z.infer<typeof OrderSchema>;

/** The workspace whose snapshots are listed; it runs nothing. */
export const listedWorkspace = 'bench-listed';

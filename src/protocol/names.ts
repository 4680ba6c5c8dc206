import * as z from 'zod';

export { visible } from './visible.ts';

/** What a workspace, snapshot, alias or volume may be called: safe as a file name, an argument and a DNS-like label. */
export const NAME_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/;

/** A name that a person chose (workspace, alias, volume). */
export const NameSchema = z
  .string()
  .regex(NAME_PATTERN, 'use 1 to 64 letters, digits, ".", "_" or "-", and don\'t begin with "-" or "."');

/** Id of a workspace: `ws-` and 12 hexadecimal digits, given once and never reused. */
export const WorkspaceIdSchema = z
  .string()
  .regex(/^ws-[0-9a-f]{12}$/)
  .brand<'WorkspaceId'>();
export type WorkspaceId = z.infer<typeof WorkspaceIdSchema>;

/** Generated name of a snapshot, unique in its workspace: `snap-20260304-143045`, in UTC, `-2`, `-3` … within one second. */
export const SnapshotNameSchema = z
  .string()
  .regex(/^snap-\d{8}-\d{6}(-\d{1,4})?$/)
  .brand<'SnapshotName'>();
export type SnapshotName = z.infer<typeof SnapshotNameSchema>;

/** How a request names a workspace: by id or by name. */
export const WorkspaceReferenceSchema = NameSchema.describe('Id or name of the workspace');

/** How a request names a snapshot: by generated name or by alias. */
export const SnapshotReferenceSchema = NameSchema.describe('Name or alias of the snapshot');

/** Longest expiry, in days. */
export const MAXIMUM_EXPIRY_DAYS = 3650;

/** Days until a snapshot expires; fractions are allowed. */
export const ExpiryDaysSchema = z
  .number()
  .positive()
  .max(MAXIMUM_EXPIRY_DAYS)
  .describe(
    `Days until the snapshot expires, over 0 and at most ${String(MAXIMUM_EXPIRY_DAYS)}; fractions are allowed`,
  );

import { NotificationType, RequestType, RequestType2 } from 'vscode-jsonrpc';
import * as z from 'zod';
import type { ErrorData } from './errors.ts';
import type { Result } from './operations.ts';
import type { OperationName } from './operations.ts';
import { SnapshotNameSchema, WorkspaceIdSchema } from './names.ts';

/** Version of what both sides say; raised when an older side could misunderstand a newer one. */
export const PROTOCOL_VERSION = 1;

/** JSON-RPC error code of every {@link ErrorData} (server errors are -32000 … -32099, JSON-RPC 2.0 § 5.1). */
export const FORKPOINT_ERROR = -32000;

/** The oldest version that this program still understands. A session speaks the lower of both sides' versions. */
export const OLDEST_PROTOCOL_VERSION = 1;

/** The first request of a session. */
export const HelloSchema = z.object({
  client: z.string(),
  clientVersion: z.string(),
  protocol: z.int(),
});
export type Hello = z.infer<typeof HelloSchema>;

/** The daemon's answer. */
export const WelcomeSchema = z.object({
  hostname: z.string(),
  version: z.string(),
  /** SHA-256 of the helper that the daemon runs, in hexadecimal. */
  digest: z.string(),
  protocol: z.int(),
});
export type Welcome = z.infer<typeof WelcomeSchema>;

export const helloRequest = new RequestType<Hello, Welcome, ErrorData>('session/hello');

/** A newer helper asks the daemon to make room for it. Understood before and without a hello, in every version. */
export const RetireSchema = z.object({ version: z.string(), digest: z.string() });
export type Retire = z.infer<typeof RetireSchema>;

/** The daemon goes when nothing is under way; the connection's end says that it is gone. */
export const RetirementSchema = z.object({
  retires: z.boolean(),
  /** Why it stays; null when it goes. */
  reason: z.string().nullable(),
});
export type Retirement = z.infer<typeof RetirementSchema>;

export const retireRequest = new RequestType<Retire, Retirement, ErrorData>('session/retire');

/** What accompanies a request beside its parameters. */
export const RequestMetaSchema = z.object({
  /** Given, the daemon sends {@link progressNotification}s with it. */
  progressToken: z.string().max(64).optional(),
  /** A request repeated with the same key, after a lost connection, gets the first one's result and runs once. */
  idempotencyKey: z.string().max(64).optional(),
});
export type RequestMeta = z.infer<typeof RequestMetaSchema>;

/** The request type of an operation: parameters, then {@link RequestMeta}. Cancel it by `$/cancelRequest`. */
export function operationRequest<N extends OperationName>(
  name: N,
): RequestType2<unknown, RequestMeta, Result<N>, ErrorData> {
  return new RequestType2(name);
}

/** How far a request is. */
export interface Progress {
  readonly token: string;
  /** Name of the step that began, as in the result's timing; empty when only `partial` is told and none has begun. */
  readonly step: string;
  /** From here on cancelling does nothing. */
  readonly isPastPointOfNoReturn: boolean;
  /** What is known of the result so far, where it comes in parts. */
  readonly partial?: unknown;
}
export const progressNotification = new NotificationType<Progress>('session/progress');

/** Something changed on the host that a view may show. */
export const ChangedSchema = z.object({
  /** Null: the list of workspaces or the pool. */
  workspace: WorkspaceIdSchema.nullable(),
  /** A snapshot that was just created, to be revealed. */
  created: SnapshotNameSchema.nullable(),
});
export type Changed = z.infer<typeof ChangedSchema>;
export const changedNotification = new NotificationType<Changed>('event/changed');

/** A workspace was restored: every editor on its files must read them again (H30). */
export const RestoredSchema = z.object({
  workspace: WorkspaceIdSchema,
  generation: z.int(),
  restored: SnapshotNameSchema,
  safety: SnapshotNameSchema.nullable(),
});
export type Restored = z.infer<typeof RestoredSchema>;
export const restoredNotification = new NotificationType<Restored>('event/restored');

/** A line that `dial-stdio --marker M` prints before the framed messages: all before it is noise of the login shell. */
export function markerLine(marker: string): string {
  return `forkpoint-session ${marker}`;
}

/**
 * A reader of messages that waits for the rest of one as long as its stream stands. By default vscode-jsonrpc's tells every
 * ten seconds that half a message has come, also of a stream that has ended: its timer keeps the process, and what has come,
 * for ever (vscode-jsonrpc's messageReader.ts, setPartialMessageTimer).
 */
export function patient<Reader extends { partialMessageTimeout: number }>(reader: Reader): Reader {
  reader.partialMessageTimeout = 0;
  return reader;
}

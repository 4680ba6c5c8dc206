import { NotificationType, RequestType } from 'vscode-jsonrpc';
import * as z from 'zod';
import type { ErrorData } from './errors.ts';
import { WorkspaceReferenceSchema } from './names.ts';
import { TerminalSchema, TerminalSessionSchema } from './reach.ts';

/**
 * Streams of bytes beside the requests of a session: terminals and connections to ports. They share its one connection,
 * since a server may allow no second one, and a second one may ask for a password.
 */

/** How many bytes may be under way in each direction of a stream before the reader has taken some. */
export const STREAM_WINDOW = 1024 * 1024;

/** The most bytes in one {@link streamData}: small enough that a request need not wait long behind it. */
export const STREAM_CHUNK = 64 * 1024;

/** The reader tells what it has taken once it is that much: telling each piece would double the messages. */
export const TAKEN_AT_ONCE = STREAM_WINDOW / 8;

/** Chosen by the client, unique in its session. */
const StreamIdSchema = z.int().nonnegative();

export const TerminalSizeSchema = z.object({
  columns: z.int().min(1).max(5000),
  rows: z.int().min(1).max(5000),
});
export type TerminalSize = z.infer<typeof TerminalSizeSchema>;

/** What is at the far end of a stream. */
export const StreamTargetSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('terminal'),
    container: WorkspaceReferenceSchema,
    session: TerminalSessionSchema,
    size: TerminalSizeSchema,
    /** How many lines of an existing session's scrollback to send first. */
    historyLines: z.int().min(0).max(10_000),
  }),
  z.object({
    kind: z.literal('port'),
    container: WorkspaceReferenceSchema,
    port: z.int().min(1).max(65535),
  }),
]);
export type StreamTarget = z.infer<typeof StreamTargetSchema>;

/** What is known of a stream once it is open; `terminal` is null for a port. */
export const StreamOpenedSchema = z.object({ terminal: TerminalSchema.nullable() });
export type StreamOpened = z.infer<typeof StreamOpenedSchema>;

export const OpenStreamSchema = z.object({ stream: StreamIdSchema, target: StreamTargetSchema });

/** Opens a stream; answered when the far end is there. Data may come before the answer. */
export const openStreamRequest = new RequestType<z.input<typeof OpenStreamSchema>, StreamOpened, ErrorData>(
  'stream/open',
);

/** Bytes, in base64; either way. */
export const StreamDataSchema = z.object({ stream: StreamIdSchema, data: z.string() });
export const streamData = new NotificationType<z.infer<typeof StreamDataSchema>>('stream/data');

/** The reader has taken so many bytes, and as many more may be sent; either way. */
export const StreamTakenSchema = z.object({ stream: StreamIdSchema, bytes: z.int().nonnegative() });
export const streamTaken = new NotificationType<z.infer<typeof StreamTakenSchema>>('stream/taken');

/** No more bytes come from this side; either way. */
export const StreamEndSchema = z.object({ stream: StreamIdSchema });
export const streamEnd = new NotificationType<z.infer<typeof StreamEndSchema>>('stream/end');

/** The terminal is that large from now on; from the client. */
export const StreamResizeSchema = z.object({ stream: StreamIdSchema, size: TerminalSizeSchema });
export const streamResize = new NotificationType<z.infer<typeof StreamResizeSchema>>('stream/resize');

/** The client wants no more of it. `endsSession`: nor of the terminal's shell and what runs in it. */
export const StreamCloseSchema = z.object({ stream: StreamIdSchema, endsSession: z.boolean() });
export const streamClose = new NotificationType<z.infer<typeof StreamCloseSchema>>('stream/close');

/** It is over, and all its bytes were sent before this. From the host. */
export const StreamClosedSchema = z.object({
  stream: StreamIdSchema,
  /** Exit status of a terminal's command; null where there is none. */
  status: z.int().nullable(),
  /** It did not end by itself: a snapshot, a restore or the end of its workspace took it away. The session may live on. */
  wasSentAway: z.boolean().default(false),
});
export const streamClosed = new NotificationType<z.infer<typeof StreamClosedSchema>>('stream/closed');

/**
 * Where the daemon of this host can be dialled for a workspace's port: a unix socket that takes `PORT\n`, answers `ok\n`
 * or a reason in one line, and is then the connection itself. For the command line, which runs on the same host.
 */
export const DialSchema = z.object({
  container: WorkspaceReferenceSchema,
  /** `ssh`: that of its SSH server, which is started where it does not run. */
  port: z.union([z.int().min(1).max(65535), z.literal('ssh')]),
});
export const DialledSchema = z.object({ socket: z.string(), port: z.int() });
export type Dialled = z.infer<typeof DialledSchema>;
export const dialRequest = new RequestType<z.input<typeof DialSchema>, Dialled, ErrorData>('session/dial');

/** Counts the bytes that may still be sent: no more than {@link STREAM_WINDOW} are ever under way. */
export class SendWindow {
  #free = STREAM_WINDOW;
  readonly #waiting: (() => void)[] = [];

  /** How many bytes may be sent now. */
  get free(): number {
    return this.#free;
  }

  take(bytes: number): void {
    this.#free -= bytes;
  }

  /** The other side has taken some. */
  give(bytes: number): void {
    this.#free = Math.min(STREAM_WINDOW, this.#free + bytes);
    if (this.#free > 0) for (const resume of this.#waiting.splice(0)) resume();
  }

  /** Resolves when something may be sent. */
  opened(): Promise<void> {
    return this.#free > 0 ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve));
  }
}

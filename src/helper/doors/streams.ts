import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import type { MessageConnection, NotificationType } from 'vscode-jsonrpc/node';
import type * as z from 'zod';
import { ForkpointError } from '../../protocol/errors.ts';
import {
  OpenStreamSchema,
  SendWindow,
  STREAM_CHUNK,
  STREAM_WINDOW,
  streamClose,
  streamClosed,
  StreamCloseSchema,
  streamData,
  StreamDataSchema,
  streamEnd,
  StreamEndSchema,
  streamResize,
  StreamResizeSchema,
  streamTaken,
  StreamTakenSchema,
  TAKEN_AT_ONCE,
  type StreamOpened,
  type StreamTarget,
} from '../../protocol/streams.ts';
import type { Log } from '../host/log.ts';
import type { Reach } from '../service/reach.ts';
import type { OpenTerminal } from '../service/terminals.ts';

/** The ways into workspaces, as the doors use them. */
export type ReachDoor = Pick<Reach, 'attachTerminal' | 'connect' | 'dial'>;

/** What a client may have open at once. */
const MAXIMUM_STREAMS = 1000;

/** A stream that is open. */
interface Stream {
  readonly window: SendWindow;
  readonly input: Writable;
  /** Written to the far end, and not yet told to the client, in bytes. */
  untaken: number;
  readonly terminal: OpenTerminal | null;
  /** Ends the far end. */
  close(endsSession: boolean): void;
}

/** The streams of one client. They end with its connection; a terminal's session goes on. */
export class SessionStreams {
  readonly #reach: () => Promise<ReachDoor>;
  readonly #notify: <P>(type: NotificationType<P>, params: P) => void;
  readonly #log: Log;
  readonly #streams = new Map<number, Stream>();
  /** Being opened; aborted when the client wants no more of them. */
  readonly #opening = new Map<number, AbortController>();
  #isDisposed = false;

  constructor(parts: {
    connection: MessageConnection;
    reach: () => Promise<ReachDoor>;
    notify: <P>(type: NotificationType<P>, params: P) => void;
    log: Log;
  }) {
    this.#reach = parts.reach;
    this.#notify = parts.notify;
    this.#log = parts.log;
    const on = <T>(type: NotificationType<T>, schema: z.ZodType<T>, handle: (params: T) => void): void => {
      parts.connection.onNotification(type.method, (params: unknown) => {
        const checked = schema.safeParse(params);
        if (checked.success) handle(checked.data);
        else this.#log.warn(`a client sent a malformed ${type.method}`);
      });
    };
    on(streamData, StreamDataSchema, ({ stream, data }) => this.#write(stream, data));
    on(streamTaken, StreamTakenSchema, ({ stream, bytes }) => this.#streams.get(stream)?.window.give(bytes));
    on(streamEnd, StreamEndSchema, ({ stream }) => this.#streams.get(stream)?.input.end());
    on(streamResize, StreamResizeSchema, ({ stream, size }) => {
      this.#streams
        .get(stream)
        ?.terminal?.resize(size)
        .catch((error: unknown) => this.#log.warn(`resizing a terminal: ${String(error)}`));
    });
    on(streamClose, StreamCloseSchema, ({ stream, endsSession }) => {
      this.#opening.get(stream)?.abort();
      this.#streams.get(stream)?.close(endsSession);
    });
  }

  /** Opens a stream. Rejected with why the far end can't be reached. */
  async open(input: unknown): Promise<StreamOpened> {
    const request = OpenStreamSchema.safeParse(input);
    if (!request.success) throw new ForkpointError('request.invalid', { problem: 'the stream is malformed' });
    const { stream: id, target } = request.data;
    if (this.#streams.has(id) || this.#opening.has(id) || this.#streams.size >= MAXIMUM_STREAMS)
      throw new ForkpointError('request.invalid', { problem: 'there is such a stream, or too many' });
    const opening = new AbortController();
    this.#opening.set(id, opening);
    try {
      const opened = await this.#connect(id, target, opening.signal);
      // The client may have gone, or changed its mind, meanwhile.
      if (this.#isDisposed || opening.signal.aborted) {
        this.#streams.get(id)?.close(false);
        throw new ForkpointError('operation.cancelled');
      }
      return opened;
    } finally {
      this.#opening.delete(id);
    }
  }

  /** The client is gone. */
  dispose(): void {
    this.#isDisposed = true;
    for (const opening of this.#opening.values()) opening.abort();
    for (const stream of this.#streams.values()) {
      stream.close(false);
      // What still comes is read to its end, for nobody.
      stream.window.give(STREAM_WINDOW);
    }
  }

  async #connect(id: number, target: StreamTarget, signal: AbortSignal): Promise<StreamOpened> {
    const reach = await this.#reach();
    const window = new SendWindow();
    if (target.kind === 'port') {
      const socket = await reach.connect(target);
      this.#streams.set(id, {
        window,
        input: socket,
        untaken: 0,
        terminal: null,
        close: () => socket.destroy(),
      });
      // Its end follows, and is what counts.
      socket.on('error', (error) => this.#log.debug(`stream ${String(id)}: ${error.message}`));
      const closed = once(socket, 'close').catch(() => undefined);
      void this.#send(id, window, socket)
        .then(() => this.#notify(streamEnd, { stream: id }))
        .catch(() => socket.destroy())
        .then(() => closed)
        .then(() => this.#closed(id, null, false));
      return { terminal: null };
    }
    const terminal = await reach.attachTerminal(target, signal);
    this.#streams.set(id, {
      window,
      input: terminal.input,
      untaken: 0,
      terminal,
      close: (endsSession) => {
        terminal
          .close(endsSession)
          .catch((error: unknown) => this.#log.warn(`closing a terminal: ${String(error)}`));
      },
    });
    void this.#sendBytes(id, window, historyOf(terminal, target.size.rows))
      .then(() => this.#send(id, window, terminal.output))
      .catch((error: unknown) => this.#log.debug(`stream ${String(id)}: ${String(error)}`))
      .then(() => terminal.exit)
      .then(({ status, wasSentAway }) => this.#closed(id, status, wasSentAway));
    return { terminal: terminal.terminal };
  }

  async #send(id: number, window: SendWindow, output: Readable): Promise<void> {
    for await (const chunk of output) await this.#sendBytes(id, window, chunk as Buffer);
  }

  async #sendBytes(id: number, window: SendWindow, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#isDisposed;) {
      await window.opened();
      const piece = bytes.subarray(at, at + Math.min(STREAM_CHUNK, window.free));
      window.take(piece.length);
      this.#notify(streamData, { stream: id, data: piece.toString('base64') });
      at += piece.length;
    }
  }

  #write(id: number, data: string): void {
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.input.writableEnded || stream.input.destroyed) return;
    const bytes = Buffer.from(data, 'base64');
    stream.input.write(bytes, () => {
      stream.untaken += bytes.length;
      if (stream.untaken < TAKEN_AT_ONCE) return;
      this.#notify(streamTaken, { stream: id, bytes: stream.untaken });
      stream.untaken = 0;
    });
  }

  #closed(id: number, status: number | null, wasSentAway: boolean): void {
    this.#streams.delete(id);
    this.#notify(streamClosed, { stream: id, status, wasSentAway });
  }
}

/** What the session showed before, moved up out of the screen, which is drawn anew. */
function historyOf({ history }: OpenTerminal, rows: number): Buffer {
  return history.length === 0 ? history : Buffer.concat([history, Buffer.from('\r\n'.repeat(rows))]);
}

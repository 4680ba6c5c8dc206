import { Duplex } from 'node:stream';
import type { MessageConnection } from 'vscode-jsonrpc/node';
import type * as z from 'zod';
import type { NotificationType } from 'vscode-jsonrpc/node';
import { ForkpointError } from '../../protocol/errors.ts';
import {
  openStreamRequest,
  SendWindow,
  STREAM_CHUNK,
  streamClose,
  streamClosed,
  StreamClosedSchema,
  streamData,
  StreamDataSchema,
  streamEnd,
  StreamEndSchema,
  StreamOpenedSchema,
  streamResize,
  streamTaken,
  StreamTakenSchema,
  TAKEN_AT_ONCE,
} from '../../protocol/streams.ts';
import type { StreamOpened, StreamTarget, TerminalSize } from '../../protocol/streams.ts';
import type { Log } from './log.ts';

/** How a stream was over. */
export interface StreamEnd {
  /** Exit status of its command, if it has one. */
  readonly status: number | null;
  /** With the connection that carried it. */
  readonly wasLost: boolean;
  /** By a snapshot, a restore or the end of its workspace. */
  readonly wasSentAway: boolean;
}

const LOST: StreamEnd = { status: null, wasLost: true, wasSentAway: false };

/** Bytes to and from a terminal or port of a workspace. What is written waits for the far end to have taken the earlier. */
export interface HostStream extends Duplex {
  /** Known once it is open. */
  readonly opened: StreamOpened;
  /** Settled when it is over; never rejected. */
  readonly over: Promise<StreamEnd>;
  resize(size: TerminalSize): void;
  /** Ends a terminal together with its session and what runs in it. A mere `destroy()` leaves those. */
  endSession(): void;
}

/** The streams of one session. */
export class Streams {
  readonly #connection: MessageConnection;
  readonly #log: Log;
  readonly #streams = new Map<number, RemoteStream>();
  #count = 0;

  constructor(connection: MessageConnection, log: Log) {
    this.#connection = connection;
    this.#log = log;
    const on = <T>(type: NotificationType<T>, schema: z.ZodType<T>, handle: (params: T) => void): void => {
      connection.onNotification(type.method, (params: unknown) => {
        const checked = schema.safeParse(params);
        if (checked.success) handle(checked.data);
        else log.warn(`the host sent a malformed ${type.method}`);
      });
    };
    on(streamData, StreamDataSchema, ({ stream, data }) =>
      this.#streams.get(stream)?.receive(Buffer.from(data, 'base64')),
    );
    on(streamTaken, StreamTakenSchema, ({ stream, bytes }) => this.#streams.get(stream)?.window.give(bytes));
    on(streamEnd, StreamEndSchema, ({ stream }) => this.#streams.get(stream)?.receiveEnd());
    on(streamClosed, StreamClosedSchema, ({ stream, ...end }) => {
      this.#streams.get(stream)?.finish({ ...end, wasLost: false });
      this.#streams.delete(stream);
    });
  }

  /** Opens a stream. Rejected with what the connection rejects a request with. */
  async open(target: StreamTarget): Promise<HostStream> {
    const stream = (this.#count += 1);
    const send = <P>(type: NotificationType<P>, params: P): void => {
      this.#connection
        .sendNotification(type.method, params)
        .catch((error: unknown) => this.#log.debug(`stream ${String(stream)}: ${String(error)}`));
    };
    const remote = new RemoteStream(stream, send);
    this.#streams.set(stream, remote);
    try {
      const answer = await this.#connection.sendRequest(openStreamRequest, { stream, target });
      const opened = StreamOpenedSchema.safeParse(answer);
      if (!opened.success)
        throw new ForkpointError('internal', {
          problem: "the host's answer to stream/open is not as agreed",
        });
      remote.opened = opened.data;
      return remote;
    } catch (error) {
      this.#streams.delete(stream);
      remote.finish(LOST);
      remote.destroy();
      throw error;
    }
  }

  /** The connection is gone. */
  lose(): void {
    for (const stream of this.#streams.values()) stream.finish(LOST);
    this.#streams.clear();
  }
}

class RemoteStream extends Duplex implements HostStream {
  readonly window = new SendWindow();
  opened: StreamOpened = { terminal: null };
  readonly over: Promise<StreamEnd>;
  readonly #id: number;
  readonly #send: <P>(type: NotificationType<P>, params: P) => void;
  #settle: (end: StreamEnd) => void = () => undefined;
  #isOver = false;
  /** Received and not yet taken by the reader, in bytes. */
  #untaken = 0;

  constructor(id: number, send: <P>(type: NotificationType<P>, params: P) => void) {
    super({ allowHalfOpen: true });
    this.#id = id;
    this.#send = send;
    this.over = new Promise((resolve) => (this.#settle = resolve));
  }

  resize(size: TerminalSize): void {
    if (!this.#isOver) this.#send(streamResize, { stream: this.#id, size });
  }

  endSession(): void {
    if (!this.#isOver) this.#send(streamClose, { stream: this.#id, endsSession: true });
  }

  receive(bytes: Buffer): void {
    this.#untaken += bytes.length;
    if (this.destroyed || this.push(bytes)) this.#take();
  }

  receiveEnd(): void {
    if (!this.readableEnded && !this.destroyed) this.push(null);
  }

  finish(end: StreamEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // Whatever waits to be written need not wait any longer.
    this.window.give(Number.MAX_SAFE_INTEGER);
    this.receiveEnd();
    this.#settle(end);
    if (end.wasLost) this.destroy();
    else if (!this.writableEnded) this.end();
  }

  override _read(): void {
    this.#take();
  }

  #take(): void {
    if (this.#untaken < TAKEN_AT_ONCE || this.#isOver) return;
    this.#send(streamTaken, { stream: this.#id, bytes: this.#untaken });
    this.#untaken = 0;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#sendAll(chunk).then(() => done(), done);
  }

  async #sendAll(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#isOver;) {
      await this.window.opened();
      const piece = bytes.subarray(at, at + Math.min(STREAM_CHUNK, this.window.free));
      this.window.take(piece.length);
      this.#send(streamData, { stream: this.#id, data: piece.toString('base64') });
      at += piece.length;
    }
  }

  override _final(done: () => void): void {
    if (!this.#isOver) this.#send(streamEnd, { stream: this.#id });
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#isOver) this.#send(streamClose, { stream: this.#id, endsSession: false });
    done(error);
  }
}

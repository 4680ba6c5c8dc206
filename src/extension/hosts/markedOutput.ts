import { PassThrough } from 'node:stream';
import type { Readable } from 'node:stream';
import { markerLine } from '../../protocol/session.ts';

/** So much may a login shell print before the marker. */
export const MAXIMUM_NOISE_BYTES = 1024 * 1024;

/** So much of it is kept for the log. */
const NOISE_KEPT_BYTES = 4096;

export interface MarkedOutput {
  /** All after the marker's line. */
  readonly output: Readable;
  /**
   * Resolves with the noise before the marker (its first 4 KiB); rejected when the stream ends or the noise is over
   * {@link MAXIMUM_NOISE_BYTES} without a marker.
   */
  readonly marked: Promise<string>;
}

/** The output ended, or went on and on, without the marker. */
export class NoMarkerError extends Error {
  /** What came instead: its first 4 KiB. */
  readonly noise: string;

  constructor(message: string, noise: string) {
    super(message);
    this.name = 'NoMarkerError';
    this.noise = noise;
  }
}

/**
 * Parts what a login shell prints (a noisy .bashrc) from what the helper prints (H37). The marker need not stand at
 * the beginning of a line, since the noise need not end with one.
 */
export function splitAtMarker(source: Readable, marker: string): MarkedOutput {
  const output = new PassThrough();
  const wanted = Buffer.from(markerLine(marker));
  let head: Buffer = Buffer.alloc(0);
  let skipped = 0;
  let kept: Buffer = Buffer.alloc(0);
  const marked = new Promise<string>((resolve, reject) => {
    const keep = (noise: Buffer): void => {
      skipped += noise.length;
      kept = Buffer.concat([kept, noise.subarray(0, NOISE_KEPT_BYTES - kept.length)]);
    };
    const give = (message: string, noise: Buffer): void => {
      source.off('data', read);
      output.end();
      reject(new NoMarkerError(message, noise.toString('utf8')));
    };
    const read = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk]);
      const at = head.indexOf(wanted);
      // The line is complete with its newline; a pseudo-terminal would put a carriage return before it.
      const end = at < 0 ? -1 : head.indexOf('\n', at);
      if (at >= 0 && end >= 0) {
        keep(head.subarray(0, at));
        source.off('data', read);
        output.write(head.subarray(end + 1));
        head = Buffer.alloc(0);
        source.pipe(output);
        resolve(kept.toString('utf8'));
        return;
      }
      // All that can't be the beginning of the marker is noise for certain.
      const certain = at >= 0 ? at : Math.max(0, head.length - wanted.length + 1);
      keep(head.subarray(0, certain));
      head = head.subarray(certain);
      // What comes after the marker without a newline counts, too.
      if (skipped + head.length > MAXIMUM_NOISE_BYTES) give('the login shell prints without an end', kept);
    };
    source.on('data', read);
    source.once('end', () => give('it ended before it began', Buffer.concat([kept, head])));
    source.once('close', () => give('it was closed before it began', Buffer.concat([kept, head])));
  });
  return { output, marked };
}

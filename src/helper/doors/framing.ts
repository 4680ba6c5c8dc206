/** Longest header of a message, in bytes; one takes some thirty. */
const MAXIMUM_HEADER_BYTES = 4096;
/** Longest message, in bytes; a workspace's command and environment are the longest, and the kernel limits those. */
const MAXIMUM_MESSAGE_BYTES = 32 * 1024 * 1024;

/**
 * Watches the framing of messages (Language Server Protocol, "Base Protocol"). The reader of the library takes whatever
 * length it is told, and searches a header that does not end from its beginning again with each piece.
 */
export class Framing {
  /** What has come of the header that is being read. */
  #header: Buffer = Buffer.alloc(0);
  /** Of the message after it, in bytes. */
  #left = 0;
  #messages = 0;

  /** How many messages have come as a whole. */
  get messages(): number {
    return this.#messages;
  }

  /** Takes what came next; false when no message of ours begins so. */
  accepts(chunk: Buffer): boolean {
    for (let rest = chunk; rest.length > 0;) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, rest.length);
        this.#left -= taken;
        rest = rest.subarray(taken);
        if (this.#left === 0) this.#messages += 1;
        continue;
      }
      const before = this.#header.length;
      this.#header = Buffer.concat([this.#header, rest.subarray(0, MAXIMUM_HEADER_BYTES - before)]);
      const end = this.#header.indexOf('\r\n\r\n');
      if (end < 0) return this.#header.length < MAXIMUM_HEADER_BYTES;
      const length = lengthIn(this.#header.toString('latin1', 0, end));
      if (length === null || length > MAXIMUM_MESSAGE_BYTES) return false;
      rest = rest.subarray(end + 4 - before);
      this.#left = length;
      if (length === 0) this.#messages += 1;
      this.#header = Buffer.alloc(0);
    }
    return true;
  }
}

/** The length that a header tells; null where it tells none, or more than one, or what it is can be read in two ways. */
function lengthIn(header: string): number | null {
  if (!/^(?:[\x20-\x7e]+(?:\r\n|$))+$/.test(header)) return null;
  const lengths = [...header.matchAll(/^content-length:(.*)$/gim)].map(([, text]) => text?.trim() ?? '');
  const [length] = lengths;
  return lengths.length === 1 && length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : null;
}

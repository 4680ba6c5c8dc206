import assert from 'node:assert/strict';
import { ForkpointError } from '../../../src/protocol/errors.ts';
import { chooseSeed, randomNumbers } from '../../host/random.ts';

/** How many inputs each parser and door is given: a hundred thousand with FORKPOINT_LONG=1. */
export const rounds = process.env['FORKPOINT_LONG'] === '1' ? 100_000 : 300;

/** How long so many inputs may take, in milliseconds, on a machine that is busy with other things. */
export const timeoutMs = 60_000 + rounds * 20;

/** What has been the end of parsers: path steps, quotes, brackets, control characters, halves of characters, numbers. */
const PIECES = [
  ...[
    '',
    ' ',
    '.',
    '..',
    '/',
    '../',
    '/..',
    '//',
    '~',
    '-',
    '--',
    '-c',
    '--json',
    '=',
    ':',
    ',',
    '*',
    '!',
    '|',
  ],
  ...[
    '\0',
    '\n',
    '\r\n',
    '\t',
    '\u001b[2J',
    '\u007f',
    '\u202e',
    '\ud800',
    '\ufeff',
    'é',
    '𝟘',
    '%2e%2e%2f',
    '%00',
  ],
  ...['"', "'", '`', '$(id)', '${x}', ';', '&&', '\\', '{', '}', '[', ']', '<', '>', '#', '@', '?', '&'],
  ...['0', '-1', '1e999', 'NaN', '9007199254740993', '0x10', 'null', 'true', '__proto__', 'constructor'],
  ...['web', 'ws-000000000001', 'snap-20260304-143045', 'a'.repeat(64), 'a'.repeat(5000)],
];

/**
 * How long the processor may be at work for one test's inputs, in milliseconds: a parser that goes over its input again and
 * again is far above.
 */
const SWIFT_MS = 5_000 + rounds * 10;

/**
 * Gives `parse` many inputs; nothing but a failure of ours may come of one.
 * @param count how many, where each takes long
 */
export async function each<T>(make: () => T, parse: (input: T) => unknown, count = rounds): Promise<void> {
  const before = process.cpuUsage();
  for (let round = 0; round < count; round++) {
    const input = make();
    try {
      await parse(input);
    } catch (error) {
      if (!(error instanceof ForkpointError))
        assert.fail(
          `${JSON.stringify(input)}: ${error instanceof Error ? (error.stack ?? '') : String(error)}`,
        );
    }
  }
  const { user, system } = process.cpuUsage(before);
  const ms = (user + system) / 1000;
  assert.ok(ms < SWIFT_MS, `${String(count)} inputs took ${String(ms)} ms`);
}

/** Makes inputs that nobody means, the same ones for the same seed. */
export class Inputs {
  private readonly random: () => number;

  constructor(seed = chooseSeed()) {
    this.random = randomNumbers(seed);
  }

  /** A whole number from 0 to `limit`, that not included. */
  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  /** One of them. */
  one<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new Error('there is nothing to choose from');
    return choice;
  }

  /** Words of the caller's among what breaks parsers. */
  text(words: readonly string[] = []): string {
    return Array.from({ length: this.below(8) }, () =>
      words.length > 0 && this.below(2) === 0 ? this.one(words) : this.one(PIECES),
    ).join('');
  }

  bytes(limit = 64): Buffer {
    return Buffer.from(Array.from({ length: this.below(limit) }, () => this.below(256)));
  }

  /** A few bytes of it changed, taken out, doubled or cut off. */
  spoiled(whole: Uint8Array): Buffer {
    let bytes = Buffer.from(whole);
    for (let change = this.below(4); change >= 0; change--) {
      const [at, until] = [this.below(bytes.length + 1), this.below(bytes.length + 1)];
      const kept = [bytes.subarray(0, at), bytes.subarray(Math.max(at, until))];
      bytes = Buffer.concat(
        this.one([
          [bytes.subarray(0, at), this.bytes(8), bytes.subarray(at + 1)],
          [bytes.subarray(0, at), Buffer.from(this.one(PIECES)), bytes.subarray(at)],
          [kept[0] ?? bytes, kept[1] ?? bytes],
          [bytes.subarray(0, Math.max(at, until)), bytes.subarray(at)],
          [bytes.subarray(0, at)],
        ]),
      );
    }
    return bytes;
  }

  /** The same JSON with one of its values, however deep, replaced by another. */
  spoiledValue(whole: unknown, words: readonly string[] = []): unknown {
    if (typeof whole !== 'object' || whole === null || this.below(8) === 0)
      return this.below(2) === 0 ? this.text(words) : this.value(words);
    if (Array.isArray(whole)) {
      const items: readonly unknown[] = whole;
      const at = this.below(items.length + 1);
      return [...items.slice(0, at), this.spoiledValue(items[at], words), ...items.slice(at + 1)];
    }
    const fields: readonly (readonly [string, unknown])[] = Object.entries(whole);
    const [name, value] = this.one([...fields, ['added', null] as const]);
    return { ...whole, [name]: this.spoiledValue(value, words) };
  }

  /** Any JSON, a few levels deep, with the caller's names among its own. */
  value(names: readonly string[] = [], depth = 3): unknown {
    const kind = this.below(depth === 0 ? 5 : 7);
    if (kind === 0) return this.one([null, true, false]);
    if (kind === 1) return this.one([0, -1, 1.5, 1e308, Number.MAX_SAFE_INTEGER]);
    if (kind < 5) return this.text(names);
    const size = this.below(4);
    if (kind === 5) return Array.from({ length: size }, () => this.value(names, depth - 1));
    return Object.fromEntries(
      Array.from({ length: size }, () => [
        names.length > 0 ? this.one(names) : this.text(),
        this.value(names, depth - 1),
      ]),
    );
  }
}

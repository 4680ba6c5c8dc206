import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import * as z from 'zod';
import { ErrorDataSchema } from '../../protocol/errors.ts';
import { isOperationName } from '../../protocol/operations.ts';
import type { Log } from '../host/log.ts';

/** How an operation ended. */
export const OutcomeSchema = z.union([
  z.object({ ok: z.literal(true), result: z.unknown() }),
  z.object({ ok: z.literal(false), failure: ErrorDataSchema }),
]);
export type Outcome = z.infer<typeof OutcomeSchema>;

/** A request with an idempotency key, and what became of it. */
export const KeptAnswerSchema = z.object({
  key: z.string(),
  operation: z.string().refine(isOperationName),
  /** Digest of the operation and its parameters: tells a repetition from another request with the same key. */
  request: z.string(),
  /** Milliseconds since the epoch. */
  startedAt: z.number(),
  /** Null while it is under way, and for ever when the daemon ended in the middle. */
  endedAt: z.number().nullable(),
  outcome: OutcomeSchema.nullable(),
});
export type KeptAnswer = z.infer<typeof KeptAnswerSchema>;

/**
 * Keeps the answers to requests with an idempotency key beyond the daemon's own end, one file each: a request that
 * is repeated to its successor must not run again. In a directory in memory that root alone can read; with the
 * host's end the clients that would repeat are cut off for longer than answers are kept.
 */
export class KeptAnswers {
  readonly #directory: string;
  readonly #log: Log;

  constructor(directory: string, log: Log) {
    this.#directory = directory;
    this.#log = log;
  }

  /** What earlier daemons left. */
  load(): KeptAnswer[] {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    return readdirSync(this.#directory).flatMap((name) => {
      const file = path.join(this.#directory, name);
      try {
        return KeptAnswerSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
      } catch (error) {
        // Cut off while it was written, or by a helper that wrote it otherwise.
        this.#log.warn(`a kept answer can't be read and is dropped: ${String(error)}`);
        rmSync(file, { force: true });
        return [];
      }
    });
  }

  /** Writes one, before its operation begins and after its end. A daemon that can't keep answers still gives them. */
  save(answer: KeptAnswer): void {
    const file = this.#file(answer.key);
    try {
      writeFileSync(`${file}.tmp`, JSON.stringify(answer), { mode: 0o600 });
      renameSync(`${file}.tmp`, file);
    } catch (error) {
      this.#log.warn(`an answer can't be kept: ${String(error)}`);
    }
  }

  forget(key: string): void {
    rmSync(this.#file(key), { force: true });
  }

  #file(key: string): string {
    return path.join(this.#directory, `${createHash('sha256').update(key).digest('hex')}.json`);
  }
}

import { createHash, randomBytes } from 'node:crypto';
import * as z from 'zod';
import { ErrorDataSchema, ForkpointError } from '../../../protocol/errors.ts';
import { toJsonNames } from '../../../protocol/httpNames.ts';
import { operations } from '../../../protocol/operations.ts';
import { MomentSchema } from '../../../protocol/snapshot.ts';
import type { Dispatcher, KeyedOperation } from '../dispatcher.ts';
import { problemOf } from './problem.ts';

/** The body of every failed answer; RFC 9457. */
export const ProblemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  /** What happened, and what that means for the data. */
  detail: z.string(),
  code: ErrorDataSchema.shape.code,
  args: z.record(z.string(), z.union([z.string(), z.number()])),
  /** What to do next. */
  hint: z.string().optional(),
  /** What the failing command said last. */
  cause: z.string().optional(),
});

/** An operation that was asked for over HTTP, under way or ended. */
export const JobSchema = z.object({
  id: z.string(),
  operation: z.string(),
  state: z.enum(['running', 'done', 'failed']),
  startedAt: MomentSchema,
  /** The step that began last; null before the first. */
  step: z.string().nullable(),
  /** From here on cancelling does nothing. */
  isPastPointOfNoReturn: z.boolean(),
  /** What the operation answered; null until it is done. */
  result: z.unknown(),
  /** Why it failed; null unless it has. */
  problem: ProblemSchema.nullable(),
});

/**
 * Id of a job, which is the dispatcher's key too. It begins with the token that alone may see it, and comes from the
 * client's key where there is one, so that a repeated request finds the job of the first, also after a restart.
 */
export function jobId(tokenId: string, idempotencyKey: string | null): string {
  const rest =
    idempotencyKey === null
      ? randomBytes(12).toString('hex')
      : createHash('sha256').update(`${tokenId}\n${idempotencyKey}`).digest('hex').slice(0, 24);
  return `job-${tokenId}-${rest}`;
}

/**
 * The job that a token asked for.
 * @throws `api.jobNotFound`, for another token's too
 */
export function findJob(dispatcher: Dispatcher, id: string, tokenId: string): KeyedOperation {
  const job = id.startsWith(`job-${tokenId}-`) ? dispatcher.find(id) : undefined;
  if (job === undefined) throw new ForkpointError('api.jobNotFound', { job: id.slice(0, 80) });
  return job;
}

/** A job as JSON. */
export function jobJson(id: string, { operation, startedAt, latest, outcome }: KeyedOperation): unknown {
  return toJsonNames(JobSchema, {
    id,
    operation,
    state: outcome === null ? 'running' : outcome.ok ? 'done' : 'failed',
    startedAt: new Date(startedAt).toISOString(),
    step: latest === null || latest.step === '' ? null : latest.step,
    isPastPointOfNoReturn: latest?.isPastPointOfNoReturn ?? false,
    result: outcome?.ok === true ? toJsonNames(operations[operation].result, outcome.result) : null,
    problem: outcome?.ok === false ? problemOf(ForkpointError.from(outcome.failure)) : null,
  });
}

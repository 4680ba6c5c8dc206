import { STATUS_CODES } from 'node:http';
import type { ForkpointError } from '../../../protocol/errors.ts';
import { httpStatus } from '../../../protocol/httpStatus.ts';

/** A failure of a request, with a status that its code alone doesn't tell. */
export class RequestFailure extends Error {
  readonly failure: ForkpointError;
  readonly status: number;
  /** Further header fields of the answer. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    failure: ForkpointError,
    status = httpStatus[failure.code],
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(failure.message);
    this.failure = failure;
    this.status = status;
    this.headers = headers;
  }
}

/** A failure as the body of an answer (RFC 9457), with our code, named arguments and hint. */
export function problemOf(
  failure: ForkpointError,
  status = httpStatus[failure.code],
): Readonly<Record<string, unknown>> {
  return {
    type: `urn:forkpoint:${failure.code}`,
    title: STATUS_CODES[status] ?? 'Failure',
    status,
    detail: failure.message,
    code: failure.code,
    args: failure.args,
    ...(failure.hint === '' ? {} : { hint: failure.hint }),
    ...(failure.detail === null ? {} : { cause: failure.detail }),
  };
}

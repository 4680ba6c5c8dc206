import type { IncomingMessage } from 'node:http';
import { ForkpointError } from '../../../protocol/errors.ts';
import { RequestFailure } from './problem.ts';

/** Longest body of a request, in bytes. */
const MAXIMUM_BODY_BYTES = 64 * 1024;
/** How much of a longer one is taken off the wire, in bytes: a client that is cut off while it sends misses the answer. */
const MAXIMUM_DISCARDED_BYTES = 1024 * 1024;

/**
 * Types that a body may have. The second is what curl(1) calls all that `--data` sends: whoever asks bears a token, which
 * no web page can send without asking first (Fetch § 2.2.2), so that its form is told by its content alone.
 */
const TYPES = /^application\/(json|x-www-form-urlencoded)\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

/**
 * Reads the JSON object in a request's body; an empty body is an empty one.
 * @throws {RequestFailure} 400, 413, 415
 */
export async function readBody(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const tooLarge = (): RequestFailure =>
    failure(413, `its body has over ${String(MAXIMUM_BODY_BYTES)} bytes`, { connection: 'close' });
  if (Number(request.headers['content-length'] ?? 0) > MAXIMUM_DISCARDED_BYTES) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= MAXIMUM_BODY_BYTES) chunks.push(chunk);
    else if (bytes > MAXIMUM_DISCARDED_BYTES) throw tooLarge();
  }
  if (bytes > MAXIMUM_BODY_BYTES) throw tooLarge();
  if (bytes === 0) return {};
  if (!TYPES.test(request.headers['content-type'] ?? ''))
    throw failure(415, 'its body is not "application/json"');
  if (request.headers['content-encoding'] !== undefined) throw failure(415, 'its body is encoded');
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)));
  } catch {
    throw failure(400, 'its body is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw failure(400, 'its body is not a JSON object');
  return body as Readonly<Record<string, unknown>>;
}

function failure(
  status: number,
  problem: string,
  headers: Readonly<Record<string, string>> = {},
): RequestFailure {
  return new RequestFailure(new ForkpointError('request.invalid', { problem }), status, headers);
}

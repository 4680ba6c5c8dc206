import { isIP, isIPv6 } from 'node:net';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';

/** Where the HTTP API listens. */
export type ListenPlace =
  | { readonly kind: 'tcp'; readonly address: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** Longest path of a unix socket, in bytes; unix(7): sun_path has 108, the last one is zero. */
const LONGEST_SOCKET_PATH = 107;

/**
 * Reads `ADDRESS:PORT`, `[V6-ADDRESS]:PORT` or `unix:PATH`. Without TLS only this host itself may reach it: a token
 * must not cross a network in the clear.
 * @throws `api.notListening`
 */
export function readListen(listen: string, hasTls: boolean): ListenPlace {
  const refuse = (problem: string): ForkpointError =>
    new ForkpointError('api.notListening', { listen, problem });
  if (listen.startsWith('unix:')) {
    const place = listen.slice('unix:'.length);
    if (!path.isAbsolute(place) || path.normalize(place) !== place || place.endsWith('/'))
      throw refuse('the path of a unix socket is absolute and without ".."');
    if (Buffer.byteLength(place) > LONGEST_SOCKET_PATH)
      throw refuse(`the path of a unix socket has at most ${String(LONGEST_SOCKET_PATH)} bytes`);
    return { kind: 'unix', path: place };
  }
  const [, v6, other, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(listen) ?? [];
  const address = other === 'localhost' ? '127.0.0.1' : (v6 ?? other ?? '');
  const port = Number(digits);
  if (isIP(address) === 0 || (v6 !== undefined && !isIPv6(v6)))
    throw refuse('it is neither ADDRESS:PORT nor unix:PATH');
  if (port < 1 || port > 65_535) throw refuse('a port is a number from 1 to 65535');
  if (!hasTls && !isLoopback(address)) throw refuse('without TLS only this host itself may reach it');
  return { kind: 'tcp', address, port };
}

/** Whether only this host itself reaches `address` (RFC 1122 § 3.2.1.3, RFC 4291 § 2.5.3). */
export function isLoopback(address: string): boolean {
  return address === '::1' || (isIP(address) === 4 && address.startsWith('127.'));
}

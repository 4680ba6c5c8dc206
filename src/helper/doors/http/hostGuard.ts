import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { isLoopback } from '../../service/apiListen.ts';
import type { ApiOpening } from '../../service/api.ts';

/**
 * Tells which Host headers are meant for this API. A web page that lets its own name point to a loopback address
 * ("DNS rebinding") reaches the port, but under that name.
 */
export function hostGuard({ place, tls }: ApiOpening): (host: string | undefined) => boolean {
  // No web page reaches a unix socket, and its clients make the name up.
  if (place.kind === 'unix') return () => true;
  const certificate = tls === null ? null : new X509Certificate(tls.certificate);
  return (host) => {
    const name = nameIn(host);
    if (name === null) return false;
    if (name === 'localhost' || name === place.address || isLoopback(name)) return true;
    if (certificate === null) return false;
    return (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined;
  };
}

/** The name or address of a Host header (RFC 9110 § 7.2), whose port may be that of a tunnel; null when it is none. */
function nameIn(host: string | undefined): string | null {
  const [, v6, name] = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))(?::\d{1,5})?$/.exec(host ?? '') ?? [];
  return v6 ?? name?.toLowerCase() ?? null;
}

/** A host as the user spells it, taken apart. */
export interface Destination {
  /** Alias of the SSH configuration, host name or address, without brackets. */
  readonly host: string;
  readonly user: string | null;
  readonly port: number | null;
}

/**
 * Reads `alias`, `host`, `user@host`, `user@host:port`, `[v6]:port` and the same behind `ssh://`. Null when it is
 * none of these: above all when it could be taken for an option, or hold a character that a shell sees.
 */
export function parseDestination(spelling: string): Destination | null {
  const match =
    /^(?:ssh:\/\/)?(?:([^@\s]+)@)?(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:@[\]/]+))(?::(\d{1,5}))?\/?$/.exec(
      spelling.trim(),
    );
  const host = match?.[2] ?? match?.[3] ?? bareV6(spelling);
  if (host === undefined || !isPlainWord(host)) return null;
  const user = match?.[1] ?? null;
  if (user !== null && !isPlainWord(user)) return null;
  const port = match?.[4] === undefined ? null : Number(match[4]);
  if (port !== null && (port < 1 || port > 65535)) return null;
  return { host, user, port };
}

function bareV6(spelling: string): string | undefined {
  return /^[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$/.exec(spelling.trim())?.[0];
}

/** OpenSSH refuses such host and user names too, since they reach ProxyCommand and `Match exec` (CVE-2023-51385). */
function isPlainWord(word: string): boolean {
  return !/^-|[\s'"`$\\;&<>|(){}]|\p{Cc}/u.test(word);
}

/** Where the folder of a window is, as far as the name of its remote tells. */
export type FolderPlace =
  /** On this machine. */
  | { readonly kind: 'local' }
  /** On a machine that is reached by SSH. */
  | {
      readonly kind: 'ssh';
      readonly host: string;
      readonly user: string | null;
      readonly port: number | null;
    }
  /** In a container. */
  | {
      readonly kind: 'container';
      /** What it may be called: names without a leading slash, and ids. Empty where only its folder is told. */
      readonly names: readonly string[];
      /** A folder of the container's host that it was opened from; null where it isn't told. */
      readonly hostPath: string | null;
      /** Where the container runs; null: on this machine, or wherever the container engine points to. */
      readonly on: {
        readonly host: string;
        readonly user: string | null;
        readonly port: number | null;
      } | null;
    }
  /** Somewhere that says nothing about hosts or containers: WSL, a tunnel, a web server. */
  | { readonly kind: 'elsewhere'; readonly remote: string };

type SshTarget = { readonly host: string; readonly user: string | null; readonly port: number | null };

const containerRemotes = new Set(['attached-container', 'dev-container']);

/**
 * Reads the authority of a `vscode-remote:` address: `ssh-remote+HOST` and `ssh-remote+HEX` as Remote - SSH and Open
 * Remote - SSH write them, `attached-container+HEX` and `dev-container+HEX` as Dev Containers does, either of them
 * followed by `@ssh-remote+HOST` when the container's machine is a remote itself.
 */
export function parseAuthority(authority: string): FolderPlace {
  const text = decodePercent(authority);
  if (text === '') return { kind: 'local' };
  const [remote, value] = splitOnce(text, '+');
  if (value === null) return { kind: 'elsewhere', remote };
  if (remote === 'ssh-remote') {
    const target = parseSshTarget(value);
    return target === null ? { kind: 'elsewhere', remote } : { kind: 'ssh', ...target };
  }
  if (containerRemotes.has(remote)) {
    const [container, outer] = splitOnce(value, '@');
    const place = outer === null ? null : parseAuthority(outer);
    return { kind: 'container', ...parseContainer(container, place?.kind === 'ssh' ? target(place) : null) };
  }
  return { kind: 'elsewhere', remote };
}

/** Reads a host as it stands in our settings: an alias, `user@host`, `host:port`, `[address]:port`, or an `ssh://` address. */
export function parseHostEntry(entry: string): SshTarget {
  return parsePlainTarget(
    entry
      .trim()
      .replace(/^ssh:\/\//, '')
      .replace(/\/$/, ''),
  );
}

/** Whether two ways of writing a host mean the same one. What one of them leaves open doesn't tell them apart. */
export function isSameHost(a: SshTarget, b: SshTarget): boolean {
  if (a.host.toLowerCase() !== b.host.toLowerCase()) return false;
  if (a.user !== null && b.user !== null && a.user !== b.user) return false;
  return a.port === null || b.port === null || a.port === b.port;
}

function parseSshTarget(value: string): SshTarget | null {
  const decoded = decodeHexJson(value);
  if (decoded !== null) {
    const host = stringField(decoded, 'hostName') ?? stringField(decoded, 'host');
    if (host === null) return null;
    const port = decoded.port;
    const plain = parsePlainTarget(host);
    return {
      host: plain.host,
      user: stringField(decoded, 'user') ?? plain.user,
      port: typeof port === 'number' ? port : plain.port,
    };
  }
  const plain = parsePlainTarget(value);
  return plain.host === '' ? null : plain;
}

function parsePlainTarget(value: string): SshTarget {
  const at = value.lastIndexOf('@');
  const user = at > 0 ? value.slice(0, at) : null;
  const rest = value.slice(at + 1);
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(rest);
  if (bracketed?.[1] !== undefined) return { host: bracketed[1], user, port: toPort(bracketed[2]) };
  // More than one colon without brackets is an IPv6 address.
  const withPort = /^([^:]+):(\d+)$/.exec(rest);
  if (withPort?.[1] !== undefined) return { host: withPort[1], user, port: toPort(withPort[2]) };
  return { host: rest, user, port: null };
}

function parseContainer(
  value: string,
  outer: SshTarget | null,
): { names: string[]; hostPath: string | null; on: SshTarget | null } {
  const json = decodeHexJson(value);
  if (json === null) {
    const plain = decodeHex(value) ?? value;
    return plain.startsWith('/') && plain.indexOf('/', 1) > 0
      ? { names: [], hostPath: plain, on: outer }
      : { names: plain === '' ? [] : [withoutSlash(plain)], hostPath: null, on: outer };
  }
  const names = ['containerName', 'containerId', 'name', 'id']
    .map((field) => stringField(json, field))
    .filter((name) => name !== null)
    .map(withoutSlash);
  const settings = typeof json.settings === 'object' && json.settings !== null ? json.settings : {};
  const engineHost = 'host' in settings && typeof settings.host === 'string' ? settings.host : null;
  return {
    names,
    hostPath: stringField(json, 'hostPath'),
    on: outer ?? (engineHost?.startsWith('ssh://') === true ? parseHostEntry(engineHost) : null),
  };
}

function target({ host, user, port }: SshTarget): SshTarget {
  return { host, user, port };
}

function withoutSlash(name: string): string {
  return name.replace(/^\//, '');
}

function toPort(digits: string | undefined): number | null {
  return digits === undefined ? null : Number(digits);
}

function splitOnce(text: string, separator: string): [string, string | null] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + separator.length)];
}

function stringField(record: Record<string, unknown>, field: string): string | null {
  const value = record[field];
  return typeof value === 'string' && value !== '' ? value : null;
}

function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A lone "%" is no encoding.
    return text;
  }
}

/** Text in hexadecimal as UTF-8, or null when it isn't that. Short words like "cafe" are host names all the same. */
function decodeHex(value: string): string | null {
  if (value.length < 2 || value.length % 2 !== 0 || !/^[0-9a-f]+$/i.test(value)) return null;
  const text = Buffer.from(value, 'hex').toString('utf8');
  // oxlint-disable-next-line no-control-regex -- the name of a container or path has no such characters
  return /[\u0000-\u001f\u007f\ufffd]/.test(text) ? null : text;
}

function decodeHexJson(value: string): Record<string, unknown> | null {
  const text = decodeHex(value);
  if (text?.startsWith('{') !== true) return null;
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : null;
  } catch {
    return null;
  }
}

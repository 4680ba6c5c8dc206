import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { appendFile, mkdir, readFile, stat } from 'node:fs/promises';
import * as path from 'node:path';
import { wildcard } from './configFiles.ts';

/** One line of a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). */
export interface KnownHost {
  readonly marker: 'none' | 'revoked' | 'cert-authority';
  /** Comma-separated patterns, or one hashed name `|1|salt|hash`. */
  readonly names: string;
  /** `ssh-ed25519`, `ssh-rsa`, …: of the key, which is not always the signature's algorithm. */
  readonly keyType: string;
  /** The key as it travels. */
  readonly key: Buffer;
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

/** What is on record about the key that a host showed. */
export type HostKeyVerdict =
  | { readonly kind: 'known' }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'changed'; readonly recorded: KnownHost }
  | { readonly kind: 'revoked'; readonly recorded: KnownHost };

/** Reads the lines of a known_hosts file; what can't be understood is passed over, as OpenSSH does. */
export function parseKnownHosts(text: string, file: string): KnownHost[] {
  const entries: KnownHost[] = [];
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const words = line.split(/[ \t]+/);
    const marked = words[0]?.startsWith('@') === true ? words.shift() : undefined;
    const [names, keyType, base64] = words;
    if (names === undefined || keyType === undefined || base64 === undefined) continue;
    if (marked !== undefined && marked !== '@revoked' && marked !== '@cert-authority') continue;
    const key = Buffer.from(base64, 'base64');
    if (readKeyType(key) !== keyType) continue;
    entries.push({
      marker: marked === '@revoked' ? 'revoked' : marked === '@cert-authority' ? 'cert-authority' : 'none',
      names,
      keyType,
      key,
      file,
      line: index + 1,
    });
  }
  return entries;
}

/** Reads all given files, in order; one that is not there is empty. */
export async function readKnownHosts(files: readonly string[]): Promise<KnownHost[]> {
  const texts = await Promise.all(
    files.map((file) =>
      readFile(file, 'utf8').catch((error: unknown) => {
        if (
          error instanceof Error &&
          'code' in error &&
          (error.code === 'ENOENT' || error.code === 'ENOTDIR')
        )
          return '';
        throw error;
      }),
    ),
  );
  return texts.flatMap((text, index) => parseKnownHosts(text, files[index] ?? ''));
}

/** The name that a host's key is recorded under: an alias as it is; other ports than 22 in the form `[host]:port`. */
export function recordedName(host: {
  readonly hostName: string;
  readonly port: number;
  readonly hostKeyAlias: string | null;
}): string {
  if (host.hostKeyAlias !== null) return host.hostKeyAlias.toLowerCase();
  const name = host.hostName.toLowerCase();
  return host.port === 22 ? name : `[${name}]:${String(host.port)}`;
}

/** Whether the names of an entry cover `name`. A pattern behind `!` that fits rules the entry out. */
export function namesMatch(names: string, name: string): boolean {
  if (names.startsWith('|')) return hashedMatches(names, name);
  let isMatched = false;
  for (const pattern of names.split(',')) {
    const isNegated = pattern.startsWith('!');
    if (!wildcard(isNegated ? pattern.slice(1) : pattern).test(name)) continue;
    if (isNegated) return false;
    isMatched = true;
  }
  return isMatched;
}

function hashedMatches(names: string, name: string): boolean {
  const [, version, salt, hash] = names.split('|');
  if (version !== '1' || salt === undefined || hash === undefined) return false;
  const expected = Buffer.from(hash, 'base64');
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

/** The types of the keys on record for a host, each once. */
export function knownKeyTypes(entries: readonly KnownHost[], name: string): string[] {
  const types = entries
    .filter((entry) => entry.marker === 'none' && namesMatch(entry.names, name))
    .map((entry) => entry.keyType);
  return [...new Set(types)];
}

/** Whether certificates of some authority are accepted for the host. */
export function hasCertificateAuthority(entries: readonly KnownHost[], name: string): boolean {
  return entries.some((entry) => entry.marker === 'cert-authority' && namesMatch(entry.names, name));
}

/**
 * Judges the key that a host showed. A host that is known by keys of other types alone counts as changed: the
 * client asked for the known types first, so a host that still had one would have shown it.
 * @param plainName the host's name without its port: a key on record for that is good for every port of it, as for OpenSSH
 */
export function judgeHostKey(
  entries: readonly KnownHost[],
  name: string,
  plainName: string | null,
  key: Buffer,
): HostKeyVerdict {
  const names = plainName === null ? [name] : [name, plainName];
  const covering = entries.filter((entry) => names.some((one) => namesMatch(entry.names, one)));
  const revoked = covering.find((entry) => entry.marker === 'revoked' && entry.key.equals(key));
  if (revoked) return { kind: 'revoked', recorded: revoked };
  const recorded = covering.filter((entry) => entry.marker === 'none');
  if (recorded.some((entry) => entry.key.equals(key))) return { kind: 'known' };
  // A different key under the plain name belongs to another server on the same machine: that is no change.
  const own = recorded.filter((entry) => namesMatch(entry.names, name));
  const keyType = readKeyType(key);
  const changed = own.find((entry) => entry.keyType === keyType) ?? own[0];
  return changed ? { kind: 'changed', recorded: changed } : { kind: 'unknown' };
}

/** `SHA256:…` as `ssh-keygen -l` shows it. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

/** Type of a key as it travels, such as `ssh-ed25519`; null when it is none. */
export function readKeyType(key: Buffer): string | null {
  if (key.length < 4) return null;
  const length = key.readUInt32BE(0);
  return length > 0 && length <= 64 && key.length >= 4 + length
    ? key.toString('latin1', 4, 4 + length)
    : null;
}

/** The short name that OpenSSH shows people for a key type. */
export function keyTypeLabel(keyType: string): string {
  if (keyType.includes('ed25519')) return 'ED25519';
  if (keyType.includes('ecdsa')) return 'ECDSA';
  return keyType.includes('rsa') ? 'RSA' : keyType;
}

/** Adds a key to a known_hosts file, which is made (0600, its directory 0700) when it is not there. */
export async function recordHostKey(
  file: string,
  name: string,
  key: Buffer,
  options: { readonly isHashed: boolean },
): Promise<void> {
  const keyType = readKeyType(key);
  if (keyType === null) throw new Error('the host key has no type');
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const line = `${options.isHashed ? hashName(name) : name} ${keyType} ${key.toString('base64')}\n`;
  await appendFile(file, (await endsWithoutNewline(file)) ? `\n${line}` : line, { mode: 0o600 });
}

function hashName(name: string): string {
  const salt = randomBytes(20);
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`;
}

async function endsWithoutNewline(file: string): Promise<boolean> {
  const size = await stat(file).then(
    (found) => (found.isFile() ? found.size : 0),
    () => 0,
  );
  return size > 0 && !(await readFile(file, 'utf8')).endsWith('\n');
}

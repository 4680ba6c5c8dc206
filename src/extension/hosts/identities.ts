import { readFile } from 'node:fs/promises';
import { readKeyType } from './knownHosts.ts';

/** What an IdentityFile holds, as far as it can be told without its passphrase. */
export type Identity =
  | {
      readonly kind: 'key';
      readonly file: string;
      /** The public part as it travels; null when only the passphrase would tell. */
      readonly publicKey: Buffer | null;
      /** Type of the key; null when only the passphrase would tell. */
      readonly keyType: string | null;
      readonly isEncrypted: boolean;
      readonly text: string;
    }
  /** A private key in a form that ssh2 doesn't read (PKCS #8). */
  | { readonly kind: 'foreign'; readonly file: string }
  /** Only the public key is there: the private one is in the agent. */
  | {
      readonly kind: 'public';
      readonly file: string;
      readonly publicKey: Buffer;
      readonly keyType: string | null;
    };

const OPENSSH_MAGIC = Buffer.from('openssh-key-v1\0');

/** Reads an IdentityFile; null when it is not there or is no key. */
export async function readIdentity(file: string): Promise<Identity | null> {
  const text = await readText(file);
  const publicKey = await readPublicKeyFile(`${file}.pub`);
  if (text === null) return publicKey === null ? null : describePublic(file, publicKey);
  const ownPublicKey = parsePublicKey(text);
  if (ownPublicKey !== null) return describePublic(file, ownPublicKey);
  const label = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(text)?.[1];
  switch (label) {
    case 'OPENSSH PRIVATE KEY': {
      const outside = readOpenSshOutside(text);
      if (outside === null) return null;
      return describeKey(file, text, outside.publicKey, outside.isEncrypted);
    }
    case 'RSA PRIVATE KEY':
    case 'EC PRIVATE KEY':
    case 'DSA PRIVATE KEY':
      return describeKey(file, text, publicKey, /^Proc-Type:.*ENCRYPTED/m.test(text));
    case 'PRIVATE KEY':
    case 'ENCRYPTED PRIVATE KEY':
      return { kind: 'foreign', file };
    default:
      return null;
  }
}

function describeKey(file: string, text: string, publicKey: Buffer | null, isEncrypted: boolean): Identity {
  return { kind: 'key', file, text, publicKey, keyType: publicKey && readKeyType(publicKey), isEncrypted };
}

function describePublic(file: string, publicKey: Buffer): Identity {
  return { kind: 'public', file, publicKey, keyType: readKeyType(publicKey) };
}

/** What OpenSSH's own format tells without the passphrase (PROTOCOL.key): the cipher's name and the public key. */
function readOpenSshOutside(text: string): { publicKey: Buffer; isEncrypted: boolean } | null {
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]*?)-----END/.exec(text)?.[1];
  if (body === undefined) return null;
  const data = Buffer.from(body, 'base64');
  if (!data.subarray(0, OPENSSH_MAGIC.length).equals(OPENSSH_MAGIC)) return null;
  let offset = OPENSSH_MAGIC.length;
  const next = (): Buffer | null => {
    if (offset + 4 > data.length) return null;
    const end = offset + 4 + data.readUInt32BE(offset);
    if (end > data.length) return null;
    const part = data.subarray(offset + 4, end);
    offset = end;
    return part;
  };
  const cipher = next();
  const isComplete = next() !== null && next() !== null;
  offset += 4; // the number of keys, which is always 1
  const publicKey = next();
  return cipher === null || !isComplete || publicKey === null
    ? null
    : { publicKey, isEncrypted: cipher.toString('latin1') !== 'none' };
}

async function readPublicKeyFile(file: string): Promise<Buffer | null> {
  const text = await readText(file);
  return text === null ? null : parsePublicKey(text);
}

/** The key in the first line of a `.pub` file. */
export function parsePublicKey(text: string): Buffer | null {
  const [keyType, base64] = (text.split('\n')[0] ?? '').trim().split(/\s+/);
  if (keyType === undefined || base64 === undefined) return null;
  const key = Buffer.from(base64, 'base64');
  return readKeyType(key) === keyType ? key : null;
}

async function readText(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    // Most of the default files are not there; one that can't be read is no use either.
    return null;
  }
}

import { createVerify, generateKeyPairSync, sign, verify } from 'node:crypto';
import type { KeyPairKeyObjectResult } from 'node:crypto';

/** Signature algorithms of host keys that ssh2 has, in OpenSSH's order, each with the type of key it is made with. */
const algorithms = [
  { name: 'ssh-ed25519', keyType: 'ssh-ed25519' },
  { name: 'ecdsa-sha2-nistp256', keyType: 'ecdsa-sha2-nistp256' },
  { name: 'ecdsa-sha2-nistp384', keyType: 'ecdsa-sha2-nistp384' },
  { name: 'ecdsa-sha2-nistp521', keyType: 'ecdsa-sha2-nistp521' },
  { name: 'rsa-sha2-512', keyType: 'ssh-rsa' },
  { name: 'rsa-sha2-256', keyType: 'ssh-rsa' },
] as const;

export type HostKeyAlgorithm = (typeof algorithms)[number]['name'];

/** Whether this runtime can make and check a signature; VS Code's (BoringSSL) lacks some that Node.js has (H39). */
export type CanVerify = (algorithm: HostKeyAlgorithm) => boolean;

const probes: Record<HostKeyAlgorithm, () => boolean> = {
  'ssh-ed25519': () => roundTrip(generateKeyPairSync('ed25519'), null),
  'ecdsa-sha2-nistp256': () => roundTrip(generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'sha256'),
  'ecdsa-sha2-nistp384': () => roundTrip(generateKeyPairSync('ec', { namedCurve: 'P-384' }), 'sha384'),
  'ecdsa-sha2-nistp521': () => roundTrip(generateKeyPairSync('ec', { namedCurve: 'P-521' }), 'sha512'),
  // Every runtime has RSA, and making such a key takes too long for a trial; only the hash may be missing.
  'rsa-sha2-512': () => Boolean(createVerify('RSA-SHA512')),
  'rsa-sha2-256': () => Boolean(createVerify('RSA-SHA256')),
};

function roundTrip(pair: KeyPairKeyObjectResult, hash: string | null): boolean {
  const text = Buffer.from('forkpoint');
  return verify(hash, text, pair.publicKey, sign(hash, text, pair.privateKey));
}

const probed = new Map<HostKeyAlgorithm, boolean>();

/** Tries each algorithm once and remembers. */
export const canVerifyHere: CanVerify = (algorithm) => {
  let answer = probed.get(algorithm);
  if (answer === undefined) {
    try {
      answer = probes[algorithm]();
    } catch {
      // That is the answer: the runtime doesn't know the curve or the hash.
      answer = false;
    }
    probed.set(algorithm, answer);
  }
  return answer;
};

/**
 * The algorithms to offer a host, best first. Those of the keys on record for it come first, because a server shows
 * the first that it has: offered otherwise, a known host would show a key that nobody knows (H38).
 * @param knownTypes types of the keys on record
 * @param configured HostKeyAlgorithms of the configuration; null for all
 */
export function hostKeyAlgorithms(
  knownTypes: readonly string[],
  configured: readonly string[] | null,
  canVerify: CanVerify = canVerifyHere,
): HostKeyAlgorithm[] {
  const able = algorithms.filter(
    (algorithm) => (configured === null || configured.includes(algorithm.name)) && canVerify(algorithm.name),
  );
  const isKnown = (algorithm: (typeof algorithms)[number]): boolean => knownTypes.includes(algorithm.keyType);
  return [...able.filter(isKnown), ...able.filter((algorithm) => !isKnown(algorithm))].map(
    (algorithm) => algorithm.name,
  );
}

/** Whether at least one of these key types can be checked here. */
export function canCheckAny(knownTypes: readonly string[], canVerify: CanVerify = canVerifyHere): boolean {
  return algorithms.some((algorithm) => knownTypes.includes(algorithm.keyType) && canVerify(algorithm.name));
}

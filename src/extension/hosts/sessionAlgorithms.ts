import type { ResolvedConfig } from './resolvedConfig.ts';

/**
 * What ssh2 offers by itself for key exchange, encryption and integrity (its lib/protocol/constants.js). More is in
 * it, but too weak to be offered unasked.
 */
const offered = {
  kex: {
    keyword: 'kexalgorithms',
    name: 'KexAlgorithms',
    algorithms: [
      'curve25519-sha256@libssh.org',
      'curve25519-sha256',
      'ecdh-sha2-nistp256',
      'ecdh-sha2-nistp384',
      'ecdh-sha2-nistp521',
      'diffie-hellman-group-exchange-sha256',
      'diffie-hellman-group14-sha256',
      'diffie-hellman-group15-sha512',
      'diffie-hellman-group16-sha512',
      'diffie-hellman-group17-sha512',
      'diffie-hellman-group18-sha512',
    ],
  },
  cipher: {
    keyword: 'ciphers',
    name: 'Ciphers',
    algorithms: [
      'chacha20-poly1305@openssh.com',
      'aes128-gcm@openssh.com',
      'aes256-gcm@openssh.com',
      'aes128-ctr',
      'aes192-ctr',
      'aes256-ctr',
    ],
  },
  hmac: {
    keyword: 'macs',
    name: 'MACs',
    algorithms: [
      'hmac-sha2-256-etm@openssh.com',
      'hmac-sha2-512-etm@openssh.com',
      'hmac-sha1-etm@openssh.com',
      'hmac-sha2-256',
      'hmac-sha2-512',
      'hmac-sha1',
    ],
  },
} as const;

type Kind = keyof typeof offered;
type Algorithm<K extends Kind> = (typeof offered)[K]['algorithms'][number];

function isAllowed(config: ResolvedConfig, kind: Kind, algorithm: string): boolean {
  const configured = config.options.get(offered[kind].keyword)?.[0]?.split(',');
  return configured?.includes(algorithm) !== false;
}

/** What ssh2 would offer but the configuration does not allow. */
export function forbiddenAlgorithms<K extends Kind>(config: ResolvedConfig, kind: K): Algorithm<K>[] {
  const algorithms: readonly Algorithm<K>[] = offered[kind].algorithms;
  return algorithms.filter((algorithm) => !isAllowed(config, kind, algorithm));
}

/** The options that allow nothing of what ssh2 offers. */
export function unservedOptions(config: ResolvedConfig): string[] {
  return Object.entries(offered)
    .filter(
      ([kind, { algorithms }]) => !algorithms.some((algorithm) => isAllowed(config, kind as Kind, algorithm)),
    )
    .map(([, { name }]) => name);
}

import { writeFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import * as path from 'node:path';

/**
 * Addresses that dumped sockets use and that belong to another workspace: the one that the images come from.
 * @param used as snapshot.json has them
 * @param own the workspace's own address
 */
export function foreignAddresses(used: readonly string[], own: string): string[] {
  const plain = used.map((address) => address.replace(/^::ffff:(?=\d+\.)/, ''));
  return [...new Set(plain)].filter((address) => address !== own && !isEverywhere(address)).sort();
}

/** Addresses that every network namespace has, or that say nothing; link-local ones can't be moved to another interface. */
function isEverywhere(address: string): boolean {
  return /^(127\.|0\.0\.0\.0$|::1?$|\*$|fe80:|$)/i.test(address);
}

/**
 * Writes for the action script what walls foreign addresses in before CRIU makes the first socket (H21): the rule that lets
 * nothing out with them, for the namespace's whole life, and then the addresses themselves, on the loopback interface,
 * where programs that are bound to them find them.
 */
export async function writeForeignAddresses(work: string, addresses: readonly string[]): Promise<void> {
  if (addresses.length === 0) return;
  const rules = [
    ['ip', addresses.filter(isIPv4)] as const,
    ['ip6', addresses.filter((address) => !isIPv4(address))] as const,
  ].flatMap(([family, some]) =>
    some.length === 0 ? [] : [`    oif != "lo" ${family} saddr { ${some.join(', ')} } drop`],
  );
  await writeFile(
    path.join(work, 'foreign.nft'),
    [
      'table inet forkpoint_foreign {',
      '  chain out {',
      '    type filter hook output priority -310; policy accept;',
      ...rules,
      '  }',
      '}',
      '',
    ].join('\n'),
    { mode: 0o600 },
  );
  const commands = addresses.map((address) =>
    isIPv4(address) ? `address add ${address}/32 dev lo` : `address add ${address}/128 dev lo nodad`,
  );
  await writeFile(path.join(work, 'foreign.ip'), `${commands.join('\n')}\n`, { mode: 0o600 });
}

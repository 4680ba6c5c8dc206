import { readFileSync } from 'node:fs';

/** Bit of CAP_SYS_RESOURCE, from linux/capability.h. */
const capSysResource = 24n;

/**
 * Whether this process may raise resource limits and read those of other users' processes. CRIU needs
 * the latter; some sandboxes withhold it, users' hosts don't.
 */
export function hasSysResource(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return effective !== undefined && ((BigInt(`0x${effective}`) >> capSysResource) & 1n) === 1n;
}

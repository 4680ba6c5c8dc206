import { execa } from 'execa';
import { TestHostError } from './testHostError.ts';

/** The two ends of the link between the machine and one host. */
export interface HostLink {
  /** The machine's end. */
  readonly interfaceName: string;
  /** The host's IPv4 address. */
  readonly address: string;
}

/** As many hosts as 198.18.0.0/18 has room for. */
const maximumHosts = 4096;

/**
 * Joins the network namespace of `pid` to the machine's by a veth pair with a /30 of its own, out of
 * 198.18.0.0/15, which is set aside for tests (RFC 2544). The pair ends with the namespace.
 * @throws {TestHostError} when the machine can't make one
 */
export async function linkToMachine(pid: number): Promise<HostLink> {
  for (let index = 0; index < maximumHosts; index++) {
    const interfaceName = `fphost${index}`;
    // The kernel refuses a name that is taken, so two hosts that boot at once can't get the same.
    const added = await execa(
      'ip',
      ['link', 'add', interfaceName, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid)],
      { reject: false },
    );
    if (added.exitCode !== 0) {
      if (added.stderr.includes('File exists')) continue;
      throw new TestHostError(`The test host's network link can't be made: ${added.stderr}`);
    }
    const machineEnd = subnetAddress(index, 1);
    const address = subnetAddress(index, 2);
    await execa('ip', ['-batch', '-'], {
      input: `addr add ${machineEnd}/30 dev ${interfaceName}\nlink set ${interfaceName} up\n`,
    });
    await execa('nsenter', ['--target', String(pid), '--net', 'ip', '-batch', '-'], {
      input: `addr add ${address}/30 dev eth0\nlink set lo up\nlink set eth0 up\nroute add default via ${machineEnd}\n`,
    });
    return { interfaceName, address };
  }
  throw new TestHostError(
    'All 4096 networks for test hosts are in use; end some hosts by "npm run host -- down".',
  );
}

function subnetAddress(index: number, host: number): string {
  const offset = index * 4 + host;
  return `198.18.${offset >> 8}.${offset & 255}`;
}

/** Removes the machine's end, and the other with it; the kernel would get to it by and by. */
export async function removeLink(interfaceName: string): Promise<void> {
  const { exitCode, stderr } = await execa('ip', ['link', 'delete', interfaceName], { reject: false });
  if (exitCode !== 0 && !stderr.includes('Cannot find device')) {
    throw new TestHostError(`Network link ${interfaceName} can't be removed: ${stderr}`);
  }
}

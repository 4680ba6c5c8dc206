import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import * as z from 'zod';
import { ForkpointError } from '../../protocol/errors.ts';

const NetworksSchema = z.tuple([z.looseObject({})]);

/**
 * Whether a container was not started because Podman counts its address as its own already: Podman was killed between
 * writing down the address and writing down that the container has it, so that it never gives it back, before the host
 * is started anew (go.podman.io/common/libnetwork/netavark/ipam.go, allocIPs; podman issue 15708).
 */
export function holdsOwnAddress(error: unknown, containerId: string): boolean {
  const { message, detail } = ForkpointError.from(error);
  return `${message}\n${detail ?? ''}`.includes(`is already allocated to container ID ${containerId}`);
}

/**
 * Has Podman forget which addresses of a network are in use. It writes that down by the network's name for the whole host,
 * and forgets it when a network of that name is removed (ipam.go, removeNetworkIPAMBucket); so one is removed that only a
 * Podman with an empty storage of its own knows. What runs in the network goes on: Podman looks at these records for nothing
 * but to tell addresses that are free, and the workspaces' are given by us.
 * @param podman runs Podman with such arguments
 * @param directory that is root's alone
 */
export async function forgetAddresses(
  podman: (args: readonly string[]) => Promise<{ readonly stdout: string }>,
  network: string,
  directory: string,
): Promise<void> {
  const { stdout } = await podman(['network', 'inspect', network]);
  const [definition] = NetworksSchema.parse(JSON.parse(stdout));
  const place = await mkdtemp(path.join(directory, 'network-'));
  try {
    await writeFile(path.join(place, `${network}.json`), JSON.stringify(definition), { mode: 0o600 });
    const elsewhere = ['--root', path.join(place, 'root'), '--runroot', path.join(place, 'run')];
    // Of the storage drivers the one that mounts nothing.
    const plain = ['--storage-driver', 'vfs', '--network-config-dir', place];
    await podman([...elsewhere, ...plain, 'network', 'rm', network]);
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}

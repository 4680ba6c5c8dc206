import { setTimeout as sleep } from 'node:timers/promises';
import type { Run } from '../host/run.ts';
import { addressOf, isLocal, localAddresses, readConnections } from './sockets.ts';
import type { Connection } from './sockets.ts';

/** Table that the action script makes at CRIU's post-restore step. */
const TABLE = ['inet', 'forkpoint_restore'];

/** A connection within a namespace is made in less than that, in milliseconds. */
const SETTLING_MS = 10;

/** The connections to the outside of the namespace of which these are the addresses, in the words of ss(8). */
function outsideFilter(own: readonly string[]): string {
  const inside = [
    '127.0.0.0/8',
    '[::1]',
    ...own.map((address) => (address.includes(':') ? `[${address}]` : address)),
  ];
  return `( ${inside.map((address) => `not dst ${address}`).join(' and ')} )`;
}

/**
 * Closes every TCP socket, in any connected state, whose peer is outside the network namespace of `pid`, so that its
 * program notices at once; then lets traffic out again (H22). Loopback and connections to its own addresses live on.
 * `ss` compares mapped addresses (::ffff:127.0.0.1) with v4 prefixes, see inet2_addr_match() of iproute2's ss.c.
 * @param isDone the action script has done so, before the processes ran: only what it does not see is left
 */
export async function closeOutsideConnections(run: Run, pid: number, isDone: boolean): Promise<void> {
  const inside = [`--net=/proc/${String(pid)}/ns/net`, '--'];
  const own = await localAddresses(pid);
  // Connections within the namespace whose other end is not there, too: it belonged to a process that is in no snapshot,
  // one started from outside or the relay of a forwarded port.
  const isInside = ({ peer }: Connection): boolean => isLocal(addressOf(peer), own);
  const abandoned = await findAbandoned(() => readConnections(pid), isInside);
  const filters = [
    ...(isDone ? [] : [outsideFilter(own)]),
    ...abandoned.map(({ local, peer }) => `( src ${local} and dst ${peer} )`),
  ];
  if (filters.length > 0)
    await run('nsenter', [...inside, 'ss', '-K', 'state', 'connected', filters.join(' or ')]);
  // Absent where CRIU ran no script; deleting what is not there is then the answer wanted.
  if (!isDone) await run('nsenter', [...inside, 'nft', 'delete', 'table', ...TABLE], { accept: [0, 1] });
}

/**
 * The connections, of those in question, that stay without their other end. The processes run already, and the kernel does
 * not list all sockets at one moment: of a connection that is being made, one end may be listed without the other, but not
 * in two lists.
 */
export async function findAbandoned(
  read: () => Promise<readonly Connection[]>,
  isInQuestion: (connection: Connection) => boolean,
): Promise<Connection[]> {
  const found = abandonedConnections(await read()).filter(isInQuestion);
  if (found.length === 0) return found;
  await sleep(SETTLING_MS);
  const again = new Set(abandonedConnections(await read()).map(({ local, peer }) => `${local} ${peer}`));
  return found.filter(({ local, peer }) => again.has(`${local} ${peer}`));
}

/** The connections of which the other end is not among them. */
export function abandonedConnections(connections: readonly Connection[]): Connection[] {
  // A v6 socket may be connected to a v4 one.
  const plain = (end: string): string => end.replace(/^\[::ffff:([\d.]+)\]/, '$1');
  const known = new Set(connections.map(({ local, peer }) => `${plain(local)} ${plain(peer)}`));
  return connections.filter(({ local, peer }) => !known.has(`${plain(peer)} ${plain(local)}`));
}

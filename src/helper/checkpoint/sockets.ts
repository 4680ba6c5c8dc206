import { readFile } from 'node:fs/promises';
import { visible } from '../../protocol/names.ts';
import type { Capture, OutsideConnection } from '../../protocol/snapshot.ts';

/** What the sockets of a network namespace tell. */
export interface Sockets {
  readonly listeners: Capture['listeners'];
  readonly connections: OutsideConnection[];
  readonly addresses: string[];
}

/** A TCP socket that has a peer; both ends as `address:port`, v6 in brackets. */
export interface Connection {
  readonly local: string;
  readonly peer: string;
}

/** State of a TCP socket that listens, and of a UDP socket without a peer (include/net/tcp_states.h). */
const LISTEN = '0A';
const CLOSE = '07';
/** Flag of a unix socket that listens: __SO_ACCEPTCON (include/uapi/linux/net.h). */
const ACCEPTS = 0x10000;

/**
 * Sockets in the network namespace of `pid`, as its files in /proc show them (proc_pid_net(5)): no program is started,
 * for this is read while a workspace stands still.
 */
export async function readSockets(pid: number): Promise<Sockets> {
  const [own, tcp, udp, unix] = await Promise.all([
    localAddresses(pid),
    internetSockets(pid, 'tcp'),
    internetSockets(pid, 'udp'),
    readTable(pid, 'unix'),
  ]);
  const listeners: Capture['listeners'] = [
    ...udp
      .filter(({ state }) => state === CLOSE)
      .map(({ local }) => ({ protocol: 'udp' as const, address: local })),
    ...tcp
      .filter(({ state }) => state === LISTEN)
      .map(({ local }) => ({ protocol: 'tcp' as const, address: local })),
    ...unixListeners(unix),
  ];
  const connections: OutsideConnection[] = [];
  const addresses = new Set<string>(own);
  for (const { local, peer } of connectionsAmong(tcp)) {
    addresses.add(addressOf(local));
    if (!isLocal(addressOf(peer), own)) connections.push({ local, peer });
  }
  return { listeners, connections, addresses: [...addresses].sort() };
}

/** TCP sockets in any connected state, in the network namespace of `pid`. */
export async function readConnections(pid: number): Promise<Connection[]> {
  return connectionsAmong(await internetSockets(pid, 'tcp'));
}

/** Addresses of the network namespace of `pid`, v6 written as inet_ntop(3) does. */
export async function localAddresses(pid: number): Promise<string[]> {
  const [trie, v6] = await Promise.all([readTable(pid, 'fib_trie'), readTable(pid, 'if_inet6')]);
  const found = new Set<string>();
  // Each address has a leaf, and below it what it is; the same in more than one table.
  for (const match of trie.matchAll(/\|-- ([\d.]+)\n\s+\/32 host LOCAL/g)) found.add(match[1] ?? '');
  for (const line of v6.split('\n')) {
    const hex = /^[0-9a-f]{32}/.exec(line)?.[0];
    if (hex !== undefined) found.add(v6Address(Buffer.from(hex, 'hex')));
  }
  return [...found];
}

/** Whether an address is one of this namespace: v4, v6, or v4 mapped into v6. */
export function isLocal(address: string, own: readonly string[]): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '');
  return plain.startsWith('127.') || plain === '::1' || own.includes(plain);
}

/** The address of `address:port` or `[address]:port`. */
export function addressOf(endpoint: string): string {
  return endpoint
    .slice(0, endpoint.lastIndexOf(':'))
    .replace(/^\[|\]$/g, '')
    .replace(/%.*$/, '');
}

interface InternetSocket extends Connection {
  readonly state: string;
}

function connectionsAmong(sockets: readonly InternetSocket[]): Connection[] {
  return sockets
    .filter(({ state }) => state !== LISTEN && state !== CLOSE)
    .map(({ local, peer }) => ({ local, peer }));
}

async function internetSockets(pid: number, protocol: 'tcp' | 'udp'): Promise<InternetSocket[]> {
  const [v4, v6] = await Promise.all([readTable(pid, protocol), readTable(pid, `${protocol}6`)]);
  return [v4, v6].flatMap(parseInternetSockets);
}

/** Reads /proc/PID/net/tcp and its like: number, local address, peer, state, … */
export function parseInternetSockets(table: string): InternetSocket[] {
  return [
    ...table.matchAll(
      /^ *\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{2}) /gm,
    ),
  ].map(([, local = '', localPort = '', peer = '', peerPort = '', state = '']) => ({
    local: endpoint(local, localPort),
    peer: endpoint(peer, peerPort),
    state,
  }));
}

/** The kernel prints an address as numbers of 32 bits in the machine's own order, which is little-endian wherever CRIU runs but s390. */
function endpoint(address: string, port: string): string {
  const bytes = Buffer.from(address, 'hex');
  bytes.swap32();
  const text = bytes.length === 4 ? bytes.join('.') : `[${v6Address(bytes)}]`;
  return `${text}:${String(parseInt(port, 16))}`;
}

/** RFC 5952, with a mapped v4 address in dots. */
function v6Address(bytes: Buffer): string {
  if (bytes.readUInt32BE(0) === 0 && bytes.readUInt32BE(4) === 0 && bytes.readUInt32BE(8) === 0xffff)
    return `::ffff:${bytes.subarray(12).join('.')}`;
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16)).join(
    ':',
  );
  const [longest] = [...groups.matchAll(/(?<![0-9a-f])0(:0)+(?![0-9a-f])/g)]
    .map((match) => ({ at: match.index, text: match[0] }))
    .sort((a, b) => b.text.length - a.text.length || a.at - b.at);
  if (longest === undefined) return groups;
  const before = groups.slice(0, longest.at).replace(/:$/, '');
  const after = groups.slice(longest.at + longest.text.length).replace(/^:/, '');
  return `${before}::${after}`;
}

/** Reads /proc/PID/net/unix: address, references, protocol, flags, type, state, inode, path. */
function unixListeners(table: string): Capture['listeners'] {
  return [...table.matchAll(/^[0-9a-f]+: \S+ \S+ ([0-9A-F]+) \S+ \S+ +\d+ (.+)$/gm)]
    .filter(([, flags = '']) => (parseInt(flags, 16) & ACCEPTS) !== 0)
    .map(([, , path = '']) => ({ protocol: 'unix' as const, address: visible(path) }));
}

/** Empty where the kernel has no such table: one without IPv6, say. */
async function readTable(pid: number, table: string): Promise<string> {
  return readFile(`/proc/${String(pid)}/net/${table}`, 'utf8').catch(() => '');
}

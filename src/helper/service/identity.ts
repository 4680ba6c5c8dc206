import { randomBytes } from 'node:crypto';
import { lstat, readFile, readdir, rm } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import { ROOTFS } from '../catalogue/layout.ts';
import type { Identity, SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { Cgroup } from '../engines/cgroup.ts';
import type { ContainerFacts } from '../engines/engine.ts';
import { readProcess, signalProcess } from '../host/processes.ts';
import { exists, nullIfMissing } from '../subvolumes/btrfs.ts';
import { confinedPath } from '../subvolumes/confinedPath.ts';
import type { Parts } from './parts.ts';
import { listListeners } from './ports.ts';
import { replaceFile } from './workspaceFiles.ts';

/** What makes a machine itself to others, beside its name and address. */
interface Credentials {
  /** Content of machine-id(5); null where there is none. */
  readonly machineId: string | null;
  /** The SSH host keys, private and public, by the name of their file. */
  readonly hostKeys: ReadonlyMap<string, Buffer>;
}

const MACHINE_ID = '/etc/machine-id';
/** The older place, mostly a link to the other. */
const DBUS_MACHINE_ID = '/var/lib/dbus/machine-id';
const SSH_DIRECTORY = '/etc/ssh';
const HOST_KEY = /^ssh_host_([a-z0-9]+)_key$/;
/** Far more than any of these files has, in bytes: a hole costs a container nothing, and memory of root's when it is read. */
const LARGEST_BYTES = 16 * 2 ** 20;
/** What ssh-keygen(1) can make. */
const KEY_TYPES = ['rsa', 'ecdsa', 'ed25519'];

/** Whose identity the files of a snapshot bear. */
export function identityOf(parts: Parts, snapshot: SnapshotRecord): Identity {
  return snapshot.identity ?? ownIdentity(parts.catalogue.workspace(snapshot.workspace));
}

/** The identity that a workspace has. */
export function ownIdentity({ id, spec }: WorkspaceRecord): Identity {
  return { workspace: id, hostname: spec.hostname, address: spec.address };
}

/** New host keys of the types that a snapshot holds; of a type that nobody makes any more there is none. */
export async function newHostKeys(
  parts: Parts,
  snapshot: Pick<SnapshotRecord, 'workspace' | 'name'>,
): Promise<ReadonlyMap<string, Buffer>> {
  const rootfs = parts.layout.snapshotPart(snapshot.workspace, snapshot.name, ROOTFS);
  const made = new Map<string, Buffer>();
  const names = [...(await readHostKeys(rootfs)).keys()];
  await Promise.all(
    names.map(async (name) => {
      const type = HOST_KEY.exec(name)?.[1] ?? '';
      if (!KEY_TYPES.includes(type)) return;
      const key = await parts.hostKeys.take(type);
      made.set(name, key.private);
      made.set(`${name}.pub`, key.public);
    }),
  );
  return made;
}

/** Gives a clone of another workspace's files an identity that nobody had before. Nothing may run in `rootfs` yet (H25). */
export async function giveNewIdentity(
  workspace: WorkspaceRecord,
  rootfs: string,
  before: Identity,
  hostKeys: ReadonlyMap<string, Buffer>,
): Promise<void> {
  await giveIdentity(rootfs, before, ownIdentity(workspace), {
    machineId: `${randomBytes(16).toString('hex')}\n`,
    hostKeys,
  });
}

/**
 * Gives a clone of another workspace's files, a promoted fork's, the identity that the workspace has had all along: those
 * who know its host keys meet no stranger. Nothing may run in `rootfs` yet (H25).
 */
export async function keepIdentity(
  parts: Parts,
  workspace: WorkspaceRecord,
  rootfs: string,
  before: Identity,
): Promise<void> {
  // Never from the live tree: what runs in it could swap a path under the reader (H52).
  const still = path.join(parts.layout.workspace(workspace.id), 'next', 'identity');
  await parts.subvolumes.snapshot(parts.layout.livePart(workspace.id, ROOTFS), still, { isReadOnly: true });
  try {
    const machineId = await readPlain(await confinedPath(still, MACHINE_ID));
    await giveIdentity(rootfs, before, ownIdentity(workspace), {
      machineId: machineId?.toString() ?? null,
      hostKeys: await readHostKeys(still),
    });
  } finally {
    await parts.subvolumes.delete(still);
  }
}

/** Tells the SSH servers of a workspace to read their host keys again: SIGHUP to those that listen (sshd(8)). */
export async function reloadSshServers(parts: Parts, { pid, id }: ContainerFacts): Promise<void> {
  const members = new Set(Cgroup.find(pid, id)?.processes() ?? []);
  const listening = new Set(
    (await listListeners(parts, pid))
      .flatMap(({ pids }) => pids)
      .filter((one) => members.has(one) && readProcess(one)?.name === 'sshd'),
  );
  for (const one of listening) signalProcess(one, 'SIGHUP');
}

async function giveIdentity(
  rootfs: string,
  before: Identity,
  after: Identity,
  { machineId, hostKeys }: Credentials,
): Promise<void> {
  const etc = await confinedPath(rootfs, '/etc');
  if ((await lstat(etc).catch(nullIfMissing))?.isDirectory() !== true)
    throw new ForkpointError('source.invalid', { source: rootfs, problem: '/etc leads to no directory' });
  await replaceFile(path.join(etc, 'hostname'), `${after.hostname}\n`);
  const hosts = await readPlain(path.join(etc, 'hosts'));
  if (hosts !== null)
    await replaceFile(path.join(etc, 'hosts'), renameInHosts(hosts.toString(), before, after));
  await replaceMachineId(path.join(etc, path.basename(MACHINE_ID)), machineId);
  const dbus = path.join(await confinedPath(rootfs, path.dirname(DBUS_MACHINE_ID)), 'machine-id');
  if ((await readPlain(dbus)) !== null) await replaceMachineId(dbus, machineId);
  await replaceHostKeys(rootfs, hostKeys);
}

async function replaceMachineId(file: string, content: string | null): Promise<void> {
  if (content === null) await rm(file, { force: true, recursive: true });
  else await replaceFile(file, content, 0o444);
}

/** A user's own lines stay as they are (H27), but for the address and name of the machine itself. */
export function renameInHosts(
  text: string,
  before: Pick<Identity, 'hostname' | 'address'>,
  after: Pick<Identity, 'hostname' | 'address'>,
): string {
  return text.replace(/[^\s#]+/g, (word) =>
    word === before.address ? after.address : word === before.hostname ? after.hostname : word,
  );
}

async function replaceHostKeys(rootfs: string, keys: ReadonlyMap<string, Buffer>): Promise<void> {
  const directory = await confinedPath(rootfs, SSH_DIRECTORY);
  if (!(await exists(directory))) return;
  for (const name of await readdir(directory)) {
    // A certificate vouches for the key that is gone.
    if (/^ssh_host_.*_key(\.pub|-cert\.pub)?$/.test(name))
      await rm(path.join(directory, name), { force: true, recursive: true });
  }
  for (const [name, content] of keys) {
    await replaceFile(path.join(directory, name), content, name.endsWith('.pub') ? 0o644 : 0o600);
  }
}

async function readHostKeys(rootfs: string): Promise<Map<string, Buffer>> {
  const directory = await confinedPath(rootfs, SSH_DIRECTORY);
  const names = await readdir(directory).catch(() => []);
  const found = new Map<string, Buffer>();
  for (const name of names) {
    if (!HOST_KEY.test(name.replace(/\.pub$/, ''))) continue;
    const content = await readPlain(path.join(directory, name));
    if (content !== null) found.set(name, content);
  }
  return found;
}

/** The content of a regular file of a workspace; null for anything else, also for one that is larger than any that is meant. */
export async function readPlain(file: string): Promise<Buffer | null> {
  const facts = await lstat(file).catch(nullIfMissing);
  return facts?.isFile() === true && facts.size <= LARGEST_BYTES ? readFile(file) : null;
}

import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { Params, Result } from '../../protocol/operations.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import { poll } from '../host/poll.ts';
import { commandLineOf, signalProcess } from '../host/processes.ts';
import { exists, isMissing } from '../subvolumes/btrfs.ts';
import { FIND_PACKAGE_MANAGER, installCommand } from './multiplexers.ts';
import type { Parts } from './parts.ts';
import { listListeners } from './ports.ts';
import type { Call } from './services.ts';
import { runningWorkspace } from './terminals.ts';

/** The first port that is tried on the workspace's loopback address. */
const FIRST_PORT = 2222;
const PORTS_TRIED = 100;

/** How long the server may take until it listens, in milliseconds. */
const START_MS = 10_000;

/** Exit status of {@link START} where there is no server to start. */
const NO_SERVER = 42;

/**
 * Puts key and settings in place and starts the server, which leaves its starter and so becomes a child of the
 * workspace's init. The key comes on standard input; arguments: directory, settings, then user and keys in turn. An empty
 * word for the settings leaves a server that runs as it is.
 */
const START = `set -eu
server=$(command -v sshd || true)
for place in /usr/sbin/sshd /usr/local/sbin/sshd; do
  [ -n "$server" ] || [ ! -x "$place" ] || server=$place
done
[ -n "$server" ] || { ${FIND_PACKAGE_MANAGER}
  exit ${String(NO_SERVER)}; }
directory=$1 settings=$2
shift 2
umask 022
# A fork's files hold its origin's key.
for other in "\${directory%/*}"/*; do [ "$other" = "$directory" ] || rm -rf "$other"; done
mkdir -p "$directory/authorized" /run/sshd
umask 077
cat > "$directory/host_key"
while [ "$#" -gt 0 ]; do
  printf '%s' "$2" > "$directory/authorized/$1.new"
  chmod 644 "$directory/authorized/$1.new"
  mv "$directory/authorized/$1.new" "$directory/authorized/$1"
  shift 2
done
[ -n "$settings" ] || exit 0
printf '%s' "$settings" > "$directory/sshd_config"
"$server" -t -f "$directory/sshd_config"
exec "$server" -f "$directory/sshd_config" </dev/null >/dev/null 2>&1`;

/** Lets a key in, and shows how to reach the workspace. */
export async function enableSsh(
  parts: Parts,
  params: Params<'ssh/enable'>,
  call: Pick<Call, 'signal'>,
): Promise<Result<'ssh/enable'>> {
  const { id } = parts.catalogue.workspace(params.container);
  return parts.turns.take(id, call.signal, async () => {
    const directory = await ensureIdentity(parts, id);
    const file = path.join(directory, 'authorized', params.user);
    const known = await readText(file);
    if (!known.split('\n').includes(params.key)) await replaceFile(file, `${known}${params.key}\n`);
    const port = await startSshServer(parts, id, { rewrites: true });
    return {
      user: params.user,
      port,
      hostKeyAlias: `forkpoint-${id}`,
      hostKey: (await readText(path.join(directory, 'host_key.pub'))).split(' ').slice(0, 2).join(' ').trim(),
    };
  });
}

/**
 * Makes sure that the workspace's SSH server runs, and answers its port. Key and settings are the host's, not the
 * snapshot's: they are the same after any restore, and another's in a fork, whose server is that of its origin until then.
 * Called within the workspace's turn.
 * @param options.rewrites also writes keys where it runs already
 */
export async function startSshServer(
  parts: Parts,
  id: WorkspaceId,
  options: { rewrites: boolean } = { rewrites: false },
): Promise<number> {
  const { record, facts, cgroup } = await runningWorkspace(parts, id);
  const directory = await ensureIdentity(parts, id);
  const own = new Set(cgroup.processes());
  const listeners = async (): Promise<ServerListener[]> => readSshListeners(parts, facts.pid, own);
  const found = await listeners();
  const running = found.find((listener) => listener.workspace === id);
  if (running !== undefined && !options.rewrites) return running.port;
  // In a fork the origin's server woke, with the origin's key.
  for (const { workspace, pid } of found)
    if (workspace !== null && workspace !== id) signalProcess(pid, 'SIGTERM');
  const taken = new Set(found.filter(({ workspace }) => workspace === null).map(({ port }) => port));
  const port = running?.port ?? freePort(taken);
  await runStart(parts, record, directory, running === undefined ? settingsFor(record, port) : '');
  const isThere = await poll(
    async () => {
      // Children of the server were not there before.
      for (const pid of cgroup.processes()) own.add(pid);
      return (await listeners()).some((listener) => listener.workspace === id && listener.port === port);
    },
    { everyMs: 30, timeoutMs: START_MS },
  );
  if (!isThere)
    throw new ForkpointError('ssh.failed', { workspace: record.name }, { detail: 'it does not listen' });
  return port;
}

/** A TCP port that something listens on; `workspace` tells whose SSH server of ours it is, if it is one. */
interface ServerListener {
  readonly port: number;
  readonly pid: number;
  readonly workspace: string | null;
}

async function readSshListeners(
  parts: Parts,
  init: number,
  own: ReadonlySet<number>,
): Promise<ServerListener[]> {
  return (await listListeners(parts, init)).map(({ port, pids }) => {
    const pid = pids.find((one) => own.has(one)) ?? 0;
    const title = pid === 0 ? '' : commandLineOf(pid);
    return { port, pid, workspace: /\/\.forkpoint\/ssh\/(ws-[0-9a-f]{12})\//.exec(title)?.[1] ?? null };
  });
}

async function runStart(
  parts: Parts,
  record: WorkspaceRecord,
  directory: string,
  settings: string,
): Promise<void> {
  const users = await authorizedUsers(directory);
  const keys = await Promise.all(
    users.map(async (user) => [user, await readText(path.join(directory, 'authorized', user))]),
  );
  const { exitCode, stdout, stderr } = await parts.engine.exec(
    record,
    { isInteractive: true, hasTerminal: false },
    ['sh', '-c', START, 'sh', directoryInside(record.id), settings, ...keys.flat()],
    {
      input: await readFile(path.join(directory, 'host_key')),
      accept: Array.from({ length: 256 }, (_, status) => status),
      hide: [settings],
    },
  );
  if (exitCode === 0) return;
  if (exitCode === NO_SERVER) {
    throw new ForkpointError('ssh.serverMissing', {
      workspace: record.name,
      install: installCommand(stdout, 'sshd') ?? 'openssh-server',
    });
  }
  throw new ForkpointError('ssh.failed', { workspace: record.name }, { detail: stderr.trim() || null });
}

function directoryInside(id: WorkspaceId): string {
  return `/.forkpoint/ssh/${id}`;
}

/** Settings of the server: for keys alone, and for callers from the workspace's own loopback. */
function settingsFor({ id, spec }: WorkspaceRecord, port: number): string {
  const directory = directoryInside(id);
  // What can't be written in one word is left out; sshd_config(5) has no escapes.
  const env = Object.entries(spec.env)
    .filter(([, value]) => /^[\x20-\x7e]*$/.test(value) && !/["\\]/.test(value))
    .map(([name, value]) => `"${name}=${value}"`);
  return [
    `Port ${String(port)}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${directory}/host_key`,
    `AuthorizedKeysFile ${directory}/authorized/%u`,
    'PidFile none',
    'UsePAM no',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PermitRootLogin prohibit-password',
    'PrintMotd no',
    'UseDNS no',
    'AcceptEnv LANG LC_* COLORTERM',
    ...(env.length === 0 ? [] : [`SetEnv ${env.join(' ')}`]),
    'Subsystem sftp internal-sftp',
    '',
  ].join('\n');
}

function freePort(taken: ReadonlySet<number>): number {
  for (let port = FIRST_PORT; port < FIRST_PORT + PORTS_TRIED; port += 1) if (!taken.has(port)) return port;
  throw new ForkpointError('internal', { problem: 'no port is free for an SSH server' });
}

/** The workspace's own host key, made at the first time. Answers the directory on the host that holds it. */
async function ensureIdentity(parts: Parts, id: WorkspaceId): Promise<string> {
  const directory = path.join(parts.layout.workspace(id), 'ssh');
  await mkdir(path.join(directory, 'authorized'), { recursive: true, mode: 0o700 });
  const key = path.join(directory, 'host_key');
  if (!(await exists(key))) {
    await parts.run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', id, '-f', `${key}.new`]);
    await rename(`${key}.new.pub`, `${key}.pub`);
    await rename(`${key}.new`, key);
  }
  return directory;
}

async function authorizedUsers(directory: string): Promise<string[]> {
  return (await readdir(path.join(directory, 'authorized'))).filter((name) => !name.endsWith('.new'));
}

async function replaceFile(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    if (isMissing(error)) return '';
    throw error;
  });
}

import { execFile } from 'node:child_process';
import { lstatSync } from 'node:fs';
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { ForkpointError } from '../../protocol/errors.ts';
import type { Installed } from '../../protocol/install.ts';
import { ALREADY_RUNNING_STATUS } from './daemonStatus.ts';
import { fixedEnvironment } from './environment.ts';
import { currentHelper, helperFile, launcherText } from './launcher.ts';
import type { Paths } from './paths.ts';
import type { Program } from './program.ts';
import { hasSystemd, UNIT } from './startDaemon.ts';
import { compareVersions } from './version.ts';

const execute = promisify(execFile);

const OLDEST_NODE = '18.19.0';
/** How long a helper that is neither current nor running is kept, in milliseconds. */
const KEPT_MS = 30 * 24 * 3600 * 1000;

/** What is installed, where, and by which Node it will be run. */
export interface Installation {
  readonly paths: Paths;
  readonly program: Program;
  /** The Node that starts the helper, absolute and without symbolic links. */
  readonly node: string;
}

/**
 * Installs `program` under its digest and makes it the one that the launcher starts, unless a newer one is.
 * Every file is whole or not there: temporary name, fsync, rename.
 * @throws `host.nodeUnfit`; nothing was installed then
 */
export async function installHelper({ paths, program, node }: Installation): Promise<Installed> {
  refuseUnsafeNode(node);
  await refuseOldNode(node);

  const file = helperFile(paths, program.digest);
  for (const directory of [paths.libraryDirectory, path.dirname(file)]) {
    await mkdir(directory, { recursive: true });
    await chmod(directory, 0o755);
  }
  await writeWhole(file, await readFile(program.file), 0o644);

  const isCurrent = !(await isNewerCurrent(paths, program, node));
  if (isCurrent) {
    await mkdir(path.dirname(paths.launcher), { recursive: true });
    await writeWhole(paths.launcher, launcherText(node, file), 0o755);
    await installUnit(paths);
  }
  await removeOldHelpers(paths);
  return { digest: program.digest, version: program.version, current: isCurrent };
}

/** Whoever can change the Node that root runs is root: each directory on its way must be root's alone (H50). */
export function refuseUnsafeNode(node: string): void {
  for (let place = node; ; place = path.dirname(place)) {
    const status = lstatSync(place);
    const isGroupWritable = (status.mode & 0o020) !== 0 && status.gid !== 0;
    const problem =
      status.uid !== 0
        ? `"${place}" does not belong to root`
        : isGroupWritable || (status.mode & 0o002) !== 0
          ? `"${place}" can be changed by others than root`
          : null;
    if (problem !== null) throw new ForkpointError('host.nodeUnfit', { path: node, problem });
    if (place === path.dirname(place)) return;
  }
}

async function refuseOldNode(node: string): Promise<void> {
  const { stdout } = await execute(node, ['--version'], { env: fixedEnvironment() });
  if (compareVersions(stdout.trim(), OLDEST_NODE) < 0) {
    const problem = `it is ${stdout.trim()}, older than ${OLDEST_NODE}`;
    throw new ForkpointError('host.nodeUnfit', { path: node, problem });
  }
}

/** Whether the launcher starts a newer helper than `program`. One that can't tell its version is no newer one. */
async function isNewerCurrent(paths: Paths, program: Program, node: string): Promise<boolean> {
  const current = currentHelper(paths);
  if (current === null || current.digest === program.digest) return false;
  try {
    const { stdout } = await execute(node, [current.file, '--version'], {
      env: fixedEnvironment(),
      timeout: 10_000,
    });
    return compareVersions(stdout.trim(), program.version) > 0;
  } catch {
    return false;
  }
}

/**
 * Lets systemd run the daemon, where it runs the host: at boot, for recovery and expiries, until it is idle.
 * Ending the unit must not end what belongs to the workspaces, so it ends the daemon's process alone.
 */
async function installUnit(paths: Paths): Promise<void> {
  if (!hasSystemd()) return;
  const text = `[Unit]
Description=Forkpoint: snapshots of workspace containers
After=local-fs.target network.target

[Service]
ExecStart=${paths.launcher} daemon --journal
KillMode=process
Delegate=yes
Restart=on-failure
RestartPreventExitStatus=${String(ALREADY_RUNNING_STATUS)}
RestartSec=1
TimeoutStopSec=10min

[Install]
WantedBy=multi-user.target
`;
  const installed = await readFile(paths.unitFile, 'utf8').catch(() => null);
  if (installed === text) return;
  await writeWhole(paths.unitFile, text, 0o644);
  await execute('systemctl', ['daemon-reload'], { env: fixedEnvironment() });
  await execute('systemctl', ['enable', '--quiet', UNIT], { env: fixedEnvironment() });
}

/** Removes helpers that are neither current nor running nor recent. */
async function removeOldHelpers(paths: Paths): Promise<void> {
  const inUse = await runningDigests(paths);
  const current = currentHelper(paths);
  if (current !== null) inUse.add(current.digest);
  for (const entry of await readdir(paths.libraryDirectory)) {
    if (!/^[0-9a-f]{64}$/.test(entry) || inUse.has(entry)) continue;
    const { mtimeMs } = await stat(path.join(paths.libraryDirectory, entry));
    if (Date.now() - mtimeMs > KEPT_MS)
      await rm(path.join(paths.libraryDirectory, entry), { recursive: true });
  }
}

async function runningDigests(paths: Paths): Promise<Set<string>> {
  const digests = new Set<string>();
  for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
    // A process that has just ended runs nothing.
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    for (const word of commandLine.split('\0')) {
      const digest = path.basename(path.dirname(word));
      if (/^[0-9a-f]{64}$/.test(digest) && word === helperFile(paths, digest)) digests.add(digest);
    }
  }
  return digests;
}

async function writeWhole(file: string, content: string | Uint8Array, mode: number): Promise<void> {
  const temporary = `${file}.${String(process.pid)}.tmp`;
  const handle = await open(temporary, 'w', mode);
  try {
    await handle.writeFile(content);
    await handle.chmod(mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

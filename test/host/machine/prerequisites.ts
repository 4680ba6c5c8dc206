import { execa } from 'execa';
import { existsSync } from 'node:fs';
import { access, constants } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { join } from 'node:path';
import { hasSysResource } from './capability.ts';
import { report } from './progress.ts';
import { TestHostError } from './testHostError.ts';

/** Something the machine must have, and the Debian package that brings it. */
interface Prerequisite {
  /** A command on the PATH, or the absolute path of a file. */
  readonly needs: string;
  readonly package: string;
}

const prerequisites: readonly Prerequisite[] = [
  { needs: 'mmdebstrap', package: 'mmdebstrap' },
  { needs: '/usr/share/keyrings/debian-archive-keyring.gpg', package: 'debian-archive-keyring' },
  { needs: 'unshare', package: 'util-linux' },
  { needs: 'nsenter', package: 'util-linux' },
  { needs: 'setpriv', package: 'util-linux' },
  { needs: 'flock', package: 'util-linux' },
  { needs: 'mount', package: 'mount' },
  { needs: 'losetup', package: 'mount' },
  { needs: 'hostname', package: 'hostname' },
  { needs: 'ps', package: 'procps' },
  { needs: 'ip', package: 'iproute2' },
  { needs: 'ssh', package: 'openssh-client' },
  { needs: 'ssh-keygen', package: 'openssh-client' },
  { needs: 'rsync', package: 'rsync' },
  { needs: 'openssl', package: 'openssl' },
];

/** What building the shim takes; only where CAP_SYS_RESOURCE is missing. */
const shimPrerequisites: readonly Prerequisite[] = [
  { needs: 'gcc', package: 'gcc' },
  { needs: '/usr/include/stdio.h', package: 'libc6-dev' },
];

const commandDirectories = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];

async function isThere({ needs }: Prerequisite): Promise<boolean> {
  const candidates = needs.startsWith('/')
    ? [needs]
    : commandDirectories.map((directory) => join(directory, needs));
  for (const candidate of candidates) {
    try {
      await access(candidate, needs.startsWith('/') ? constants.R_OK : constants.X_OK);
      return true;
    } catch {
      // Not in this directory.
    }
  }
  return false;
}

/** Names of the Debian packages that the machine lacks, sorted. */
async function missingPackages(): Promise<string[]> {
  const wanted = hasSysResource() ? prerequisites : [...prerequisites, ...shimPrerequisites];
  const missing = new Set<string>();
  for (const prerequisite of wanted) {
    if (!(await isThere(prerequisite))) missing.add(prerequisite.package);
  }
  return [...missing].sort();
}

/**
 * Checks that a test host can be built and run here.
 * @throws {TestHostError} naming what is missing and the command that brings it
 */
export async function requirePrerequisites(): Promise<void> {
  requireRoot();
  const missing = await missingPackages();
  if (missing.length > 0) {
    throw new TestHostError(
      `This machine lacks what the test host is made with. Install it: apt-get install ${missing.join(' ')} ("npm run host -- prepare" does so).`,
    );
  }
}

function requireRoot(): void {
  if (process.platform !== 'linux') {
    throw new TestHostError('The test host is made of Linux namespaces: run it on a Debian machine.');
  }
  if (process.getuid?.() !== 0) {
    throw new TestHostError(
      'The test host needs root, for mounts and namespaces: run the command with sudo.',
    );
  }
}

/**
 * Installs by apt what the machine lacks, and says so on stderr. With someone at the terminal it asks
 * first, unless `assumeYes`.
 * @throws {TestHostError} when there is no apt here, the answer is no, or apt fails
 */
export async function installPrerequisites({ assumeYes }: { assumeYes: boolean }): Promise<void> {
  requireRoot();
  const missing = await missingPackages();
  if (missing.length === 0) return;
  const list = missing.join(' ');
  if (!existsSync('/usr/bin/apt-get')) {
    throw new TestHostError(
      `There is no apt-get here. Install by other means what these Debian packages hold: ${list}`,
    );
  }
  if (!assumeYes && process.stdin.isTTY && !(await confirm(`Install ${list} by apt-get?`))) {
    throw new TestHostError(`Nothing was installed. The test host needs: apt-get install ${list}`);
  }
  report(`installing ${list} (apt-get)`);
  const apt = execa({
    stdin: 'ignore',
    // apt's own story goes to stderr with ours.
    stdout: process.stderr,
    stderr: 'inherit',
    env: { DEBIAN_FRONTEND: 'noninteractive' },
    reject: false,
  });
  for (const step of [
    ['update', '-q'],
    ['install', '-q', '-y', '-o', 'Dpkg::Use-Pty=0', '--no-install-recommends', ...missing],
  ]) {
    const { exitCode } = await apt('apt-get', step);
    if (exitCode !== 0)
      throw new TestHostError(`apt-get ${step[0] ?? ''} failed; its messages above say why.`);
  }
}

async function confirm(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim());
  } finally {
    terminal.close();
  }
}

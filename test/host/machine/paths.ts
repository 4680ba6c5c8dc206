import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where everything that can be made again is kept: `$XDG_CACHE_HOME/forkpoint`, or `~/.cache/forkpoint`. */
export const cacheDirectory = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'forkpoint');

/** The cached artefacts that hosts are made from; see {@link file://./build.ts}. */
export const artefactsDirectory = join(cacheDirectory, 'roots');

/**
 * One directory per test host, and a lock file beside each. A whole test run has hosts of its own, apart from those that
 * a person has up: see {@link file://../../run/ownHosts.ts}.
 */
export const hostsDirectory = process.env['FORKPOINT_HOSTS_DIRECTORY'] ?? join(cacheDirectory, 'hosts');

/** The repository's root. */
export const repositoryDirectory = fileURLToPath(new URL('../../../', import.meta.url));

/** A file that lies beside this one, such as a script or the shim's source. */
export function ownFile(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** What one test host keeps on the machine's disk. */
export interface HostPaths {
  readonly directory: string;
  readonly lockFile: string;
  readonly stateFile: string;
  /** Files of this host alone, laid over the cached root. */
  readonly upperDirectory: string;
  readonly identityFile: string;
  readonly knownHostsFile: string;
}

/** The paths of test host `name`. */
export function hostPaths(name: string): HostPaths {
  const directory = join(hostsDirectory, name);
  return {
    directory,
    lockFile: join(hostsDirectory, `${name}.lock`),
    stateFile: join(directory, 'state.json'),
    upperDirectory: join(directory, 'upper'),
    identityFile: join(directory, 'id_ed25519'),
    knownHostsFile: join(directory, 'known_hosts'),
  };
}

/**
 * A name for what is visible on the whole machine (cgroups), so that hosts of equal names in two caches
 * don't take each other's.
 */
export function machineWideName(hostName: string): string {
  const cache = createHash('sha256').update(hostsDirectory).digest('hex').slice(0, 6);
  return `forkpoint-${cache}-${hostName}`;
}

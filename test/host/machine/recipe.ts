import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ownFile } from './paths.ts';

/** A file that the recipe puts into a root. */
interface RecipeFile {
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  readonly text: string;
}

/** A user of the test host. */
interface RecipeUser {
  readonly name: string;
  readonly uid: number;
  readonly shell: string;
  /** Unset: no password opens this account. */
  readonly password?: string;
}

/** The Debian release that both roots are made of: the first with a CRIU that works on kernels from 6.16. */
const suite = 'forky';
const mirror = 'http://deb.debian.org/debian';

/** The second user's password: for tests of password log-in and of a sudo that asks. Known to everybody. */
export const patPassword = 'correct horse battery staple';

/** The user that Forkpoint connects as. */
export const devUser = 'dev';

/** Where the host sees the pool and the workspace tar. */
export const poolMountPoint = '/var/lib/forkpoint';
export const workspaceTarInHost = '/srv/workspace.tar';

/**
 * Everything that decides what the cached roots hold, in one place: they are built again when its hash
 * changes.
 */
export const recipe = {
  suite,
  mirror,
  host: {
    packages: [
      'aardvark-dns',
      'attr',
      'btrfs-progs',
      'catatonit',
      'conmon',
      'criu',
      'crun',
      'curl',
      'fish',
      // Podman's default seccomp profile, which workspaces' profiles are made from.
      'golang-github-containers-common',
      'iproute2',
      // crun loads it at run time and only recommends it.
      'libcriu2',
      'netavark',
      'nftables',
      'nodejs',
      'openssh-server',
      'podman',
      'procps',
      'psmisc',
      'python3-pycriu',
      'rsync',
      'runc',
      'strace',
      'sudo',
      'tcsh',
      'util-linux',
      'zsh',
    ],
    users: [
      { name: devUser, uid: 1000, shell: '/bin/bash' },
      { name: 'pat', uid: 1001, shell: '/bin/bash', password: patPassword },
    ] satisfies RecipeUser[] as readonly RecipeUser[],
    /**
     * SSH host keys that each host makes for itself. The others come with the root and are the same on all:
     * an RSA key takes a second or more to find.
     */
    ownHostKeyTypes: ['ed25519', 'ecdsa'],
    files: [
      { path: 'usr/sbin/test-host-init', mode: 0o755, text: readFileSync(ownFile('init.sh'), 'utf8') },
      {
        path: 'etc/containers/containers.conf',
        mode: 0o644,
        text: `[engine]
# There is no systemd here to manage cgroups or to keep a journal.
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
env = ["PODMAN_IGNORE_CGROUPSV1_WARNING=1"]
[containers]
log_driver = "k8s-file"
pids_limit = 0
`,
      },
      {
        path: 'etc/containers/policy.json',
        mode: 0o644,
        text: '{ "default": [{ "type": "insecureAcceptAnything" }] }\n',
      },
      {
        path: 'etc/ssh/sshd_config.d/test-host.conf',
        mode: 0o644,
        text: 'UseDNS no\nPasswordAuthentication yes\nPermitRootLogin no\nPrintMotd no\nMaxStartups 100\n',
      },
      {
        path: 'etc/sudoers.d/test-host',
        mode: 0o440,
        text: `${devUser} ALL=(ALL:ALL) NOPASSWD: ALL\npat ALL=(ALL:ALL) ALL\n`,
      },
      // sudo would warn on stderr that it can't switch core dumps off where CAP_SYS_RESOURCE is missing.
      { path: 'etc/sudo.conf', mode: 0o644, text: 'Set disable_coredump false\n' },
    ] satisfies RecipeFile[] as readonly RecipeFile[],
  },
  workspace: {
    packages: [
      'attr',
      'curl',
      'dtach',
      'git',
      'iproute2',
      'nodejs',
      'openssh-server',
      'postgresql',
      'procps',
      'python3',
      'rsync',
      'screen',
      'tmux',
      'util-linux',
    ],
  },
} as const;

/** A short name for what is made from `parts`. */
export function digest(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

/** Names the host's root that this recipe gives. */
export const hostRootDigest = digest([recipe.suite, recipe.mirror, recipe.host]);

/** Names the workspace tar that this recipe gives. */
export const workspaceTarDigest = digest([recipe.suite, recipe.mirror, recipe.workspace]);

import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import { command, exclusiveBytesOf } from './command.ts';
import { benchDirectory, templateDirectory, type Contestant } from './places.ts';
import { outage, untilAnswer } from './probe.ts';

const name = 'bench-incus';
const snapshot = 'kept';
const bridge = 'bench-incus';
const storage = 'bench';
const address = '10.212.0.5';
const daemon = '/usr/libexec/incus/incusd';
const log = '/var/log/bench-incus.log';
const readySeconds = 60;
const places = {
  /** What the daemon knows; on the pool, for its records are flushed to the disk, as Forkpoint's are. */
  daemon: `${benchDirectory}/incus`,
  /** Its storage. It makes the subvolume itself. */
  pool: `${benchDirectory}/incus-pool`,
} as const;

/** Where the snapshot is. */
const kept = `${places.pool}/containers-snapshots/${name}/${snapshot}`;

const environment = { INCUS_DIR: places.daemon } as const;

/** Comes first on the daemon's PATH, which LXC looks for CRIU on. */
const ownPrograms = `${places.daemon}/bin`;
/**
 * LXC tells CRIU the container's cgroup as CONTROLLERS:PATH, the path without its first slash. Where the cgroup has no
 * controllers, it gives the path alone, which CRIU takes for one in every hierarchy, v1's too, and follows as it is. An
 * empty name before the colon means v2 alone. (v2's root may have a controller, for v1 leaves some out, but hands it
 * down only after a test host with cgroup v2 was booted on the machine.)
 */
const criuScript = `#!/bin/sh
for argument; do
    shift
    case $argument in lxc.payload.*) argument=:/$argument ;; esac
    set -- "$@" "$argument"
done
exec /usr/sbin/criu "$@"
`;

/**
 * Neither Incus nor its LXC knows cgroup v1 any more. So the daemon gets a view of its own: of v2 alone, which there is
 * beside v1, without controllers, and of a part of it that is known to be Incus', for the host has none of its own there.
 * LXC counts from pid 1's cgroup, so the daemon gets pids of its own, too.
 */
const viewScript = `set -eu
[ -e /sys/fs/cgroup/cgroup.procs ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
cd /sys/fs/cgroup
`;
const startScript = `${viewScript}
mkdir -p bench-incus
echo 0 >bench-incus/cgroup.procs
cd /
exec unshare --cgroup --pid --fork --kill-child --mount --mount-proc sh -c '
    set -eu
    while mountpoint -q /sys/fs/cgroup; do umount --recursive /sys/fs/cgroup; done
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    exec catatonit -- "$@"' sh "$@"`;
/** What the daemon leaves dies after it, not with it. */
const endScript = `${viewScript}
for attempt in 1 2 3 4 5 6 7 8 9; do
    [ -e bench-incus ] || exit 0
    find bench-incus -depth -type d -exec rmdir {} + || sleep 0.5
done`;

/**
 * What LXC must be told for a restore to work: to have no console, and to name no AppArmor profile, which it else does
 * where the kernel has no AppArmor, too.
 */
const rawConfiguration = `lxc.init.cmd = /bench/init
lxc.console.path = none
lxc.apparmor.profile =
`;

/** Incus' snapshots, stateful and stateless, of a container with the workspace's files and program. */
export class Incus implements Contestant {
  private readonly ended: Promise<void>;

  private constructor(private readonly serving: ChildProcess) {
    this.ended = new Promise((resolve) => {
      serving.once('close', () => resolve());
      serving.once('error', () => resolve());
    });
  }

  /** Whether it is installed: the bench does that, where it can. */
  static get isThere(): boolean {
    return existsSync(daemon);
  }

  static async start(program: readonly string[]): Promise<Incus> {
    const incus = new Incus(await serve());
    try {
      await command(incusCommand('admin', 'waitready', `--timeout=${readySeconds}`));
      await makeContainer(program);
      await incus.startAnew();
    } catch (error) {
      await incus.end();
      throw error;
    }
    return incus;
  }

  /** A snapshot, a restore over what runs, and one of a container that is down. A failure is counted. */
  round(): Promise<Record<string, number>> {
    return counted(() => this.measure());
  }

  /** A snapshot of the files alone, and a restore over what runs, which Incus starts anew. A failure is counted. */
  statelessRound(): Promise<Record<string, number>> {
    return counted(() => this.measureStateless());
  }

  private async measureStateless(): Promise<Record<string, number>> {
    await this.startAnew();
    const created = await command(incusCommand('snapshot', 'create', name, snapshot));
    const diskBytes = await exclusiveBytesOf(kept);
    const restore = incusCommand('snapshot', 'restore', name, snapshot);
    const { answerMs } = await outage(address, () => command(restore));
    const deleted = await command(incusCommand('snapshot', 'delete', name, snapshot));
    return { create: created.ms, answer: answerMs, delete: deleted.ms, diskBytes };
  }

  private async measure(): Promise<Record<string, number>> {
    await this.startAnew();
    const created = await command(incusCommand('snapshot', 'create', name, snapshot, '--stateful'));
    const diskBytes = await exclusiveBytesOf(kept);

    const restore = incusCommand('snapshot', 'restore', name, snapshot, '--stateful');
    const { answerMs } = await outage(address, () => command(restore));

    await command(incusCommand('stop', '--force', name));
    const started = performance.now();
    const restored = command(restore);
    await untilAnswer(address, restored);
    const downAnswerMs = performance.now() - started;
    await restored;

    const deleted = await command(incusCommand('snapshot', 'delete', name, snapshot));
    return {
      create: created.ms,
      answer: answerMs,
      'down-answer': downAnswerMs,
      delete: deleted.ms,
      diskBytes,
    };
  }

  /** LXC 7.0.0 can't dump a container that it has restored, so each round has one that was started. */
  private async startAnew(): Promise<void> {
    await attempt(incusCommand('stop', '--force', name));
    await attempt(incusCommand('snapshot', 'delete', name, snapshot));
    await command(incusCommand('start', name));
    await untilAnswer(address);
  }

  async end(): Promise<void> {
    await attempt(incusCommand('delete', '--force', name));
    await attempt(incusCommand('storage', 'delete', storage));
    this.serving.kill('SIGKILL');
    await this.ended;
    await attempt(['unshare', '--mount', '--propagation', 'private', 'sh', '-c', endScript]);
    await attempt(['ip', 'link', 'delete', bridge]);
    await rm(places.daemon, { recursive: true, force: true });
  }
}

async function counted(measure: () => Promise<Record<string, number>>): Promise<Record<string, number>> {
  try {
    return { ...(await measure()), failures: 0 };
  } catch (error) {
    process.stderr.write(`Incus: ${error instanceof Error ? error.message : String(error)}\n`);
    return { failures: 1 };
  }
}

/** Starts the daemon, without a pipe of this program's. */
async function serve(): Promise<ChildProcess> {
  await mkdir(ownPrograms, { recursive: true });
  await writeFile(`${ownPrograms}/criu`, criuScript, { mode: 0o755 });
  const output = await open(log, 'w');
  const child = spawn(
    'unshare',
    ['--mount', '--propagation', 'private', 'sh', '-c', startScript, 'sh', daemon],
    {
      ...{ stdio: ['ignore', output.fd, output.fd], detached: true },
      env: { ...process.env, ...environment, PATH: `${ownPrograms}:${process.env['PATH'] ?? ''}` },
    },
  );
  await output.close();
  return child;
}

async function makeContainer(program: readonly string[]): Promise<void> {
  await command(['ip', 'link', 'add', bridge, 'type', 'bridge']);
  await command(['ip', 'addr', 'add', '10.212.0.1/24', 'dev', bridge]);
  await command(['ip', 'link', 'set', bridge, 'up']);
  // The probe asks while nothing is there; without this, its host would look for the address again only once a second.
  await writeFile(`/proc/sys/net/ipv4/neigh/${bridge}/retrans_time_ms`, '10');
  await command(incusCommand('storage', 'create', storage, 'btrfs', `source=${places.pool}`));
  await command([
    ...incusCommand('create', '--empty', name, '--storage', storage, '--no-profiles'),
    ...['--config', 'security.privileged=true', '--config', 'migration.stateful=true'],
    ...['--config', `raw.lxc=${rawConfiguration}`],
  ]);
  await command([
    ...incusCommand('config', 'device', 'add', name, 'eth0', 'nic', 'name=eth0'),
    ...['nictype=bridged', `parent=${bridge}`],
  ]);
  const rootfs = `${places.pool}/containers/${name}/rootfs`;
  await command(['cp', '-a', '--reflink=always', `${templateDirectory}/.`, rootfs]);
  await writeFile(`${rootfs}/bench/init`, initOf(program), { mode: 0o755 });
}

/** The container's first program, which gives it its address and becomes the workload. JSON is Python, too. */
function initOf(program: readonly string[]): string {
  const network = [`addr add ${address}/24 dev eth0`, 'link set eth0 up', 'link set lo up'];
  return [
    '#!/usr/bin/python3',
    'import os, subprocess',
    `for line in ${JSON.stringify(network)}:`,
    '    subprocess.run(["ip", *line.split()], check=True)',
    `argv = ${JSON.stringify(program)}`,
    'os.execvp(argv[0], argv)',
    '',
  ].join('\n');
}

function incusCommand(...args: readonly string[]): string[] {
  return ['env', ...Object.entries(environment).map(([key, value]) => `${key}=${value}`), 'incus', ...args];
}

/** For what may be gone already. */
async function attempt(argv: readonly string[]): Promise<void> {
  await command(argv).catch(() => undefined);
}

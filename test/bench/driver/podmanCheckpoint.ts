import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import * as z from 'zod';
import { bytesOf, command } from './command.ts';
import type { ForkpointContestant } from './forkpoint.ts';
import { benchDirectory, type Contestant } from './places.ts';
import { untilAnswer } from './probe.ts';

const name = 'bench-peer';
const network = 'bench-peer';
/** Fixed: a container that is restored under another address can't have its connections back. */
const address = '10.211.0.5';
const rootfs = `${benchDirectory}/peer`;

const StatisticsSchema = z.object({
  container_statistics: z.tuple([
    z.object({ criu_statistics: z.object({ freezing_time: z.number(), frozen_time: z.number() }) }),
  ]),
});

/** Podman's own `container checkpoint` and `container restore`, on a copy of the workspace. It keeps no files. */
export class PodmanCheckpoint implements Contestant {
  private constructor(private readonly staticDirectory: string) {}

  static async start(
    original: ForkpointContestant,
    program: readonly string[] | null,
  ): Promise<PodmanCheckpoint> {
    await removeLeft();
    const { args } = z
      .object({ process: z.object({ args: z.array(z.string()) }) })
      .transform(({ process }) => process)
      .parse(JSON.parse((await command(['cat', await original.configFile()])).stdout));
    await original.whileStopped(async () => {
      await command(['btrfs', '-q', 'subvolume', 'snapshot', original.rootfs, rootfs]);
    });
    await rm(`${rootfs}/var/lib/postgresql/18/main/postmaster.pid`, { force: true });
    await command(['podman', 'network', 'create', '--ignore', '--subnet', '10.211.0.0/24', network]);
    await command([
      ...['podman', '--runtime', 'runc', 'run', '--detach', '--name', name],
      ...['--network', network, '--ip', address],
      ...(existsSync('/usr/sbin/iptables-restore') ? [] : await withoutIptables()),
      // io_uring, which node would use, can't be dumped.
      ...['--security-opt', 'seccomp=/var/lib/forkpoint/assets/seccomp.json'],
      ...['--rootfs', rootfs, ...(program ?? args.slice(args.indexOf('--') + 1))],
    ]);
    await untilAnswer(address);
    const { stdout } = await command(['podman', 'container', 'inspect', '--format', '{{.StaticDir}}', name]);
    return new PodmanCheckpoint(stdout.trim());
  }

  async round(): Promise<Record<string, number>> {
    const flags = ['--keep', '--tcp-established', '--file-locks'];
    const checkpoint = ['podman', '--runtime', 'runc', 'container', 'checkpoint', ...flags];
    const created = await command([...checkpoint, '--leave-running', '--print-stats', name]);
    const [{ criu_statistics: criu }] = StatisticsSchema.parse(
      JSON.parse(created.stdout),
    ).container_statistics;
    const diskBytes = await bytesOf(`${this.staticDirectory}/checkpoint`);

    const kept = await command([...checkpoint, name]);
    const started = performance.now();
    const restored = command(['podman', '--runtime', 'runc', 'container', 'restore', ...flags, name]);
    restored.catch(() => undefined);
    await untilAnswer(address);
    const answerMs = performance.now() - started;
    await restored;

    const deleteStarted = performance.now();
    await rm(`${this.staticDirectory}/checkpoint`, { recursive: true, force: true });
    return {
      create: created.ms,
      frozen: (criu.freezing_time + criu.frozen_time) / 1000,
      answer: answerMs,
      'safe-answer': kept.ms + answerMs,
      delete: performance.now() - deleteStarted,
      diskBytes,
    };
  }

  async end(): Promise<void> {
    await removeLeft();
  }
}

/** CRIU's default network lock needs iptables. */
async function withoutIptables(): Promise<string[]> {
  const options = `${benchDirectory}/peer.conf`;
  await writeFile(options, 'network-lock nftables\n');
  return ['--annotation', `org.criu.config=${options}`];
}

async function removeLeft(): Promise<void> {
  await command(['podman', 'rm', '--force', '--time', '0', '--ignore', name]);
  await command(['podman', 'network', 'rm', '--force', network]);
  if (existsSync(rootfs)) await command(['btrfs', '-q', 'subvolume', 'delete', rootfs]);
}

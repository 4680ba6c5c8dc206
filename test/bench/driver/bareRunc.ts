import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { bytesOf, command, silently } from './command.ts';
import type { ForkpointContestant } from './forkpoint.ts';
import { benchDirectory, type Contestant } from './places.ts';
import { untilAnswer } from './probe.ts';

const id = 'bare';
const address = '10.210.0.2';
const directory = `${benchDirectory}/bare`;
const places = {
  bundle: `${directory}/bundle`,
  rootfs: `${directory}/rootfs`,
  images: `${directory}/images`,
  work: `${directory}/work`,
  options: `${directory}/criu.conf`,
} as const;
const keepFlags = ['--tcp-established', '--ext-unix-sk', '--file-locks'];
const imageFlags = ['--image-path', places.images, '--work-path', places.work];

const ConfigSchema = z.looseObject({
  root: z.looseObject({ path: z.string() }),
  annotations: z.record(z.string(), z.string()),
  process: z.looseObject({ rlimits: z.unknown() }),
  linux: z.looseObject({
    cgroupsPath: z.string(),
    namespaces: z.array(z.looseObject({ type: z.string(), path: z.string().optional() })),
  }),
  mounts: z.array(z.looseObject({ type: z.string() })),
});

/** How CRIU holds traffic back during a dump: its default needs iptables, which not every host has. */
const locks = { runc: '', 'runc-nftables': 'network-lock nftables\n' } as const;
type Lock = keyof typeof locks;

/**
 * The floor: a copy of the workspace's container, run by runc from the same configuration, checkpointed while its cgroup
 * is frozen already. No files are kept, and nothing of what runs is ended or put aside in its restore.
 */
export class BareRunc implements Contestant {
  private constructor(private readonly hasIptables: boolean) {}

  static async start(original: ForkpointContestant): Promise<BareRunc> {
    await removeLeft();
    await mkdir(places.bundle, { recursive: true });
    const config = ConfigSchema.parse(JSON.parse(await readFile(await original.configFile(), 'utf8')));
    await original.whileStopped(async () => {
      await command(['btrfs', '-q', 'subvolume', 'snapshot', original.rootfs, places.rootfs]);
    });
    // A database in it was stopped with all else, not in order.
    await rm(`${places.rootfs}/var/lib/postgresql/18/main/postmaster.pid`, { force: true });
    await makeNetwork();
    config.root.path = places.rootfs;
    config.annotations = { 'org.criu.config': places.options };
    delete config.process['rlimits'];
    config.linux.cgroupsPath = `/${id}`;
    for (const namespace of config.linux.namespaces)
      if (namespace.type === 'network') namespace.path = `/run/netns/${id}`;
    config.mounts = config.mounts.filter(({ type }) => type !== 'bind');
    await writeFile(`${places.bundle}/config.json`, JSON.stringify(config));
    await silently(['runc', 'run', '--detach', '--bundle', places.bundle, id], () => '');
    await untilAnswer(address);
    return new BareRunc(existsSync('/usr/sbin/iptables-restore'));
  }

  /** Which of the two locks can be measured here. */
  get locks(): Lock[] {
    return this.hasIptables ? ['runc', 'runc-nftables'] : ['runc-nftables'];
  }

  async round(): Promise<Record<string, number>> {
    return this.roundWith(this.hasIptables ? 'runc' : 'runc-nftables');
  }

  /** A dump while frozen, then one that ends the container, and its restore. */
  async roundWith(lock: Lock): Promise<Record<string, number>> {
    await writeFile(places.options, locks[lock]);
    await forgetImages();
    const started = performance.now();
    await freeze(true);
    let frozenMs: number;
    try {
      await runc(['checkpoint', '--leave-running', ...keepFlags, ...imageFlags, id]);
    } finally {
      await freeze(false);
      frozenMs = performance.now() - started;
    }
    const diskBytes = await bytesOf(places.images);

    await forgetImages();
    await runc(['checkpoint', ...keepFlags, ...imageFlags, id]);
    const restoreStarted = performance.now();
    const restored = runc([
      'restore',
      '--detach',
      '--bundle',
      places.bundle,
      ...keepFlags,
      ...imageFlags,
      id,
    ]);
    restored.catch(() => undefined);
    await untilAnswer(address);
    const answerMs = performance.now() - restoreStarted;
    await restored;

    const deleteStarted = performance.now();
    await forgetImages();
    return {
      create: frozenMs,
      frozen: frozenMs,
      answer: answerMs,
      delete: performance.now() - deleteStarted,
      diskBytes,
    };
  }

  async end(): Promise<void> {
    await removeLeft();
  }
}

async function makeNetwork(): Promise<void> {
  for (const line of [
    `netns add ${id}`,
    `link add bare0 type veth peer name eth0 netns ${id}`,
    'addr add 10.210.0.1/30 dev bare0',
    'link set bare0 up',
    `-n ${id} addr add ${address}/30 dev eth0`,
    `-n ${id} link set lo up`,
    `-n ${id} link set eth0 up`,
  ])
    await command(['ip', ...line.split(' ')]);
}

async function removeLeft(): Promise<void> {
  await command(['runc', 'delete', '--force', id]);
  if (existsSync(`/run/netns/${id}`)) await command(['ip', 'netns', 'delete', id]);
  if (existsSync(places.rootfs)) await command(['btrfs', '-q', 'subvolume', 'delete', places.rootfs]);
  await rm(directory, { recursive: true, force: true });
}

/** Freezes or thaws the container through its cgroup, whichever version it has, and waits until the kernel says so. */
async function freeze(isFrozen: boolean): Promise<void> {
  const old = `/sys/fs/cgroup/freezer/${id}/freezer.state`;
  const isOld = existsSync(old);
  await writeFile(
    isOld ? old : `/sys/fs/cgroup/${id}/cgroup.freeze`,
    isOld ? (isFrozen ? 'FROZEN' : 'THAWED') : isFrozen ? '1' : '0',
  );
  const isSo = (): boolean =>
    isOld
      ? readFileSync(old, 'utf8').trim() === (isFrozen ? 'FROZEN' : 'THAWED')
      : readFileSync(`/sys/fs/cgroup/${id}/cgroup.events`, 'utf8').includes(`frozen ${isFrozen ? 1 : 0}`);
  while (!isSo()) await delay(1);
}

async function runc(args: readonly string[]): Promise<void> {
  await silently(['runc', ...args], errorsOfLogs);
}

async function forgetImages(): Promise<void> {
  for (const place of [places.images, places.work]) {
    await rm(place, { recursive: true, force: true });
    await mkdir(place, { recursive: true });
  }
}

function errorsOfLogs(): string {
  return ['dump.log', 'restore.log']
    .map((name) => `${places.work}/${name}`)
    .filter((file) => existsSync(file))
    .flatMap((file) => readFileSync(file, 'utf8').split('\n'))
    .filter((line) => line.includes('Error'))
    .join('\n');
}

import { bytesOf, command } from './command.ts';
import { templateDirectory, type Contestant } from './places.ts';
import { untilAnswer } from './probe.ts';

const image = 'localhost/bench:origin';
const committed = 'localhost/bench:committed';
const origin = 'bench-commit';
const fork = 'bench-commit-fork';
const storage = '/var/lib/containers/storage/overlay';

/** `podman commit`, and `podman run` of what it made: the files of a container, none of its processes or memory. */
export class PodmanCommit implements Contestant {
  private constructor(private readonly program: readonly string[]) {}

  static async start(program: readonly string[]): Promise<PodmanCommit> {
    await removeLeft();
    await command(['sh', '-c', `tar -C ${templateDirectory} -c . | podman import - ${image}`]);
    await run(origin, image, program);
    return new PodmanCommit(program);
  }

  async round(): Promise<Record<string, number>> {
    const bytesBefore = await bytesOf(storage);
    const created = await command(['podman', 'commit', '--quiet', origin, committed]);
    const diskBytes = (await bytesOf(storage)) - bytesBefore;

    let started = performance.now();
    await command(['podman', 'rm', '--force', '--time', '0', origin]);
    await run(origin, committed, this.program);
    const answerMs = performance.now() - started;

    started = performance.now();
    await run(fork, committed, this.program);
    const forkMs = performance.now() - started;
    await command(['podman', 'rm', '--force', '--time', '0', fork, origin]);

    const { ms: deleteMs } = await command(['podman', 'rmi', committed]);
    await run(origin, image, this.program);
    return { create: created.ms, answer: answerMs, fork: forkMs, delete: deleteMs, diskBytes };
  }

  async end(): Promise<void> {
    await removeLeft();
  }
}

/** Runs a container and waits until it answers. */
async function run(name: string, from: string, program: readonly string[]): Promise<void> {
  await command(['podman', '--runtime', 'runc', 'run', '--detach', '--name', name, from, ...program]);
  const { stdout } = await command([
    ...['podman', 'container', 'inspect', '--format', '{{.NetworkSettings.IPAddress}}', name],
  ]);
  await untilAnswer(stdout.trim());
}

async function removeLeft(): Promise<void> {
  await command(['podman', 'rm', '--force', '--time', '0', '--ignore', origin, fork]);
  await command(['podman', 'rmi', '--force', '--ignore', committed, image]);
}

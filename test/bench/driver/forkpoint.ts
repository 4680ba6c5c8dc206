import { setTimeout as delay } from 'node:timers/promises';
import { ForkpointError } from '../../../src/protocol/errors.ts';
import type { ForkSchema, Timing } from '../../../src/protocol/operations.ts';
import type * as z from 'zod';
import type { DaemonClient } from '../../host/daemonClient.ts';
import type { Extent, Workload } from '../order.ts';
import { command, exclusiveBytesOf } from './command.ts';
import { templateDirectory, type Contestant } from './places.ts';
import { longestSilence, outage, untilAnswer } from './probe.ts';

/** Forkpoint, asked as the editor asks it: over a connection that is there. */
export class ForkpointContestant implements Contestant {
  private constructor(
    readonly client: DaemonClient,
    private readonly workload: Workload,
    private readonly extent: Extent,
    readonly address: string,
    readonly rootfs: string,
    readonly id: string,
  ) {}

  /** Makes the workspace, unless it is there, and waits until it answers. */
  static async start(client: DaemonClient, workload: Workload, extent: Extent): Promise<ForkpointContestant> {
    const { name, command: program } = workload;
    if (program !== null)
      await client.call('containers/create', { name, rootfs: templateDirectory, command: [...program] });
    const { id, rootfs, address } = await client.call('containers/show', { container: name });
    await untilAnswer(address);
    return new ForkpointContestant(client, workload, extent, address, rootfs, id);
  }

  /** The container's configuration, as its runtime got it. */
  async configFile(): Promise<string> {
    const { stdout } = await command([
      ...['podman', 'container', 'inspect', '--format', '{{.OCIConfigPath}}'],
      `forkpoint-${this.workload.name}`,
    ]);
    return stdout.trim();
  }

  /** Runs `work` while the workspace is stopped, its files at rest. */
  async whileStopped(work: () => Promise<void>): Promise<void> {
    const container = this.workload.name;
    await this.client.call('containers/stop', { container });
    await work();
    await this.client.call('containers/start', { container });
    await untilAnswer(this.address);
  }

  async round(): Promise<Record<string, number>> {
    const container = this.workload.name;
    const started = performance.now();
    const created = await this.client.call('snapshots/create', { container, mode: 'stateful' });
    const createMs = performance.now() - started;
    const { name, freezeMs } = created.snapshot;
    const diskBytes = await exclusiveBytesOf(`/var/lib/forkpoint/snapshots/${this.id}/${name}`);

    const plain = await this.restore(name, 'none');
    const silence =
      this.workload.memoryMiB > 0
        ? { silence: await longestSilence(this.address, this.extent.watchMs) }
        : undefined;
    const safe = await this.restore(name, 'stateful');
    if (this.workload.memoryMiB > 0) await longestSilence(this.address, this.extent.watchMs);
    const forked = this.workload.isForked ? await this.fork(name) : undefined;

    const deleteMs = await this.deleteOnceRead(name);
    if (safe.result.safety !== null)
      await this.client.call('snapshots/delete', { container, name: safe.result.safety });
    return {
      create: createMs,
      frozen: freezeMs,
      answer: plain.answerMs,
      outage: plain.outageMs,
      'safe-answer': safe.answerMs,
      'safe-outage': safe.outageMs,
      delete: deleteMs,
      diskBytes,
      ...silence,
      ...stepsOf('create', created.timing),
      ...stepsOf('restore', plain.result.timing),
      ...forked,
    };
  }

  private restore(name: string, safety: 'none' | 'stateful') {
    return outage(this.address, () =>
      this.client.call('snapshots/restore', { container: this.workload.name, name, safety }),
    );
  }

  /** Deletes a snapshot as soon as no lazy restore reads from it any more. Answers the time that the deletion took. */
  private async deleteOnceRead(name: string): Promise<number> {
    for (;;) {
      const started = performance.now();
      try {
        await this.client.call('snapshots/delete', { container: this.workload.name, name });
        return performance.now() - started;
      } catch (error) {
        if (!(error instanceof ForkpointError) || error.code !== 'snapshot.inUse') throw error;
        await delay(500);
      }
    }
  }

  private async fork(snapshot: string): Promise<Record<string, number>> {
    const name = `${this.workload.name}-fork`;
    const started = performance.now();
    const made = await forkOf(this.client, { container: this.workload.name, snapshot, name });
    await untilAnswer(made.address);
    const forkMs = performance.now() - started;
    await this.client.call('containers/delete', { container: name, withSnapshots: true });
    return { fork: forkMs, ...stepsOf('copy', made.timing), 'fork-now': await this.forkNow(name) };
  }

  /** Of what runs now: a snapshot is taken for it first. */
  private async forkNow(name: string): Promise<number> {
    const started = performance.now();
    const made = await forkOf(this.client, { container: this.workload.name, name });
    await untilAnswer(made.address);
    const ms = performance.now() - started;
    await this.client.call('containers/delete', { container: name, withSnapshots: true });
    await this.deleteOnceRead(made.snapshot);
    return ms;
  }

  async end(): Promise<void> {
    await this.client.call('containers/delete', { container: this.workload.name, withSnapshots: true });
  }
}

/** Makes one fork, of what runs now unless a snapshot is given; answers its address, and the snapshot that it began as. */
export async function forkOf(
  client: DaemonClient,
  params: { container: string; snapshot?: string; name: string },
): Promise<{ address: string; snapshot: string; timing: Timing }> {
  const [fork]: z.infer<typeof ForkSchema>[] = await client.call('containers/copy', params);
  if (fork?.workspace == null) throw new Error(`${params.name} was not made: ${JSON.stringify(fork?.error)}`);
  return { address: fork.workspace.address, snapshot: fork.origin.snapshot, timing: fork.timing };
}

/** The parts of an operation; one that was done more than once counts as a whole. */
function stepsOf(operation: string, timing: Timing): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { step, ms } of timing) {
    const name = `step:${operation}/${step}`;
    found[name] = (found[name] ?? 0) + ms;
  }
  return found;
}

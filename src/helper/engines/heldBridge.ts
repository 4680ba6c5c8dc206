import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { failureText } from '../host/failureText.ts';
import type { Log } from '../host/log.ts';
import type { Run } from '../host/run.ts';

/** Both ends of the pair of interfaces that holds the bridge; the second is attached to nothing. */
const ENDS = ['forkpoint-hold0', 'forkpoint-hold1'] as const;

/** Above all addresses that are drawn by lot, for a bridge may take the lowest of its ports' (br_stp_if.c, br_stp_recalculate_bridge_id). */
const ADDRESS = 'fe:ff:ff:ff:ff:fe';

/**
 * The bridge of the workspaces' network, held while a container is taken from it and put back. When the last container
 * leaves, the engine removes the bridge and all rules of the network (netavark's src/network/bridge.rs, teardown), only to
 * make them again a moment later; one more port keeps it.
 */
export class HeldBridge {
  private users = 0;
  private last: Promise<unknown> = Promise.resolve();

  /** @param address of the bridge, by which it is known */
  constructor(
    private readonly run: Run,
    private readonly address: string,
    private readonly log: Log,
  ) {}

  /** Holds it, if it is there. Nobody waits for that: without it all takes longer, and is right as well. */
  hold(): void {
    if (this.users++ === 0) this.change(() => this.attach());
  }

  /** Ends what {@link hold} began. */
  release(): void {
    if (--this.users === 0) this.change(() => this.detach());
  }

  /** Removes what a daemon that was killed has left. */
  async recover(): Promise<void> {
    this.change(() => this.detach());
    await this.last;
  }

  /** One change after another, in the order in which they were asked for. */
  private change(work: () => Promise<unknown>): void {
    this.last = this.last
      .then(work)
      .catch((error: unknown) => this.log.debug(`the bridge is not held: ${failureText(error)}`));
  }

  private async attach(): Promise<void> {
    const bridge = this.find();
    if (bridge === null) return;
    const [port, other] = ENDS;
    const pair = ['address', ADDRESS, 'master', bridge, 'type', 'veth', 'peer', 'name', other];
    await this.run('ip', ['link', 'add', port, ...pair]);
  }

  private async detach(): Promise<void> {
    const [port] = ENDS;
    if (existsSync(`/sys/class/net/${port}`)) await this.run('ip', ['link', 'delete', port]);
  }

  private find(): string | null {
    const named = Object.entries(networkInterfaces()).find(([, addresses]) =>
      addresses?.some(({ address }) => address === this.address),
    );
    return named?.[0] ?? null;
  }
}

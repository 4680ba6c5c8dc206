import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { failureText } from '../host/failureText.ts';
import type { Log } from '../host/log.ts';
import type { Run } from '../host/run.ts';
import { WhileAny } from '../host/whileAny.ts';

/** Both ends of the pair of interfaces that holds the bridge: its port, and what that leads to, which leads nowhere. */
const PORT = 'forkpoint-hold0';
const END = 'forkpoint-hold1';

/** Above all addresses that are drawn by lot, for a bridge may take the lowest of its ports' (br_stp_if.c, br_stp_recalculate_bridge_id). */
const ADDRESS = 'fe:ff:ff:ff:ff:fe';

/**
 * The bridge of the workspaces' network, held while a container is taken from it and put back. When the last container
 * leaves, the engine removes the bridge and all rules of the network (netavark's src/network/bridge.rs, teardown), only to
 * make them again a moment later; one more port keeps it, and its carrier.
 */
export class HeldBridge {
  private readonly wanted = new WhileAny(
    () => this.change(() => this.attach()),
    () => this.change(() => this.detach()),
  );
  private last: Promise<unknown> = Promise.resolve();

  /** @param address of the bridge, by which it is known */
  constructor(
    private readonly run: Run,
    private readonly address: string,
    private readonly log: Log,
  ) {}

  /** Holds it while `work` goes on, if it is there. That is not waited for: without it all takes longer, and is right as well. */
  held<T>(work: () => Promise<T>): Promise<T> {
    return this.wanted.during(work);
  }

  /** Removes what is there still: of a daemon that was killed, or of this one at its end. */
  async clear(): Promise<void> {
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
    const commands = [
      `link add ${PORT} address ${ADDRESS} type veth peer name ${END}`,
      `link set ${PORT} master ${bridge}`,
      // Nothing is sent through it, nor answered: the host would answer ARP there, too, with the address of what is gone soon.
      `link set ${PORT} type bridge_slave flood off mcast_flood off bcast_flood off`,
      `link set ${END} arp off`,
      `link set ${END} addrgenmode none`,
      // Up, or the bridge has no carrier without the container: the kernel, which looks at carriers once a second, would drop
      // what is sent through the bridge for up to a second after it has come back (net/core/link_watch.c).
      `link set ${PORT} up`,
      `link set ${END} up`,
    ];
    // "addrgenmode" fails where there is no IPv6, and is not missed then.
    const { stderr } = await this.run('ip', ['-force', '-batch', '-'], {
      input: `${commands.join('\n')}\n`,
      accept: [0, 1, 2],
    });
    const carrier = await readFile(`/sys/class/net/${PORT}/carrier`, 'utf8').catch(() => '');
    if (carrier.trim() !== '1') throw new Error(stderr);
  }

  private async detach(): Promise<void> {
    if (existsSync(`/sys/class/net/${PORT}`)) await this.run('ip', ['link', 'delete', PORT]);
  }

  private find(): string | null {
    const named = Object.entries(networkInterfaces()).find(([, addresses]) =>
      addresses?.some(({ address }) => address === this.address),
    );
    return named?.[0] ?? null;
  }
}

import assert from 'node:assert/strict';
import type { ParamsInput } from '../../../src/protocol/operations.ts';
import type { TestHost } from '../machine/machine.ts';
import { Gate } from './gate.ts';
import { explain, type Order, type Recorded } from './history.ts';
import type { Disturbance, LoadClient } from './loadClient.ts';
import { requireTrueLook, witnessOf, type LookName } from './looks.ts';
import { absent, TAKEN_NAME, type Change, type ChangeName, type Ended, type Outcome } from './model.ts';

/** Snapshots that a workspace is let have before more are deleted than made: the pool is finite. */
const CROWD = 9;
/** Operations that may be under way on one workspace: the orders that are possible grow fast with them. */
const SIDE_BY_SIDE = 6;
/** Aliases that all clients want. */
const ALIASES = ['before', 'after', 'good', 'bad'];

/** A workspace that there is, or was. */
interface Place {
  readonly id: string;
  readonly name: string;
  readonly isFork: boolean;
  readonly gate: Gate;
  readonly history: Recorded<Change>[];
  /** Names of snapshots that clients have heard of. */
  readonly names: Set<string>;
  isGone: boolean;
}

type Parameters<N extends ChangeName | LookName> = Omit<ParamsInput<N>, 'container'>;

/** Sends random operations to the daemon, and keeps what came of them until {@link Traffic.explain}. */
export class Traffic {
  readonly places: Place[] = [];
  readonly #looks: Recorded<Ended<LookName>>[] = [];
  /** How often each operation ended in each way. */
  readonly counts = new Map<string, number>();
  #moment = 0;
  #number = 0;

  /**
   * @param random numbers from 0 to 1
   * @param maximumForks how many there may be at a time
   */
  constructor(
    private readonly host: TestHost,
    private readonly random: () => number,
    private readonly maximumForks: number,
  ) {}

  /** Makes a workspace that stays. */
  async make(client: LoadClient, params: ParamsInput<'containers/create'>): Promise<void> {
    const began = this.#now();
    const made = await client.send('containers/create', params);
    assert.ok(made.kind === 'done', JSON.stringify(made));
    this.#add(made.result, { began, who: client.name, isFork: false });
  }

  /** Lets a client do one thing or another. `others` may send the same at the same time. */
  async step(client: LoadClient, others: readonly LoadClient[]): Promise<void> {
    const place = this.#one(this.places.filter((one) => !one.isGone || this.random() < 0.02));
    if (place.gate.inside >= SIDE_BY_SIDE) return this.#look(client, place);
    const isCrowded = place.names.size >= CROWD;
    const name = this.#reference(place);
    const change = <N extends ChangeName>(operation: N, params: Parameters<N>): Promise<unknown> =>
      place.gate.among(() => this.#disturbed(client, this.#one(others), place, operation, params));
    const choice = this.random() * 100;
    if (choice < 30) return place.gate.among(() => this.#look(client, place));
    if (choice < 46)
      await (isCrowded ? change('snapshots/delete', { name }) : change('snapshots/create', this.#creation()));
    else if (choice < 55) await change('snapshots/alias', { name, alias: this.#maybe(this.#one(ALIASES)) });
    else if (choice < 60) await change('snapshots/note', { name, note: this.#maybe(this.#word('note')) });
    else if (choice < 63) await change('snapshots/expiry', { name, expiry: this.#maybe(1) });
    else if (choice < 65) await change('snapshots/protect', { name });
    else if (choice < 70) await change('snapshots/unprotect', { name });
    else if (choice < 79) await change('snapshots/delete', { name });
    else if (choice < 86)
      await change('snapshots/restore', {
        name,
        safety: this.#one(['auto', 'auto', 'none', 'stateless'] as const),
        cold: this.random() < 0.3,
      });
    else if (choice < 89) await change('containers/start', {});
    else if (choice < 91) await change('containers/stop', { timeout: 0 });
    else if (choice < 95) {
      const forks = this.places.filter(({ isFork, isGone }) => isFork && !isGone);
      if (forks.length < this.maximumForks)
        await change('containers/copy', {
          name: this.random() < 0.1 ? TAKEN_NAME : this.#word('fork'),
          cold: this.random() < 0.3,
          ...(this.random() < 0.7 ? { snapshot: name } : {}),
        });
      else {
        const fork = this.#one(forks);
        await fork.gate.among(() =>
          this.#disturbed(client, this.#one(others), fork, 'containers/delete', {
            withSnapshots: this.random() < 0.7,
          }),
        );
      }
    } else if (!place.isFork) await place.gate.alone(() => this.#thereAndBack(client, place));
  }

  /** Looks at all that is there, with nobody changing anything. */
  async lookAtAll(client: LoadClient): Promise<void> {
    for (const { id } of this.places.filter(({ isGone }) => !isGone)) {
      await this.#take(client, 'containers/show', { container: id });
      await this.#take(client, 'snapshots/list', { container: id });
    }
  }

  /** Finds an order of all that happened, for each workspace, and holds what was seen against it. */
  explain(): ReadonlyMap<string, Order> {
    const orders = new Map(
      this.places.map((place) => {
        const witnesses = this.#looks.flatMap((look) => witnessOf(look, place) ?? []);
        return [place.id, explain(absent, place.history, witnesses)];
      }),
    );
    const idOf = (reference: string): string | undefined =>
      this.places.find(({ id, name }) => id === reference || name === reference)?.id;
    for (const look of this.#looks) requireTrueLook(look, orders, idOf);
    return orders;
  }

  /** Sends one change, and takes note of it. */
  async change<N extends ChangeName>(
    client: LoadClient,
    place: Place,
    operation: N,
    params: Parameters<N>,
    disturbance: Disturbance = {},
    twin: LoadClient | null = null,
  ): Promise<Outcome<N>> {
    // The compiler can't see that what was left out is what is put in.
    const whole = this.#addressed(place, params) as unknown as ParamsInput<N>;
    const began = this.#now();
    const sent = client.send(operation, whole, disturbance);
    if (twin !== null) {
      const [one, other] = await Promise.all([sent, twin.send(operation, whole, disturbance)]);
      assert.deepEqual(other, one, `${operation} was not answered the same to both who asked with one key`);
    }
    const outcome = await sent;
    const isCancelled = disturbance.cancelAfterMs !== undefined;
    // The compiler can't follow that all four go together.
    const what = { operation, params: whole, outcome, isCancelled } as unknown as Ended<ChangeName>;
    place.history.push({ what, who: client.name, began, ended: this.#now() });
    this.#count(operation, outcome);
    this.#learn(place, what, began, client.name);
    return outcome;
  }

  /** The same, from now and then under a cable that is pulled, a second thought, or another who asks for the same. */
  #disturbed<N extends ChangeName>(
    client: LoadClient,
    other: LoadClient,
    place: Place,
    operation: N,
    params: Parameters<N>,
  ): Promise<Outcome<N>> {
    const choice = this.random();
    const afterMs = this.random() * 400;
    const key = this.#word('key');
    if (choice < 0.06) return this.change(client, place, operation, params, { key, cutAfterMs: afterMs });
    if (choice < 0.12) return this.change(client, place, operation, params, { key }, other);
    if (choice < 0.2) return this.change(client, place, operation, params, { cancelAfterMs: afterMs });
    return this.change(client, place, operation, params);
  }

  async #look(client: LoadClient, place: Place): Promise<void> {
    const { container } = this.#addressed(place, {});
    const name = this.#reference(place);
    const choice = this.random();
    if (choice < 0.35) await this.#take(client, 'snapshots/list', { container });
    else if (choice < 0.6) await this.#take(client, 'snapshots/show', { container, name });
    else if (choice < 0.75) await this.#take(client, 'containers/show', { container });
    else if (choice < 0.88) await this.#take(client, 'containers/list', {});
    else await this.#take(client, 'snapshots/preview', { container, name });
  }

  async #take<N extends LookName>(client: LoadClient, operation: N, params: ParamsInput<N>): Promise<void> {
    const began = this.#now();
    const outcome = await client.send(operation, params);
    const what = { operation, params, outcome, isCancelled: false } as unknown as Ended<LookName>;
    this.#looks.push({ what, who: client.name, began, ended: this.#now() });
    this.#count(operation, outcome);
  }

  /** With nobody else at the workspace, files and processes go back and forth as they must. */
  async #thereAndBack(client: LoadClient, place: Place): Promise<void> {
    const file = `/var/lib/forkpoint/workspaces/${place.id}/rootfs/mark`;
    const [one, two] = [this.#word('one'), this.#word('two')];
    const write = (text: string): Promise<string> => this.host.run(['tee', file], { input: text });
    await this.change(client, place, 'containers/start', {});
    await write(one);
    const made = await this.change(client, place, 'snapshots/create', {
      mode: this.#one(['stateful', 'stateless'] as const),
    });
    assert.ok(made.kind === 'done', JSON.stringify(made));
    const { name } = made.result.snapshot;
    await write(two);
    const seen = await client.send('snapshots/preview', { container: place.id, name });
    assert.ok(seen.kind === 'done', JSON.stringify(seen));
    assert.ok(
      seen.result.files?.first.some(({ path }) => path === '/mark'),
      `what a restore would throw away is not told: ${JSON.stringify(seen.result)}`,
    );
    const restored = await this.change(client, place, 'snapshots/restore', {
      name,
      safety: this.#one(['auto', 'stateless'] as const),
    });
    assert.equal(await this.host.run(['cat', file]), one, `${place.name} after a restore`);
    const safety = restored.kind === 'done' ? restored.result.safety : null;
    assert.ok(safety !== null, JSON.stringify(restored));
    await this.change(client, place, 'snapshots/restore', { name: safety, safety: 'none' });
    assert.equal(await this.host.run(['cat', file]), two, `${place.name} after the way back`);
  }

  /** What clients hear of from the answers that they get. */
  #learn(place: Place, { operation, outcome }: Ended<ChangeName>, began: number, who: string): void {
    if (outcome.kind === 'failed') return;
    const { result } = outcome;
    if (operation === 'containers/delete') place.isGone = true;
    if ('snapshot' in result) place.names.add(result.snapshot.name);
    if ('restored' in result && result.safety !== null) place.names.add(result.safety);
    if (operation === 'snapshots/delete' && 'alias' in result) place.names.delete(result.name);
    for (const { workspace, origin } of Array.isArray(result) ? result : []) {
      place.names.add(origin.snapshot);
      if (workspace !== null) this.#add(workspace, { began, who, isFork: true });
    }
  }

  #add(
    { id, name }: { readonly id: string; readonly name: string },
    { began, who, isFork }: { began: number; who: string; isFork: boolean },
  ): void {
    const made = { what: { operation: 'made' as const }, who, began, ended: this.#now() };
    const isGone = false;
    this.places.push({ id, name, isFork, gate: new Gate(), history: [made], names: new Set(), isGone });
  }

  #addressed<P extends object>({ id, name }: Place, params: P): P & { container: string } {
    return { ...params, container: this.random() < 0.5 ? id : name };
  }

  #creation(): Parameters<'snapshots/create'> {
    return {
      mode: this.#one(['stateless', 'stateless', 'stateless', 'auto', 'stateful'] as const),
      ...(this.random() < 0.4 ? { alias: this.#one(ALIASES) } : {}),
      ...(this.random() < 0.3 ? { note: this.#word('note') } : {}),
      ...(this.random() < 0.2 ? { expiry: 2 } : {}),
    };
  }

  /** A name or alias of a snapshot, now and then one that there is not. */
  #reference({ names }: Place): string {
    const choice = this.random();
    if (names.size === 0 || choice < 0.05) return 'nothing';
    return choice < 0.25 ? this.#one(ALIASES) : this.#one([...names]);
  }

  #maybe<T>(value: T): T | null {
    return this.random() < 0.3 ? null : value;
  }

  #one<T>(choices: readonly T[]): T {
    const choice = choices[Math.floor(this.random() * choices.length)];
    assert.ok(choice !== undefined, 'there is nothing to choose from');
    return choice;
  }

  #word(what: string): string {
    return `${what}-${String((this.#number += 1))}`;
  }

  #now(): number {
    return (this.#moment += 1);
  }

  #count(operation: string, outcome: Outcome<ChangeName | LookName>): void {
    const key = `${operation} ${outcome.kind === 'done' ? 'done' : outcome.code}`;
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
  }
}

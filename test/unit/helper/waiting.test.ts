import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Turns } from '../../../src/helper/catalogue/turns.ts';
import { Dispatcher } from '../../../src/helper/doors/dispatcher.ts';
import type { Parts } from '../../../src/helper/service/parts.ts';
import { startWorkspace, stopWorkspace } from '../../../src/helper/service/workspaces.ts';
import { ForkpointError } from '../../../src/protocol/errors.ts';
import { KeptAnswers } from '../../../src/helper/doors/keptAnswers.ts';
import { cleanUp, failureOf, gate, memoryLog, servicesWith, temporaryDirectory } from './daemonHarness.ts';

describe('the deadline of an operation', () => {
  afterEach(cleanUp);

  /** Calls an operation that only ends when it is cancelled, and lets the steps of real ones find that out. */
  function callEndless(deadlineMs: number): Promise<unknown> {
    const services = servicesWith({
      'host/trash': async (_params, { signal }) => {
        await once(signal, 'abort');
        signal.throwIfAborted();
        return [];
      },
    });
    const dispatcher = new Dispatcher({
      findServices: () => Promise.resolve(services),
      log: memoryLog(),
      answers: new KeptAnswers(temporaryDirectory(), memoryLog()),
      deadlineOf: () => deadlineMs,
    });
    return dispatcher.call(
      'host/trash',
      {},
      { signal: new AbortController().signal, progress: () => undefined },
    );
  }

  it('ends it, and the failure says after how long', async () => {
    // The timer alone would not keep this process alive.
    const alive = setTimeout(() => undefined, 10_000);
    const failure = await failureOf(callEndless(20));
    clearTimeout(alive);
    assert.equal(failure.code, 'operation.timedOut');
    assert.deepEqual(failure.args, { operation: 'host/trash', minutes: 0 });
  });
});

describe('turns', () => {
  const never = new AbortController().signal;

  it('tell for how long nobody has had one, or waited for one', async () => {
    const turns = new Turns();
    const held = gate();
    const first = turns.take('a', never, () => held.opened);
    const second = turns.take('a', never, () => Promise.resolve());
    const whileWaiting = turns.idleMs;
    assert.equal(whileWaiting, 0);
    held.open();
    await first;
    await second;
    const since = turns.idleMs;
    assert.ok(since >= 0 && since < 1000);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(turns.idleMs >= since + 15);
  });

  it('are given up at once by who no longer wants one, and the others keep their order', async () => {
    const turns = new Turns();
    const order: string[] = [];
    const first = gate();
    const take = (name: string, signal = never): Promise<void> =>
      turns.take(
        'a',
        signal,
        async () => {
          order.push(name);
          if (name === 'first') await first.opened;
        },
        name,
      );
    const held = take('first');
    const abort = new AbortController();
    const second = take('second', abort.signal);
    abort.abort(new ForkpointError('operation.cancelled'));
    assert.equal((await failureOf(second)).code, 'operation.cancelled');
    // The one that gave up was the last in the queue, and the first still holds its turn.
    const third = take('third');
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(order, ['first']);
    assert.equal(turns.holder('a'), 'first');
    first.open();
    await Promise.all([held, third]);
    assert.deepEqual(order, ['first', 'third']);
    assert.equal(turns.holder('a'), null);
  });

  it('tell when what had a title is over, so that nobody shows it as under way for ever', async () => {
    const ended: string[] = [];
    const turns: Turns = new Turns((key) => ended.push(`${key} ${String(turns.holder(key))}`));
    await turns.take('a', never, () => Promise.resolve(), 'containers/copy');
    await turns.take('b', never, () => Promise.resolve());
    await assert.rejects(
      turns.take('c', never, () => Promise.reject(new Error('broken')), 'containers/copy'),
    );
    assert.deepEqual(ended, ['a null', 'c null']);
  });
});

describe('a cancellation', () => {
  it('that comes before a workspace is started or stopped is no failure of that', async () => {
    const record = { id: 'ws-000000000001', name: 'web', lazy: null };
    for (const [change, state] of [
      [startWorkspace, 'stopped'],
      [stopWorkspace, 'running'],
    ] as const) {
      const cancel = new AbortController();
      const parts = {
        catalogue: { workspace: () => record },
        engine: {
          facts: () => {
            cancel.abort(new ForkpointError('operation.cancelled'));
            return Promise.resolve({ state });
          },
        },
        turns: new Turns(),
        log: memoryLog(),
      } as unknown as Parts;
      const call = { signal: cancel.signal, progress: () => undefined, partial: () => undefined };
      const failure = await failureOf(change(parts, { container: 'web', timeout: 0 }, call));
      assert.equal(failure.code, 'operation.cancelled');
    }
  });
});

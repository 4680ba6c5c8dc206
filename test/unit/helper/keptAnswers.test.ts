import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Dispatcher } from '../../../src/helper/doors/dispatcher.ts';
import { KeptAnswers } from '../../../src/helper/doors/keptAnswers.ts';
import { SnapshotNameSchema } from '../../../src/protocol/names.ts';
import type { Services } from '../../../src/helper/service/services.ts';
import { cleanUp, failureOf, gate, memoryLog, servicesWith, temporaryDirectory } from './daemonHarness.ts';

const aSnapshot = { container: 'web', name: 'before' };
const deleted = { name: SnapshotNameSchema.parse('snap-20260101-000000'), alias: null, timing: [] };

/** A dispatcher that keeps its answers in `directory`, as the daemon's successor does. */
function dispatcherIn(directory: string, services: Partial<Services>): Dispatcher {
  const log = memoryLog();
  const dispatcher = new Dispatcher({
    findServices: () => Promise.resolve(servicesWith(services)),
    log,
    answers: new KeptAnswers(directory, log),
  });
  dispatcher.takeOver();
  return dispatcher;
}

function askerWith(idempotencyKey: string): Parameters<Dispatcher['call']>[2] {
  return { signal: new AbortController().signal, progress: () => undefined, idempotencyKey };
}

describe('a request that is repeated to the next daemon', () => {
  afterEach(cleanUp);

  it('gets the same result, and runs once', async () => {
    const directory = temporaryDirectory();
    let runs = 0;
    const services = { 'snapshots/delete': () => Promise.resolve(((runs += 1), deleted)) };
    await dispatcherIn(directory, services).call('snapshots/delete', aSnapshot, askerWith('k'));
    const next = dispatcherIn(directory, services);
    assert.deepEqual(await next.call('snapshots/delete', aSnapshot, askerWith('k')), deleted);
    assert.equal(runs, 1);
    const other = next.call('snapshots/delete', { ...aSnapshot, name: 'other' }, askerWith('k'));
    assert.equal((await failureOf(other)).code, 'request.keyReused');
  });

  it('gets the same failure', async () => {
    const directory = temporaryDirectory();
    const first = await failureOf(
      dispatcherIn(directory, {}).call('snapshots/delete', aSnapshot, askerWith('k')),
    );
    const next = dispatcherIn(directory, { 'snapshots/delete': () => Promise.resolve(deleted) });
    const again = await failureOf(next.call('snapshots/delete', aSnapshot, askerWith('k')));
    assert.deepEqual(again.toData(), first.toData());
  });

  it('is told that the daemon ended in the middle, and does not run again', async () => {
    const directory = temporaryDirectory();
    const started = gate();
    const first = dispatcherIn(directory, {
      'snapshots/delete': () => (started.open(), new Promise<never>(() => undefined)),
    });
    void first.call('snapshots/delete', aSnapshot, askerWith('k'));
    await started.opened;
    const next = dispatcherIn(directory, { 'snapshots/delete': () => Promise.resolve(deleted) });
    const failure = await failureOf(next.call('snapshots/delete', aSnapshot, askerWith('k')));
    assert.equal(failure.code, 'operation.interrupted');
  });

  it('is kept for root alone, and never what holds a secret', async () => {
    const directory = temporaryDirectory();
    const token = 'fpt_000000000000_secret';
    const dispatcher = dispatcherIn(directory, {
      'api/token/create': () => Promise.resolve({ token } as never),
      'snapshots/delete': () => Promise.resolve(deleted),
    });
    await dispatcher.call('api/token/create', { allContainers: true, may: ['list'] }, askerWith('k'));
    assert.equal(new KeptAnswers(directory, memoryLog()).load().length, 0);
    await dispatcher.call('snapshots/delete', aSnapshot, askerWith('l'));
    const [kept] = new KeptAnswers(directory, memoryLog()).load();
    assert.equal(kept?.key, 'l');
    assert.equal(statSync(directory).mode & 0o777, 0o700);
  });

  it('runs anew where what was kept was cut off', async () => {
    const directory = temporaryDirectory();
    writeFileSync(path.join(directory, `${'0'.repeat(64)}.json`), '{"key": "k", "oper');
    const next = dispatcherIn(directory, { 'snapshots/delete': () => Promise.resolve(deleted) });
    assert.deepEqual(await next.call('snapshots/delete', aSnapshot, askerWith('k')), deleted);
  });

  it('is kept among the last five hundred alone, in memory too', async () => {
    const results: WeakRef<object>[] = [];
    const dispatcher = dispatcherIn(temporaryDirectory(), {
      'snapshots/delete': () => {
        const result = { ...deleted };
        results.push(new WeakRef(result));
        return Promise.resolve(result);
      },
    });
    for (let index = 0; index < 520; index += 1)
      await dispatcher.call('snapshots/delete', aSnapshot, askerWith(String(index)));
    // What was looked at in a turn of the event loop stays until its end.
    await new Promise(setImmediate);
    setFlagsFromString('--expose-gc');
    (runInNewContext('gc') as () => void)();
    const held = results.slice(0, 10).filter((result) => result.deref() !== undefined);
    assert.equal(held.length, 0);
    assert.notEqual(results.at(-1)?.deref(), undefined);
  });
});

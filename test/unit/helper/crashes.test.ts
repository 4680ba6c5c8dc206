import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import * as path from 'node:path';
import { operations, type OperationName } from '../../../src/protocol/operations.ts';

const ONE_RECORD = 'it replaces one file by a rename, which is done or not';

/** What takes the steps of each changing operation; where there are none, why a crash can leave nothing half-made. */
const changing: Partial<
  Record<OperationName, { readonly steps: readonly string[] } | { readonly why: string }>
> = {
  'containers/create': { steps: ['create-workspace'] },
  'containers/start': { steps: ['start'] },
  'containers/stop': { steps: ['stop'] },
  'containers/delete': { steps: ['delete-workspace'] },
  'containers/copy': { steps: ['create', 'copy', 'delete'] },
  'containers/project': { why: ONE_RECORD },
  'containers/promote': { steps: ['promote', 'restore'] },
  'snapshots/create': { steps: ['create'] },
  'snapshots/alias': { why: ONE_RECORD },
  'snapshots/note': { why: ONE_RECORD },
  'snapshots/expiry': { why: ONE_RECORD },
  'snapshots/protect': { why: ONE_RECORD },
  'snapshots/unprotect': { why: ONE_RECORD },
  'snapshots/delete': { steps: ['delete'] },
  'snapshots/restore': { steps: ['restore'] },
  'snapshots/recover': { steps: ['recover-expired'] },
  'host/setup': { steps: ['set-up'] },
  'terminal/open': { why: 'all that it makes are processes inside, which go on without the daemon' },
  'ssh/enable': {
    why: 'it adds a key to a file by a rename, and starts a server inside that the next call finds or starts',
  },
  'api/enable': { why: ONE_RECORD },
  'api/disable': { why: 'it removes one file' },
  'api/token/create': { why: ONE_RECORD },
  'api/token/revoke': { why: ONE_RECORD },
};

/** Names of {@link Steps} that no table of crashes has, and why. */
const untried: Record<string, string> = {
  project: 'it names a change of one record, and takes no step',
};

/** The names by which all of the helper's operations log their steps, and at which they can be made to crash. */
function namesOfSteps(): string[] {
  const sources = readdirSync('src/helper', { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(path.join('src/helper', file), 'utf8'));
  const all = sources.join('\n');
  const given = [...all.matchAll(/new Steps\(\s*([^,\s]+),/g)].map(([, name]) => name ?? '');
  const verbs = [...all.matchAll(/changeState\(parts, [\w.]+, ('[a-z-]+'),/g)].map(([, verb]) => verb ?? '');
  // The one that is given a verb is changeState().
  assert.equal(given.filter((name) => name === 'verb').length, 1);
  const names = [...given.filter((name) => name !== 'verb'), ...verbs];
  for (const name of names) assert.match(name, /^'[a-z-]+'$/, 'a name that is not written out');
  return [...new Set(names.map((name) => name.slice(1, -1)))].sort();
}

/** What the host tests kill the daemon in. */
function namesTried(): string[] {
  const test = readFileSync('test/host/crash.test.ts', 'utf8');
  const setUps = readFileSync('test/host/daemon.test.ts', 'utf8');
  const steps = [...test.matchAll(/eachCrash\(\s*'([a-z-]+)'/g)].map(([, name]) => name ?? '');
  const recoveries = [...test.matchAll(/recovery: '([a-z-]+)'/g)].map(([, name]) => name ?? '');
  const moments = [...test.matchAll(/\['(?:containers|snapshots)\/([a-z-]+): [a-z]+'/g)].map(
    ([, name]) => name ?? '',
  );
  const others = [...setUps.matchAll(/FORKPOINT_CRASH_AT: `([a-z-]+)\/\$\{point\}/g)].map(
    ([, name]) => name ?? '',
  );
  return [...steps, ...recoveries, ...moments, ...others];
}

describe('the crashes of the host tests', () => {
  it('are tried in all that takes steps, or there is a reason why not', () => {
    const tried = new Set([...namesTried(), ...Object.keys(untried)]);
    assert.deepEqual(
      namesOfSteps().filter((name) => !tried.has(name)),
      [],
    );
  });

  it('are tried in every operation that changes something, or there is a reason why not', () => {
    const names = Object.entries(operations).flatMap(([name, { effect }]) =>
      effect === 'reads' ? [] : [name],
    );
    assert.deepEqual(Object.keys(changing).sort(), names.sort());
    const tried = namesTried();
    for (const [operation, one] of Object.entries(changing)) {
      if ('why' in one) continue;
      for (const steps of one.steps) assert.ok(tried.includes(steps), `${operation}: ${steps}`);
    }
  });

  it('are excused for nothing that is gone', () => {
    const names = namesOfSteps();
    assert.deepEqual(
      Object.keys(untried).filter((name) => !names.includes(name)),
      [],
    );
  });
});

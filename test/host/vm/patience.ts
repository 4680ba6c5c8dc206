import type { Context, RootHookObject, Runnable, Suite } from 'mocha';

/** How much more time everything has on a machine whose processor is emulated. */
const TIMES = 8;

/** What mocha's types leave out (its lib/suite.js). */
interface WithHooks {
  getHooks(kind: 'beforeAll' | 'afterAll' | 'beforeEach' | 'afterEach'): readonly Runnable[];
}

/** Loaded by `npm run test:vm`: lengthens the time-outs of all tests and hooks, also those that suites set themselves. */
export const mochaHooks: RootHookObject = {
  beforeAll(this: Context) {
    const suite = this.test?.parent;
    if (suite) lengthen(suite);
  },
};

function lengthen(suite: Suite): void {
  const withHooks = suite as unknown as WithHooks;
  const hooks = (['beforeAll', 'afterAll', 'beforeEach', 'afterEach'] as const).flatMap((kind) =>
    withHooks.getHooks(kind),
  );
  for (const one of [...hooks, ...suite.tests]) {
    const set = one.timeout.bind(one);
    set(set() * TIMES);
    // What a test or hook sets while it runs.
    one.timeout = ((ms?: number) => (ms === undefined ? set() : set(ms * TIMES))) as typeof one.timeout;
  }
  suite.suites.forEach(lengthen);
}

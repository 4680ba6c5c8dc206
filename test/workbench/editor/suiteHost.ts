import { appendFileSync } from 'node:fs';
import { format } from 'node:util';
import Mocha from 'mocha';
import type { SuiteEvent } from './suiteRun.ts';

/** What runs inside the extension host: bundled together with the suite's files, so that it needs nothing there. */
export interface HostedSuite {
  /** Each evaluates one file of the suite. */
  files: readonly (() => Promise<unknown>)[];
  /** Where {@link SuiteEvent}s are appended. */
  events: string;
  /** For each test, in milliseconds. */
  testTimeoutMs: number;
}

/** Runs the suite; rejects unless all its tests pass, which VS Code turns into its exit code. */
export async function runHostedSuite({ files, events, testTimeoutMs }: HostedSuite): Promise<void> {
  const write = (event: SuiteEvent) => appendFileSync(events, `${JSON.stringify(event)}\n`);
  captureConsole((text) => write({ kind: 'console', text }));
  // An `only` or `skip` left behind must not make a suite green.
  const mocha = new Mocha({
    ui: 'bdd',
    timeout: testTimeoutMs,
    forbidOnly: true,
    forbidPending: true,
    reporter: Silent,
  });
  mocha.suite.emit(Mocha.Suite.constants.EVENT_FILE_PRE_REQUIRE, globalThis, '', mocha);
  let passed = 0;
  let failed = 0;
  try {
    for (const evaluate of files) await evaluate();
    await new Promise<void>((resolve) => {
      mocha
        .run(() => resolve())
        .on('pass', (test) => {
          passed++;
          write({ kind: 'pass', title: test.fullTitle(), ms: test.duration ?? 0 });
        })
        .on('fail', (test, error: unknown) => {
          failed++;
          write({ kind: 'fail', title: test.fullTitle(), message: describeError(error) });
        });
    });
    if (passed + failed === 0) throw new Error('The suite holds no tests');
  } catch (error) {
    failed++;
    write({ kind: 'fail', title: 'the suite itself', message: describeError(error) });
  }
  write({ kind: 'end', passed, failed });
  if (failed > 0) throw new Error(`${failed} of ${passed + failed} tests failed`);
}

/**
 * Where VS Code sends this console differs between its kinds, and is mixed with its own log. Its methods
 * can't be replaced one by one there.
 */
function captureConsole(write: (text: string) => void): void {
  const capture = (...args: unknown[]) => write(format(...args));
  globalThis.console = {
    ...globalThis.console,
    log: capture,
    info: capture,
    warn: capture,
    error: capture,
    debug: capture,
  };
}

/** The starting process prints what happens, from the events. */
class Silent extends Mocha.reporters.Base {}

function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const compared =
    'expected' in error && 'actual' in error
      ? `\nexpected: ${JSON.stringify(error.expected)}\nactual:   ${JSON.stringify(error.actual)}`
      : '';
  return `${error.stack ?? error.message}${compared}`;
}

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';

/** What a mocha suite inside an extension host writes, one JSON object per line, for the process that started it. */
export type SuiteEvent =
  | { kind: 'pass'; title: string; ms: number }
  | { kind: 'fail'; title: string; message: string }
  /** What was written to the console of the extension host, by tests or by extensions. */
  | { kind: 'console'; text: string }
  | { kind: 'end'; passed: number; failed: number };

/** How a suite ended. It was green only when `failed` is 0, which a suite without tests is not. */
export interface SuiteResult {
  passed: number;
  failed: number;
  /** Full titles of the failed tests, with what they said. */
  failures: { title: string; message: string }[];
}

/** What is run, whichever VS Code runs it. */
export interface Suite {
  /** Mocha files (bdd), which may import `vscode` and whatever can be bundled. */
  files: readonly string[];
  /** For the whole suite, in milliseconds, the start of the window included; 120,000 unless given. */
  timeoutMs?: number;
  /** For each test, in milliseconds; 30,000 unless given. */
  testTimeoutMs?: number;
  /** Receives the output line by line, as it comes; standard output unless given. */
  output?: (line: string) => void;
}

/** A suite made ready for `extensionDevelopmentPath` and `extensionTestsPath` of VS Code. */
export interface PreparedSuite {
  /** An extension that does nothing: VS Code runs tests only together with one that is under development. */
  developmentPath: string;
  /** The module whose `run()` runs the suite. */
  testsPath: string;
}

/**
 * Bundles a suite and lets `start` run it in some VS Code; `start` resolves when the window says that the tests have
 * ended, with its exit code, and is told by the signal to give up. Rejects on time-out, when the window ends without a
 * result, or when its exit code and the results disagree.
 */
export async function runSuite(
  suite: Suite,
  start: (prepared: PreparedSuite, signal: AbortSignal) => Promise<number>,
): Promise<SuiteResult> {
  const { timeoutMs = 120_000, output = (line) => process.stdout.write(`${line}\n`) } = suite;
  const directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-suite-'));
  const events = new EventFile(path.join(directory, 'events.jsonl'), output);
  const ended = new AbortController();
  try {
    const prepared = await prepare(suite, directory, events.file);
    await events.useSourceMap(prepared.testsPath);
    const timeout = delay(timeoutMs, undefined, { signal: ended.signal }).then(() => {
      throw new Error(
        `The suite has not ended within ${timeoutMs / 1000} s; the last test to end was ${events.lastTest}`,
      );
    });
    timeout.catch(() => undefined);
    const following = events.follow(ended.signal);
    const exitCode = await Promise.race([start(prepared, ended.signal), timeout]);
    ended.abort();
    await following;
    return events.result(exitCode);
  } finally {
    ended.abort();
    await rm(directory, { recursive: true, force: true });
  }
}

async function prepare(suite: Suite, directory: string, events: string): Promise<PreparedSuite> {
  const developmentPath = path.join(directory, 'extension');
  const testsPath = path.join(directory, 'suite.js');
  await mkdir(developmentPath);
  await writeFile(
    path.join(developmentPath, 'package.json'),
    JSON.stringify({
      name: 'suite-host',
      publisher: 'forkpoint-test',
      version: '0.0.0',
      engines: { vscode: '*' },
    }),
  );
  const host = fileURLToPath(new URL('suiteHost.ts', import.meta.url));
  const files = suite.files.map((file) => `() => import(${JSON.stringify(path.resolve(file))})`);
  const options = { events, testTimeoutMs: suite.testTimeoutMs ?? 30_000 };
  await esbuild.build({
    stdin: {
      contents: `import { runHostedSuite } from ${JSON.stringify(host)};
        export const run = () => runHostedSuite({ ...${JSON.stringify(options)}, files: [${files.join(',')}] });`,
      resolveDir: process.cwd(),
    },
    bundle: true,
    platform: 'node',
    // The oldest extension host that the extension supports has Node 20.
    target: 'node20',
    format: 'cjs',
    external: ['vscode'],
    outfile: testsPath,
    sourcemap: 'external',
    logLevel: 'error',
  });
  return { developmentPath, testsPath };
}

/** Follows the events that the suite appends to a file: the one channel that every kind of VS Code has. */
class EventFile {
  lastTest = 'none';
  private toSources = (text: string) => text;
  private read = 0;
  private readonly failures: SuiteResult['failures'] = [];
  private passes = 0;
  private end: Extract<SuiteEvent, { kind: 'end' }> | undefined;

  constructor(
    readonly file: string,
    private readonly output: (line: string) => void,
  ) {}

  /** VS Code has its own idea of stack traces, so Node there doesn't apply the map. */
  async useSourceMap(bundle: string): Promise<void> {
    // esbuild wrote it.
    const map = new SourceMap(JSON.parse(await readFile(`${bundle}.map`, 'utf8')) as SourceMapPayload);
    this.toSources = (text) =>
      text.replaceAll(
        new RegExp(`${bundle.replaceAll('.', '\\.')}:(\\d+):(\\d+)`, 'g'),
        (place, line: string, column: string) => {
          const entry = map.findEntry(Number(line) - 1, Number(column) - 1);
          if (!('originalSource' in entry)) return place;
          const file = path.resolve(path.dirname(bundle), entry.originalSource);
          return `${file}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
        },
      );
  }

  async follow(ended: AbortSignal): Promise<void> {
    while (!ended.aborted) {
      await this.readMore();
      await delay(100, undefined, { signal: ended }).catch(() => undefined);
    }
    await this.readMore();
  }

  result(exitCode: number): SuiteResult {
    const { end, failures, passes } = this;
    if (end === undefined) {
      throw new Error(
        `The extension host ended (exit code ${exitCode}) in the middle of the suite, after ${this.lastTest}`,
      );
    }
    const isConsistent =
      end.passed === passes && end.failed === failures.length && (end.failed === 0) === (exitCode === 0);
    if (!isConsistent) {
      throw new Error(
        `The suite counts ${end.passed} passed and ${end.failed} failed, yet told of ${passes} and ${failures.length}, and VS Code ended with ${exitCode}`,
      );
    }
    return { passed: end.passed, failed: end.failed, failures };
  }

  private async readMore(): Promise<void> {
    const text = await readFile(this.file, 'utf8').catch(() => '');
    const whole = text.slice(this.read, text.lastIndexOf('\n') + 1);
    this.read += whole.length;
    for (const line of whole.split('\n')) {
      // The suite host wrote it, as this very type.
      if (line !== '') this.take(JSON.parse(line) as SuiteEvent);
    }
  }

  private take(event: SuiteEvent): void {
    switch (event.kind) {
      case 'pass':
        this.passes++;
        this.lastTest = `"${event.title}"`;
        this.output(`  ✔ ${event.title} (${event.ms}ms)`);
        break;
      case 'fail': {
        const message = this.toSources(event.message);
        this.failures.push({ title: event.title, message });
        this.lastTest = `"${event.title}"`;
        for (const line of `  ✘ ${event.title}\n${message}`.split('\n')) this.output(line);
        break;
      }
      case 'console':
        for (const line of event.text.split('\n')) this.output(`    ${line}`);
        break;
      case 'end':
        this.end = event;
        this.output(`  ${event.passed} passed, ${event.failed} failed`);
        break;
    }
  }
}

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as z from 'zod';
import { runChecks, type Counts } from './checks.ts';
import { clearAbandonedHosts, endOwnHosts, useOwnHosts } from './ownHosts.ts';
import { repositoryDirectory, runNode, type RunOptions } from './process.ts';

/** What one suite came to. */
interface Outcome extends Counts {
  /** Why it did not run here, for one that need not. */
  readonly notRun?: string;
  /** What is said of it once more at the end of the run, where it is found without a search through all the output. */
  readonly remarks?: readonly string[];
}

/** A suite; what it needs on the machine is installed by its own commands, which say what they do. */
interface Suite {
  readonly name: string;
  readonly run: (signal: AbortSignal) => Promise<Outcome>;
}

const tsx = ['--import', 'tsx'];
const mocha = 'node_modules/mocha/bin/mocha.js';

const suites: readonly Suite[] = [
  { name: 'check', run: runChecks },
  {
    name: 'package',
    run: (signal) => runSteps(signal, 5, [['package.mjs']]),
  },
  { name: 'unit', run: (signal) => runMocha('unit', 10, signal) },
  {
    name: 'host',
    run: (signal) =>
      runAfter([...tsx, 'test/host/machine/cli.ts', 'prepare'], signal, () => runMocha('host', 40, signal)),
  },
  {
    // Whether it runs, not how fast: a part of its short form.
    name: 'bench',
    run: (signal) => runSteps(signal, 5, [[...tsx, 'test/bench/bench.ts', '--quick', '--only', 'a']]),
  },
  {
    name: 'vm',
    run: (signal) =>
      runAfter([...tsx, 'test/host/machine/cli.ts', 'prepare', '--vm'], signal, () =>
        runMocha('vm', 45, signal),
      ),
  },
  {
    name: 'workbench',
    run: (signal) =>
      runAfter([...tsx, 'test/workbench/editor/cli.ts', 'prepare'], signal, () =>
        runMocha('workbench', 30, signal),
      ),
  },
  { name: 'electron', run: runElectron },
];

/** What countingReporter.cjs writes. */
const MochaOutcomeSchema = z.object({
  passed: z.number(),
  failed: z.number(),
  failures: z.array(z.object({ title: z.string(), error: z.string() })),
  files: z.array(z.object({ name: z.string(), milliseconds: z.number() })),
});

/** How many of a suite's files are named as its slowest, and lines of an error are shown. */
const slowestFiles = 5;
const linesOfError = 12;

/** Runs all suites, or those that are named. Gives the exit status: 0 when all that ran has passed. */
async function main(names: readonly string[]): Promise<number> {
  const unknown = names.filter((name) => suites.every((suite) => suite.name !== name));
  if (unknown.length > 0) {
    const known = suites.map(({ name }) => name).join(', ');
    process.stderr.write(`There is no suite "${unknown.join('", "')}"; there are: ${known}\n`);
    return 2;
  }
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());

  await clearAbandonedHosts();
  useOwnHosts();
  const summary: string[] = [];
  const remarks: string[] = [];
  const total = { passed: 0, failed: 0 };
  for (const suite of suites.filter(({ name }) => names.length === 0 || names.includes(name))) {
    process.stdout.write(`\n== ${suite.name}\n`);
    const started = performance.now();
    const outcome = await runOne(suite, interrupted.signal);
    const { passed, failed, notRun } = outcome;
    const minutes = ((performance.now() - started) / 60_000).toFixed(1).padStart(5);
    total.passed += passed;
    total.failed += failed;
    const what = notRun === undefined ? `${passed} passed, ${failed} failed` : `not run: ${notRun}`;
    summary.push(`${suite.name.padEnd(10)} ${minutes} min  ${what}`);
    remarks.push(...(outcome.remarks ?? []).map((remark) => `${suite.name}: ${remark}`));
    if (interrupted.signal.aborted) break;
  }
  process.stdout.write(`\n${[...remarks, ...summary].join('\n')}\n`);
  if (interrupted.signal.aborted) {
    process.stdout.write('The run was ended before its end.\n');
    return 130;
  }
  process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
  return total.failed === 0 ? 0 : 1;
}

/** A suite that could not run has failed, whatever the reason. */
async function runOne(suite: Suite, signal: AbortSignal): Promise<Outcome> {
  try {
    return await suite.run(signal);
  } catch (error) {
    return couldNotRun(error instanceof Error ? error.message : String(error));
  } finally {
    await endOwnHosts();
  }
}

function couldNotRun(reason: string): Outcome & Required<Pick<Outcome, 'remarks'>> {
  process.stdout.write(`  ✘ ${reason}\n`);
  return { passed: 0, failed: 1, remarks: [`✘ ${reason}`] };
}

/** Commands that build something, one after another; each counts. */
async function runSteps(
  signal: AbortSignal,
  minutes: number,
  commands: readonly (readonly string[])[],
): Promise<Outcome> {
  let passed = 0;
  for (const command of commands) {
    const { status } = await runNode(command, { ...lasting(minutes), signal, output: 'show' });
    if (status !== 0) return { ...couldNotRun(`"${command.join(' ')}" ended with ${status}`), passed };
    passed++;
  }
  return { passed, failed: 0 };
}

async function runAfter(
  preparation: readonly string[],
  signal: AbortSignal,
  run: () => Promise<Outcome>,
): Promise<Outcome> {
  const { status } = await runNode(preparation, { ...lasting(20), signal, output: 'show' });
  if (status === 0) return await run();
  return couldNotRun(`The suite could not be prepared: "${preparation.join(' ')}" ended with ${status}.`);
}

async function runMocha(name: string, minutes: number, signal: AbortSignal): Promise<Outcome> {
  const directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-run-'));
  const counts = path.join(directory, 'counts.json');
  try {
    const { status } = await runNode(
      [
        ...[mocha, '--config', `test/${name}/.mocharc.json`],
        ...['--reporter', path.join(repositoryDirectory, 'test/run/countingReporter.cjs')],
        ...['--reporter-option', `counts=${counts}`],
      ],
      { ...lasting(minutes), signal, output: 'show' },
    );
    const text = await readFile(counts, 'utf8').catch(() => undefined);
    if (text === undefined) return couldNotRun(`It ended with ${status} before it had counted its tests.`);
    const { passed, failed, failures, files } = MochaOutcomeSchema.parse(JSON.parse(text));
    if (passed + failed === 0) return couldNotRun('There was no test in it.');
    const slowest = files
      .toSorted((one, other) => other.milliseconds - one.milliseconds)
      .slice(0, slowestFiles);
    const remarks = [
      `slowest: ${slowest.map(({ name, milliseconds }) => `${name} ${Math.round(milliseconds / 1000)} s`).join(', ')}`,
      ...failures.map(({ title, error }) => `✘ ${title}\n${indented(error)}`),
    ];
    if (status === 0 || (typeof status === 'number' && failed > 0)) return { passed, failed, remarks };
    const ended = couldNotRun(`It ended with ${status}.`);
    return { passed, failed: failed + ended.failed, remarks: [...remarks, ...ended.remarks] };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The one suite that need not run: it says by name that it did not. */
async function runElectron(signal: AbortSignal): Promise<Outcome> {
  const { status, output } = await runNode([...tsx, 'test/electron/run.ts'], {
    ...lasting(15),
    signal,
    output: 'tee',
  });
  const notRun = /^electron suite: not run: (.*)$/m.exec(output)?.[1];
  if (status === 0 && notRun !== undefined) return { passed: 0, failed: 0, notRun };
  const counted = /^electron suite: (\d+) passed, (\d+) failed$/m.exec(output);
  if (counted === null) return couldNotRun(`It ended with ${status} before it had counted its tests.`);
  return { passed: Number(counted[1]), failed: Number(counted[2]) };
}

function indented(error: string): string {
  const lines = error.split('\n');
  return lines
    .slice(0, linesOfError)
    .map((line) => `    ${line}`)
    .join('\n');
}

function lasting(minutes: number): Pick<RunOptions, 'timeoutMs'> {
  return { timeoutMs: minutes * 60_000 };
}

process.exitCode = await main(process.argv.slice(2));

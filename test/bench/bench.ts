import { execa } from 'execa';
import { build } from 'esbuild';
import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { createShop } from '../demo/shop.ts';
import { DaemonClient } from '../host/daemonClient.ts';
import { installPrerequisites } from '../host/machine/prerequisites.ts';
import { installPrerequisites as installForEditor } from '../workbench/editor/prerequisites.ts';
import { bootHost, enterOptions, type TestHost } from '../host/machine/machine.ts';
import { workspaceTarInHost } from '../host/machine/recipe.ts';
import { repositoryDirectory, runNode } from '../run/process.ts';
import { measureEditor } from './editor.ts';
import { Figures, MeasuredSchema, type Figure, type Measured } from './figures.ts';
import { listedWorkspace, type Order, type Workload } from './order.ts';
import { render } from './report.ts';
import { judge } from './targets.ts';
import { extentOf, workloads } from './workloads.ts';

const resultsDirectory = path.join(repositoryDirectory, 'test-results');
const ownDirectory = path.join(repositoryDirectory, 'test/bench');

const usage = 'Usage: npm run bench [-- --quick] [--only a,b,c,d,e,host] [--timing]\n';

/** Room for the images of (d) and of ten snapshots of (c); of the machine's disk it takes only what is written. */
const poolSizeBytes = 56 * 2 ** 30;

/**
 * The contenders run on so many processors, so that figures of larger machines are like those of small ones. runc lets what
 * runs in a container have all of them (libcontainer/process_linux.go), for every contender alike.
 */
const pinnedProcessors = 2;

/** Windows that are opened, each with its own connection. */
const editorRounds = 3;

/** One workload has that long; the 300,000 files are copied back and forth. */
const timeoutMs = 45 * 60_000;

/**
 * `npm run bench`: Forkpoint beside what a user might take instead, in one run on one test host. Prints a Markdown
 * report and writes it, with all figures as JSON, to test-results/.
 */
async function main(args: readonly string[]): Promise<number> {
  const parsed = parse(args);
  if (parsed === null) {
    process.stderr.write(usage);
    return 2;
  }
  const { isQuick, only, showsTiming } = parsed;
  const ended = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ended.abort());
  await installPrerequisites({ assumeYes: isQuick });
  const built = await runNode(['esbuild.mjs'], { timeoutMs: 120_000, signal: ended.signal, output: 'show' });
  if (built.status !== 0) throw new Error(`"node esbuild.mjs" ended with ${built.status}.`);

  const measuresEditor = !isQuick && (only === null || only.includes('host'));
  if (measuresEditor) await packageExtension(ended.signal);

  await pin();
  const date = new Date().toISOString().slice(0, 10);
  const loadBefore = os.loadavg()[0] ?? 0;
  const chosen = workloads(isQuick).filter(({ id }) => only === null || only.includes(id));
  const host = await bootHost({ name: 'bench', ifRunning: 'replace', poolSizeBytes });
  try {
    const notRun = isQuick
      ? [
          'Bare runc with its defaults, and Incus: not part of the short form, which installs nothing on the host.',
        ]
      : await installPeers(host, chosen);
    const driver = await bundleDriver();
    const figures: Figure[] = [];
    const program = await readFile(path.join(ownDirectory, 'workload.py'), 'utf8');
    const order = { extent: extentOf(isQuick), program, tar: workspaceTarInHost };
    const machine = await describeMachine(host);
    const measureWithin = async (given: Order): Promise<Figure[]> => {
      const measured = await measure(host, driver, given, ended.signal);
      notRun.push(...measured.notRun);
      return measured.figures;
    };
    const parts = chosen.map((workload) => ({
      name: `(${workload.id}) ${workload.what}`,
      measure: async () => {
        if (workload.command === null) await createShop(host);
        return measureWithin({ ...order, workload });
      },
    }));
    if (only === null || only.includes('host')) {
      parts.push({
        name: 'daemon and connection',
        measure: async () => [
          ...(await measureWithin({ ...order, workload: null })),
          ...(await measureFromOutside(host, order.extent.hostRounds)),
        ],
      });
    }
    if (measuresEditor) parts.push({ name: 'editor', measure: () => measureEditor(host, editorRounds) });

    let report = '';
    let status = 0;
    for (const part of parts) {
      ended.signal.throwIfAborted();
      process.stderr.write(`${part.name}\n`);
      try {
        figures.push(...(await part.measure()));
      } catch (error) {
        ended.signal.throwIfAborted();
        const reason = error instanceof Error ? error.message : String(error);
        process.stderr.write(`${reason}\n`);
        notRun.push(`${part.name}: not measured: ${reason}`);
        status = 1;
      }
      const load: [number, number] = [loadBefore, os.loadavg()[0] ?? 0];
      const circumstances = { date, isQuick, machine, load, notRun };
      report = render(figures, chosen, circumstances);
      // After each part: a run that is ended early leaves what it has.
      await write({ ...circumstances, figures, targets: judge(figures) }, report);
    }
    process.stdout.write(showsTiming ? report : report.replace(/\n## Steps [\s\S]*$/, '\n'));
    return status;
  } finally {
    await host.down();
  }
}

async function write(results: object, report: string): Promise<void> {
  await mkdir(resultsDirectory, { recursive: true });
  await writeFile(path.join(resultsDirectory, 'bench.json'), JSON.stringify(results, undefined, 1));
  await writeFile(path.join(resultsDirectory, 'bench.md'), report);
}

function parse(
  args: readonly string[],
): { isQuick: boolean; only: readonly string[] | null; showsTiming: boolean } | null {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { quick: { type: 'boolean' }, only: { type: 'string' }, timing: { type: 'boolean' } },
    });
    const only = values.only?.split(',') ?? null;
    const known = ['host', ...workloads(false).map(({ id }) => id)];
    if (only?.some((name) => !known.includes(name)) === true) return null;
    return { isQuick: values.quick === true, only, showsTiming: values.timing === true };
  } catch {
    return null;
  }
}

async function packageExtension(signal: AbortSignal): Promise<void> {
  await installForEditor({ assumeYes: false });
  const vsce = ['node_modules/@vscode/vsce/vsce', 'package', '--no-dependencies', '-o', 'forkpoint.vsix'];
  const { status, output } = await runNode(vsce, { timeoutMs: 300_000, signal, output: 'keep' });
  if (status !== 0) throw new Error(`The extension could not be packaged: ${output}`);
}

/** The program that measures, as one file: the host has nothing but Node. */
async function bundleDriver(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [path.join(ownDirectory, 'driver/main.ts')],
    ...{ bundle: true, platform: 'node', format: 'cjs', target: 'node18', write: false },
  });
  return outputFiles[0]?.text ?? '';
}

/** Runs the program in the host; what it says on the way is shown. */
async function measure(host: TestHost, driver: string, order: Order, signal: AbortSignal): Promise<Measured> {
  const [command, ...args] = await host.enterArguments(['node', '-', JSON.stringify(order)]);
  const { stdout, failed } = await execa(command, args, {
    ...enterOptions,
    input: driver,
    stderr: 'inherit',
    timeout: timeoutMs,
    cancelSignal: signal,
    reject: false,
  });
  // What went wrong was shown as it came.
  if (failed) throw new Error(`(${order.workload?.id ?? 'host'}) could not be measured.`);
  return MeasuredSchema.parse(JSON.parse(stdout));
}

/** What a person at another machine notices, and what they download. */
async function measureFromOutside(host: TestHost, rounds: number): Promise<Figure[]> {
  const figures = new Figures('host');
  const dial = [
    'ssh',
    ...host.sshArguments(),
    'sudo',
    '-n',
    '/usr/local/bin/forkpoint',
    'dial-stdio',
  ] as const;
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    const client = await DaemonClient.over(dial);
    await client.call('containers/list', {});
    const snapshots = await client.call('snapshots/list', { container: listedWorkspace });
    const firstTree = performance.now() - started;
    const name = snapshots[0]?.name;
    if (name === undefined) throw new Error('There is no snapshot to show.');
    const roundTrip = await timeOf(() => client.call('snapshots/show', { container: listedWorkspace, name }));
    const list = await timeOf(() => client.call('snapshots/list', { container: listedWorkspace }));
    await client.close();
    figures.add('forkpoint', { firstTree, roundTrip, list });
  }
  const sizeOf = async (file: string): Promise<number> =>
    (await stat(path.join(repositoryDirectory, 'dist', file))).size;
  figures.add('forkpoint', {
    extensionBytes: await sizeOf('extension.js'),
    ssh2Bytes: await sizeOf('ssh2.js'),
    helperBytes: await sizeOf('helper.cjs'),
  });
  return figures.all;
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/**
 * Gives the host iptables, which CRIU's default network lock is made of, and Incus, where it is measured.
 * @returns what is not measured without them
 */
async function installPeers(host: TestHost, chosen: readonly Workload[]): Promise<string[]> {
  if (!existsSync(`/proc/${host.description.pid}/root/etc/apt`)) return [];
  const wanted = [{ what: 'Bare runc with its defaults', packages: ['iptables'] }];
  if (chosen.some(({ peers }) => peers.includes('incus')))
    // "incus" itself would bring what virtual machines need, too.
    wanted.push({ what: 'Incus', packages: ['incus-base', 'incus-client', 'iptables'] });
  const notRun: string[] = [];
  const noLists = await apt(host, ['-o', 'Acquire::Check-Valid-Until=false', 'update']);
  for (const { what, packages } of wanted) {
    const problem = noLists ?? (await apt(host, ['-y', '--no-install-recommends', 'install', ...packages]));
    if (problem !== null) notRun.push(`${what}: not run: it could not be installed: ${problem}`);
  }
  return notRun;
}

/**
 * Runs apt-get in the host, over the machine's network.
 * @returns the end of what went wrong, or null
 */
async function apt(host: TestHost, args: readonly string[]): Promise<string | null> {
  const { exitCode, all } = await execa(
    'nsenter',
    ['--target', String(host.description.pid), '--mount', '--pid', '--', 'apt-get', '-q', ...args],
    {
      ...enterOptions,
      env: { ...enterOptions.env, DEBIAN_FRONTEND: 'noninteractive' },
      all: true,
      reject: false,
      timeout: 300_000,
    },
  );
  return exitCode === 0 ? null : all.slice(-300);
}

/** Keeps this process to the first processors that it may use, and by inheritance the host that it boots (taskset(1)). */
async function pin(): Promise<void> {
  const allowed =
    /^Cpus_allowed_list:\s+(\S+)$/m.exec(await readFile('/proc/self/status', 'utf8'))?.[1] ?? '';
  const processors = allowed.split(',').flatMap((range) => {
    const [first = NaN, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  const list = processors.slice(0, pinnedProcessors).join(',');
  await execa('taskset', ['--all-tasks', '--pid', '--cpu-list', list, String(process.pid)]);
}

async function describeMachine(host: TestHost): Promise<string[]> {
  const version = async (...argv: string[]): Promise<string> =>
    (await host.run(argv)).split('\n')[0]?.replace(/ \(.*/, '') ?? '';
  return [
    `${await version('nproc')} of ${os.cpus().length} x ${os.cpus()[0]?.model.trim() ?? 'unknown processor'}`,
    `${Math.round(os.totalmem() / 2 ** 30)} GiB`,
    `kernel ${os.release().replace(/-.*/, '')}`,
    await version('podman', '--version'),
    await version('runc', '--version'),
    `CRIU ${(await version('criu', '--version')).replace('Version: ', '')}`,
    await version('btrfs', '--version'),
    ...(await incusVersion(host)),
    'test host in namespaces, its pool a btrfs on a loop file',
  ];
}

async function incusVersion(host: TestHost): Promise<string[]> {
  const { exitCode, stdout } = await host.exec(['incus', '--version']);
  return exitCode === 0 ? [`Incus ${stdout.trim()}`] : [];
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});

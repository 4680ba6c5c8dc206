import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as z from 'zod';
import type { ExecResult, TestHost } from '../machine/machine.ts';

/** What {@link SmallWorkspace.look} sees, from outside Forkpoint. */
const SightSchema = z.object({
  /** The engine's word for the container's state, or "missing". */
  engine: z.string(),
  containers: z.number(),
  /** The kernel's word; empty when nothing runs. */
  frozen: z.string(),
  /** Command lines of the processes inside. */
  programs: z.array(z.string()),
  /** Command lines of the host's other processes. */
  others: z.array(z.string()),
  /** Of the firewall, in the workspace's network namespace. */
  tables: z.array(z.string()),
  /** Of the engine, all of them. */
  allContainers: z.number(),
  /** Directories of workspaces in the pool. */
  workspaces: z.number(),
  /** How many named network namespaces the host has. */
  namespaces: z.number(),
  /** What makes a restore or a snapshot quick, and is there only meanwhile: files. */
  haste: z.array(z.string()),
  /** What the programs inside noticed: nothing, while all is well. */
  trouble: z.string(),
  counter: z.number(),
  volumeCounter: z.number(),
  pings: z.number(),
  /** See {@link SmallWorkspace.mark}. */
  mark: z.string(),
  /** Names in the workspace's directory of the pool. */
  files: z.array(z.string()),
  journal: z.array(z.string()),
  trash: z.array(z.string()),
  subvolumes: z.array(z.string()),
  /** Whether both the writer and the pinger went on while it was looked. */
  advances: z.boolean(),
});
export type Sight = z.infer<typeof SightSchema>;

/** What is seen of a workspace that is whole, on a host where nothing is under way. */
const sound = {
  running: { engine: 'running', programs: 4, frozen: 'THAWED', advances: true },
  stopped: { engine: 'exited', programs: 0, frozen: '', advances: false },
} as const;

/** A file beside this one. */
export const ownFile = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const rootfs = '/srv/small';
/** Found before the real one. */
const brokenPodman = '/usr/local/sbin/podman';
const logFile = '/var/log/forkpoint/helper.log';

/** A workspace of a few files, whose programs notice by themselves when their memory and files disagree. */
export class SmallWorkspace {
  constructor(
    readonly host: TestHost,
    readonly name: string,
    readonly id: string,
  ) {}

  /** Makes and starts it. */
  static async create(host: TestHost, name: string, command?: readonly string[]): Promise<SmallWorkspace> {
    await makeRootfs(host);
    const made = await forkpointJson(host, createArguments(name, command));
    return new SmallWorkspace(host, name, z.object({ id: z.string() }).parse(made).id);
  }

  /** Looks at the workspace, and waits until it works and the background has come to rest, for some seconds. */
  async look(wanted: 'running' | 'stopped'): Promise<Sight> {
    const script = readFileSync(ownFile('look.py'), 'utf8');
    return SightSchema.parse(
      JSON.parse(await this.host.run(['python3', '-', this.id, wanted, '15'], { input: script })),
    );
  }

  /** Looks, and requires that the workspace is whole, and that nothing half-done or thrown away is left on the host. */
  async requireSound(wanted: 'running' | 'stopped'): Promise<Sight> {
    const sight = await this.look(wanted);
    const { engine, programs, frozen, advances, trouble, tables, haste, journal, trash } = sight;
    assert.deepEqual(
      { engine, programs: programs.length, frozen, advances, trouble, tables, haste, journal, trash },
      { ...sound[wanted], trouble: '', tables: [], haste: [], journal: [], trash: [] },
    );
    return sight;
  }

  /** Writes a word into a file of the workspace that no program of it writes. */
  async mark(word: string): Promise<void> {
    await this.host.run(['tee', `/var/lib/forkpoint/workspaces/${this.id}/rootfs/mark`], { input: word });
  }
}

/** Arguments that create a small workspace. */
export function createArguments(
  name: string,
  command: readonly string[] = ['/usr/bin/python3', '/app/workload.py'],
): string[] {
  return ['containers', 'create', name, '--rootfs', rootfs, '--volume', 'data:/data', '--', ...command];
}

/** Makes the root file system that small workspaces are made of, once on each host. */
export async function makeRootfs(host: TestHost): Promise<void> {
  const [script, workload, hold] = (['makeRootfs.sh', 'workload.py', 'hold.py'] as const).map((name) =>
    readFileSync(ownFile(name), 'utf8'),
  );
  await host.run(['sh', '-c', script ?? '', 'makeRootfs', rootfs, hold ?? ''], { input: workload ?? '' });
}

/**
 * Runs the command line.
 * @param environment reaches the daemon, too, if this call starts one
 */
export async function forkpoint(
  host: TestHost,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<ExecResult> {
  // The launcher clears the environment.
  const launch =
    'helper=$(grep -o "/[^ ]*/helper.cjs" /usr/local/bin/forkpoint | head -n 1); exec node "$helper" "$@"';
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return host.exec(['env', ...variables, 'sh', '-c', launch, 'forkpoint', ...args]);
}

/** Runs the command line, which must do what it is told, and gives its result. */
export async function forkpointJson(
  host: TestHost,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const { exitCode, stdout, stderr } = await forkpoint(host, asJson(args), environment);
  assert.equal(exitCode, 0, `forkpoint ${args.join(' ')}: ${stderr}\n${stdout}\n${await endOfLog(host)}`);
  return JSON.parse(stdout) as unknown;
}

/** Arguments that have the command line answer, or fail, in JSON; what follows `--` is the workspace's. */
export function asJson(args: readonly string[]): string[] {
  const at = args.indexOf('--');
  return at < 0 ? [...args, '--json'] : [...args.slice(0, at), '--json', ...args.slice(at)];
}

/** The daemon's process, or null when none runs. */
export async function daemonPid(host: TestHost): Promise<number | null> {
  const { stdout } = await host.exec(['pgrep', '-f', '^[^ ]*node [^ ]*/helper\\.cjs daemon( --journal)?$']);
  return stdout === '' ? null : Number(stdout.split('\n')[0]);
}

/** Ends the daemon by SIGKILL, as a crash of the host's memory or an administrator would. */
export async function killDaemon(host: TestHost): Promise<void> {
  const pid = await daemonPid(host);
  if (pid === null) return;
  await host.exec([
    'sh',
    '-c',
    `kill -9 ${String(pid)}; while kill -0 ${String(pid)} 2>/dev/null; do sleep 0.01; done`,
  ]);
}

/** A word of a shell script: the process of the daemon that the log has last. */
export const loggedDaemon =
  "$(sed -n 's/.*daemon [^ ]* started, process \\([0-9]*\\).*/\\1/p' /var/log/forkpoint/helper.log | tail -n 1)";

/** Where {@link provideEndCommands} puts the script that kills the commands of a daemon together with it. */
export const endCommands = '/root/endCommands.py';

export async function provideEndCommands(host: TestHost): Promise<void> {
  await host.run(['tee', endCommands], { input: readFileSync(ownFile('endCommands.py'), 'utf8') });
}

/**
 * From here on it is the command line that starts the host's daemon, so that it gets the environment that {@link forkpoint}
 * is given. Where systemd starts it, its unit gives it another one, and one that was killed is started anew.
 */
export async function withoutUnit(host: TestHost): Promise<void> {
  const unit = '/etc/systemd/system/forkpoint.service';
  const script = `[ ! -e ${unit} ] || { systemctl disable --now forkpoint.service && rm ${unit} && systemctl daemon-reload; }`;
  await host.run(['sh', '-c', script]);
}

/** Starts the daemon with a program of a test's own loaded before it (`node --require`), and waits until it listens. None may run. */
export async function startDaemonWith(host: TestHost, program: string): Promise<void> {
  const file = '/root/preloaded.cjs';
  await host.run(['tee', file], { input: program });
  const script = `
    helper=$(grep -o "/[^ ]*/helper.cjs" /usr/local/bin/forkpoint | head -n 1)
    rm -f /run/forkpoint/forkpoint.sock
    NODE_OPTIONS="--require ${file}" setsid -f node "$helper" daemon </dev/null >/dev/null 2>&1
    until [ -S /run/forkpoint/forkpoint.sock ]; do sleep 0.05; done`;
  await host.run(['sh', '-c', script]);
}

/** Has the engine's service end, which stays for a while after it was last asked. */
export async function endEngineService(host: TestHost): Promise<void> {
  const find = "pgrep -f '^podman system service'";
  await host.run(['sh', '-c', `kill $(${find}) 2>/dev/null; while ${find} > /dev/null; do sleep 0.01; done`]);
}

/** From here on a shell script stands before Podman, until {@link mendPodman}. */
export async function replacePodman(host: TestHost, script: string): Promise<void> {
  await host.run(['sh', '-c', `cat > ${brokenPodman}; chmod 755 ${brokenPodman}`], { input: script });
  await endEngineService(host);
}

/** From here on Podman fails where its arguments are such, and as a service; until {@link mendPodman}. */
export async function breakPodman(host: TestHost, pattern: string): Promise<void> {
  await replacePodman(
    host,
    `#!/bin/sh\ncase "$*" in "system service"*|${pattern}) echo broken >&2; exit 126;; esac\nexec /usr/bin/podman "$@"\n`,
  );
}

export async function mendPodman(host: TestHost): Promise<void> {
  await host.run(['rm', '-f', brokenPodman]);
}

/**
 * Makes the images of a snapshot ones that can't be woken, though they are as its record says: a program that is not there
 * any more, or a fault of CRIU's, looks like that. The daemon is killed, for its successor to read the record.
 */
export async function spoilImage(host: TestHost, snapshotDirectory: string): Promise<void> {
  await killDaemon(host);
  const script = readFileSync(ownFile('spoilImage.py'), 'utf8');
  await host.run(['python3', '-', snapshotDirectory], { input: script });
}

/** How long the daemon's log is, in bytes. */
export async function logLength(host: TestHost): Promise<number> {
  return Number(await host.run(['stat', '-c', '%s', logFile]));
}

/** The daemon's log from a byte on. */
export async function logSince(host: TestHost, offset: number): Promise<string> {
  return host.run(['tail', '-c', `+${String(offset + 1)}`, logFile]);
}

/** Runs a shell script on the host as soon as the daemon's log, from now on, has a text, while `work` goes on; answers what that does. */
export async function whenLogged<T>(
  host: TestHost,
  text: string,
  script: string,
  work: () => Promise<T>,
): Promise<T> {
  const watcher = readFileSync(ownFile('whenLogged.py'), 'utf8');
  const offset = String(await logLength(host));
  const [, result] = await Promise.all([
    host.run(['python3', '-', text, offset, script], { input: watcher }),
    work(),
  ]);
  return result;
}

/** The last lines of the daemon's log, for a failing assertion. */
export async function endOfLog(host: TestHost): Promise<string> {
  return host.run(['tail', '-n', '40', logFile]);
}

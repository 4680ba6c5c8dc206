import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { readFile, readlink, rm, stat, symlink } from 'node:fs/promises';
import * as path from 'node:path';
import * as z from 'zod';
import { ForkpointError } from '../../protocol/errors.ts';
import type { PublishedPort } from '../../protocol/workspace.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import { failureText } from '../host/failureText.ts';
import type { Log } from '../host/log.ts';
import { poll } from '../host/poll.ts';
import { commandLineOf, isRunning } from '../host/processes.ts';
import { replaceFile } from '../host/replaceFile.ts';
import type { Finished, Run, RunOptions } from '../host/run.ts';
import { forgetAddresses, holdsOwnAddress } from './addressRecords.ts';
import { Cgroup } from './cgroup.ts';
import { execArguments, type ExecOptions } from './exec.ts';
import { RUNTIME_ROOT } from './runtimeRoot.ts';
import { exists, nullIfMissing } from '../subvolumes/btrfs.ts';
import type {
  ContainerFacts,
  ContainerPaths,
  ContainerStates,
  Engine,
  ImageSource,
  NamedContainer,
  PlacedContainer,
} from './engine.ts';
import { HeldBridge } from './heldBridge.ts';
import { closeDatabase, findDatabase } from './podmanDatabase.ts';
import { PODMAN_ENVIRONMENT } from './podmanEnvironment.ts';
import { PodmanService } from './podmanService.ts';
import { siblingConfiguration } from './siblingConfiguration.ts';
import type { ContainerIdentity } from './siblingConfiguration.ts';
import { endUnfinishedStart, isUnfinished, macsOfNamespaces } from './unfinishedStart.ts';

/** Network of the workspaces. Addresses are given by us, outside the range of automatic leases (H20). */
const NETWORK = 'forkpoint';
const SUBNET_PREFIX = '10.209';
const BRIDGE_ADDRESS = `${SUBNET_PREFIX}.0.1`;
const AUTOMATIC_RANGE = `${SUBNET_PREFIX}.255.0/24`;
/** First address of the workspaces: lower ones stay free for the bridge and the like. */
const FIRST_HOST_NUMBER = 16;
const LAST_HOST_NUMBER = 254 * 256;

/** Where the init lies in each workspace, see `service/workspaceFiles.ts`. */
export const INIT = '/.forkpoint/init';

/** How long a container may take to be restored: 4 GiB eagerly take seconds, cold disks a minute. */
const RESTORE_TIMEOUT_MS = 600_000;

const InspectedSchema = z.object({
  Id: z.string(),
  State: z.object({
    Status: z.string(),
    Pid: z.int(),
    ConmonPid: z.int().optional(),
    StartedAt: z.string().optional(),
    RestoredAt: z.string().optional(),
  }),
  AppArmorProfile: z.string().default(''),
  StaticDir: z.string(),
  PidFile: z.string(),
  ConmonPidFile: z.string(),
});
const InspectSchema = z.tuple([InspectedSchema]);

const ListSchema = z.array(
  z.object({ Id: z.string(), Names: z.array(z.string()), State: z.string(), Pid: z.int().optional() }),
);

const ImageConfigSchema = z.tuple([
  z.object({
    Config: z.object({
      Env: z.array(z.string()).nullish(),
      Cmd: z.array(z.string()).nullish(),
      Entrypoint: z.array(z.string()).nullish(),
      User: z.string().nullish(),
      WorkingDir: z.string().nullish(),
    }),
  }),
]);

const NO_CONTAINER: ContainerFacts = {
  id: '',
  state: 'missing',
  pid: 0,
  monitorPid: 0,
  awaitsCleanup: false,
  startedAtMs: 0,
  appArmorProfile: '',
  checkpointDirectory: '',
  pidFile: '',
  monitorPidFile: '',
};

/** Podman, run as root: rootless Podman can't checkpoint. Through its command line, and what a restore waits for through its service. */
export class Podman implements Engine {
  /** What was last said of containers, by name: where their files are does not change. */
  private readonly seen = new Map<string, ContainerFacts>();
  /** When the pid file of those that were stopped had been written, by its path. */
  private readonly restingSince = new Map<string, number>();
  private nextAddress = randomInt(LAST_HOST_NUMBER);
  /** The network was there when it was last looked for. */
  private hasNetwork = false;
  /** Where Podman's database is, once it was asked. */
  private database: string | null = null;

  private readonly service: PodmanService;
  private readonly bridge: HeldBridge;

  /**
   * @param runDirectory for its service's socket and what is needed for a moment; root's alone
   * @param startedBy the command that starts containers through another one, if it is to
   */
  constructor(
    private readonly run: Run,
    private readonly log: Log,
    private readonly runDirectory: string,
    private readonly startedBy: () => Promise<readonly string[]>,
  ) {
    const socket = path.join(runDirectory, 'podman.sock');
    this.service = new PodmanService(socket, (args, options) => this.podman(args, options), log);
    this.bridge = new HeldBridge(run, BRIDGE_ADDRESS, log);
  }

  expectRestore(): void {
    void this.service.start();
  }

  whileNetworkIsHeld<T>(work: () => Promise<T>): Promise<T> {
    return this.bridge.held(work);
  }

  async recover(workspaces: readonly WorkspaceRecord[]): Promise<ContainerStates> {
    await this.bridge.clear();
    const listed = await this.list();
    const states = statesOf(listed);
    // They have ended, and Podman was killed before it cleaned up after them, which makes them exited.
    const stopped = listed.filter(({ State }) => State === 'stopped').flatMap(({ Names }) => Names);
    const resting = workspaces.filter(({ engine }) => states.get(engine.container)?.state !== 'running');
    const macs = resting.length === 0 ? [] : await macsOfNamespaces(this.run);
    for (const record of resting) {
      const { name, engine, spec } = record;
      if (!stopped.includes(engine.container) && !macs.includes(spec.mac) && !isUnfinished(engine)) continue;
      this.log.warn(`${name} was being started or stopped; what is left of that is cleared away`);
      await this.endUnfinished(record);
    }
    return states;
  }

  async end(): Promise<void> {
    await Promise.all([this.service.end(), this.bridge.clear()]);
  }

  async chooseRuntime(): Promise<'runc' | 'crun'> {
    for (const runtime of ['runc', 'crun'] as const) {
      const isThere = await this.run(runtime, ['--version']).then(
        () => true,
        () => false,
      );
      if (isThere) return runtime;
    }
    throw new ForkpointError('host.toolMissing', { tool: 'runc', install: 'apt-get install runc' });
  }

  async create(record: WorkspaceRecord, paths: ContainerPaths): Promise<string> {
    await Promise.all([this.hasNetwork ? undefined : this.ensureNetwork(), this.keepEnvironmentSecret()]);
    const id = await this.createInNetwork(record, paths).catch(async (error: unknown) => {
      // Somebody may have removed it since.
      if (await this.networkExists()) throw error;
      await this.ensureNetwork();
      return this.createInNetwork(record, paths);
    });
    await this.noteCreated(record, id);
    return id;
  }

  /** Before a container is made whose environment may hold secrets. */
  private async keepEnvironmentSecret(): Promise<void> {
    this.database ??= await findDatabase(this.run);
    await closeDatabase(this.database);
  }

  /** Remembers a container that was just made, so that the engine need not be asked: its places differ from another's by the id. */
  private async noteCreated(record: NamedContainer, id: string): Promise<void> {
    this.seen.delete(record.engine.container);
    const other = [...this.seen.values()].find((facts) => facts.id !== '');
    if (other === undefined) return;
    const facts: ContainerFacts = {
      ...other,
      id,
      state: 'stopped',
      pid: 0,
      monitorPid: 0,
      awaitsCleanup: false,
      startedAtMs: 0,
      checkpointDirectory: other.checkpointDirectory.replaceAll(other.id, id),
      pidFile: other.pidFile.replaceAll(other.id, id),
      monitorPidFile: other.monitorPidFile.replaceAll(other.id, id),
    };
    if (!(await exists(path.dirname(facts.checkpointDirectory)))) return;
    this.seen.set(record.engine.container, facts);
    this.restingSince.set(facts.pidFile, await writtenAt(facts.pidFile));
  }

  private async createInNetwork(record: WorkspaceRecord, paths: ContainerPaths): Promise<string> {
    const { spec } = record;
    const environment = podmanEnvironment(spec.env);
    const command = spec.command.length > 0 ? ['--', ...spec.command] : ['-P'];
    const { stdout } = await this.podman(
      [
        '--runtime',
        record.engine.runtime,
        'create',
        // One of that name is one that Podman has lost, see facts().
        '--replace',
        '--name',
        record.engine.container,
        '--hostname',
        spec.hostname,
        '--label',
        `forkpoint.workspace=${record.id}`,
        '--network',
        NETWORK,
        '--ip',
        spec.address,
        '--mac-address',
        spec.mac,
        // A /dev/shm of its own, which CRIU dumps; Podman's would be a mount from outside (H7).
        '--ipc=none',
        '--tmpfs',
        `/dev/shm:rw,nosuid,nodev,mode=1777,size=${String(spec.shmBytes)}`,
        // These files live in the rootfs, so that snapshots hold a user's edits (H27).
        '--no-hosts',
        '--no-hostname',
        '--dns=none',
        // Nothing but us starts, restarts or judges it (H15).
        '--restart=no',
        '--no-healthcheck',
        '--security-opt',
        `seccomp=${paths.seccompProfile}`,
        '--annotation',
        `org.criu.config=${paths.optionFile}`,
        ...paths.volumes.flatMap((volume) => ['--volume', `${volume.hostPath}:${volume.path}`]),
        ...spec.published.flatMap((port) => ['--publish', publishArgument(port)]),
        ...environment.args.flatMap((argument) => ['--env', argument]),
        ...(spec.user === '' ? [] : ['--user', spec.user]),
        ...(spec.workingDirectory === '' ? [] : ['--workdir', spec.workingDirectory]),
        '--entrypoint',
        JSON.stringify([INIT]),
        '--rootfs',
        paths.rootfs,
        ...command,
      ],
      { hide: [...spec.command, ...environment.args], env: environment.inherited },
    );
    return stdout.trim();
  }

  async start(record: WorkspaceRecord): Promise<void> {
    const [command, ...args] = [...(await this.startedBy()), 'podman', 'start', record.engine.container];
    await this.bringUp(record, () => this.run(command, args, { env: PODMAN_ENVIRONMENT }));
  }

  /** Leaves nothing of an attempt that failed; makes another where an earlier one is all that stands in the way. */
  private async bringUp(record: WorkspaceRecord, attempt: () => Promise<unknown>): Promise<void> {
    const attemptCleanly = async (): Promise<void> => {
      try {
        await attempt();
      } catch (error) {
        await this.endUnfinished(record);
        throw error;
      }
    };
    try {
      await attemptCleanly();
    } catch (error) {
      if (!holdsOwnAddress(error, record.engine.id)) throw error;
      this.log.warn(`Podman was killed as it started ${record.name}: it is told that the address is free`);
      await forgetAddresses((args) => this.podman(args), NETWORK, this.runDirectory);
      await attemptCleanly();
    }
  }

  private async endUnfinished({ name, engine, spec }: WorkspaceRecord): Promise<void> {
    const container = { id: engine.id, runtime: engine.runtime, mac: spec.mac };
    await endUnfinishedStart(this.run, (args) => this.podman(args), container).catch((problem: unknown) =>
      this.log.error(`what is left of a start of ${name}: ${failureText(problem)}`),
    );
  }

  async stop(record: WorkspaceRecord, timeoutSeconds: number): Promise<void> {
    const before = await this.facts(record);
    await this.podman(['stop', '--time', String(Math.round(timeoutSeconds)), record.engine.container], {
      timeoutMs: (timeoutSeconds + 60) * 1000,
    });
    await this.settled(record, before);
  }

  async remove(record: NamedContainer): Promise<void> {
    // `rm` would follow no link, but a stale one must not outlive the images it leads to.
    const facts = await this.facts(record);
    if (facts.state !== 'missing') await rm(facts.checkpointDirectory, { force: true, recursive: true });
    await this.podman(['rm', '--force', '--time', '0', '--ignore', record.engine.container], {
      timeoutMs: 120_000,
    });
  }

  async facts(record: NamedContainer): Promise<ContainerFacts> {
    const container = await this.inspect(record.engine.container);
    if (container === null) return NO_CONTAINER;
    // Once Podman has read of its end, it no longer tells the monitor that waits for the cleanup (libpod/container_internal.go, checkExitFile).
    const awaitsCleanup = container.State.Status === 'stopped';
    const monitorPid = awaitsCleanup
      ? await monitorIn(container.ConmonPidFile, container.Id)
      : (container.State.ConmonPid ?? 0);
    const believesRunning = isRunningState(container.State.Status);
    const isAlive = believesRunning && isRunning(container.State.Pid);
    // Its monitor was killed with it, so Podman never heard of its end: it neither starts nor restores it any more.
    const isLost = believesRunning && !isAlive && !isRunning(monitorPid);
    if (isLost) return NO_CONTAINER;
    const facts: ContainerFacts = {
      id: container.Id,
      state: isAlive ? 'running' : 'stopped',
      pid: isAlive ? container.State.Pid : 0,
      monitorPid,
      awaitsCleanup,
      startedAtMs: Math.max(
        0,
        ...[container.State.StartedAt, container.State.RestoredAt].map((at) => Date.parse(at ?? '') || 0),
      ),
      appArmorProfile: container.AppArmorProfile,
      checkpointDirectory: path.join(container.StaticDir, 'checkpoint'),
      pidFile: container.PidFile,
      monitorPidFile: container.ConmonPidFile,
    };
    this.seen.set(record.engine.container, facts);
    if (!isAlive) this.restingSince.set(container.PidFile, await writtenAt(container.PidFile));
    return facts;
  }

  /** What Podman says of a container; null when it has none of that name. */
  private async inspect(name: string): Promise<z.infer<typeof InspectedSchema> | null> {
    // It fails for a container that goes between two of its looks, at the name and at the id; the command is asked then.
    const accepted = [200, 404, 500];
    const answer = await this.service.ask('GET', `/containers/${encodeURIComponent(name)}/json`, accepted);
    if (answer?.status === 404) return null;
    if (answer?.status === 200) return InspectedSchema.parse(JSON.parse(answer.body));
    const { stdout, exitCode, stderr } = await this.podman(['container', 'inspect', name], {
      accept: [0, 125],
    });
    if (exitCode === 0) return InspectSchema.parse(JSON.parse(stdout))[0];
    if (/no such container/i.test(stderr)) return null;
    throw new ForkpointError(
      'command.failed',
      { command: 'podman container inspect', status: 'exit 125' },
      { detail: stderr },
    );
  }

  async factsQuickly(record: NamedContainer): Promise<ContainerFacts> {
    const before = this.seen.get(record.engine.container);
    if (before === undefined) return this.facts(record);
    if (before.state === 'stopped') return (await this.isAtRest(before)) ? before : this.facts(record);
    const { startedAtMs } = before;
    return { ...(await this.factsAwake(record, before)), startedAtMs };
  }

  async factsAwake(record: NamedContainer, before: ContainerFacts): Promise<ContainerFacts> {
    const [pid, monitorPid] = await Promise.all([readPid(before.pidFile), readPid(before.monitorPidFile)]);
    // One that has ended already, or whose file is not where it was.
    if (before.id === '' || pid === 0 || monitorPid === 0 || Cgroup.find(pid, before.id) === null)
      return this.facts(record);
    return { ...before, state: 'running', pid, monitorPid, awaitsCleanup: false, startedAtMs: Date.now() };
  }

  /** Whether a container that was stopped is there, and nobody has started it since: that writes its pid file anew. */
  private async isAtRest({ id, checkpointDirectory, pidFile }: ContainerFacts): Promise<boolean> {
    if (!(await exists(path.dirname(checkpointDirectory)))) return false;
    if ((await writtenAt(pidFile)) !== this.restingSince.get(pidFile)) return false;
    // It may have been started just before that was noted.
    const pid = await readPid(pidFile);
    return pid === 0 || Cgroup.find(pid, id) === null;
  }

  async states(): Promise<ContainerStates> {
    return statesOf(await this.list());
  }

  private async list(): Promise<z.infer<typeof ListSchema>> {
    const { stdout } = await this.podman([
      'ps',
      '--all',
      '--filter',
      'label=forkpoint.workspace',
      '--format',
      'json',
    ]);
    return ListSchema.parse(JSON.parse(stdout));
  }

  async restore(record: WorkspaceRecord): Promise<void> {
    await this.bringUp(record, () => this.wake(record));
  }

  private async wake(record: WorkspaceRecord): Promise<void> {
    const { runtime, container } = record.engine;
    await this.service.start();
    const answer = await this.service.ask(
      'POST',
      `/containers/${encodeURIComponent(container)}/restore?keep=true&tcpEstablished=true&fileLocks=true`,
      [200],
      RESTORE_TIMEOUT_MS,
    );
    if (answer !== null) return;
    const options = ['--keep', '--tcp-established', '--file-locks'];
    await this.podman(['--runtime', runtime, 'container', 'restore', ...options, container], {
      timeoutMs: RESTORE_TIMEOUT_MS,
    });
  }

  async exec(
    record: NamedContainer,
    options: ExecOptions,
    argv: readonly string[],
    runOptions: RunOptions = {},
  ): Promise<Finished> {
    return this.podman(execArguments(record.engine, options, argv), runOptions);
  }

  async prepareLike(own: PlacedContainer, sibling: PlacedContainer): Promise<boolean> {
    const [facts, like] = await Promise.all([
      this.factsQuickly(own.record),
      this.factsQuickly(sibling.record),
    ]);
    if (facts.state === 'missing' || like.state === 'missing') return false;
    const text = await readFile(configurationOf(like), 'utf8').catch(nullIfMissing);
    if (text === null) return false;
    const identityOf = (
      { record, directory }: PlacedContainer,
      { id }: ContainerFacts,
    ): ContainerIdentity => ({
      ...{ id, directory },
      hostname: record.spec.hostname,
    });
    const configuration = siblingConfiguration(text, identityOf(sibling, like), identityOf(own, facts));
    await replaceFile(configurationOf(facts), configuration, 0o600);
    return true;
  }

  async prepareForRestore(record: WorkspaceRecord): Promise<void> {
    // Podman restores only what has a config.json, which `init` writes, and is Exited, which `stop` makes it.
    await this.podman(['init', record.engine.container]);
    await this.podman(['stop', '--time', '0', record.engine.container]);
  }

  async settled(record: WorkspaceRecord, before: ContainerFacts): Promise<void> {
    if (before.pid !== 0 && isRunning(before.monitorPid)) await this.forgetInRuntime(record, before);
    // conmon waits for the cleanup that it starts, so its end tells that all is done.
    const isDone =
      before.monitorPid === 0 ||
      (await poll(() => !isRunning(before.monitorPid), { everyMs: 1, timeoutMs: 30_000 }));
    if (isDone && !before.awaitsCleanup) return;
    const after = await this.facts(record);
    if (after.state === 'running')
      throw new ForkpointError('workspace.notStopped', { workspace: record.name });
    // The monitor or the cleanup was killed, and nobody else will do it.
    if (after.awaitsCleanup) await this.endUnfinished(record);
  }

  /**
   * Has the runtime forget a container whose processes were killed, while the engine's cleanup is still on its way to that:
   * its `runc delete --force` sleeps for 100 ms where there is something to delete (runc's delete.go, killContainer).
   */
  private async forgetInRuntime(record: WorkspaceRecord, { id, pid }: ContainerFacts): Promise<void> {
    const { runtime } = record.engine;
    if (runtime !== 'runc') return;
    const hasEnded = await poll(() => !isRunning(pid), { everyMs: 1, timeoutMs: 5_000 });
    // Whoever comes second finds nothing, which is no harm.
    if (hasEnded)
      await this.run(runtime, ['--root', RUNTIME_ROOT[runtime], 'delete', id], { accept: [0, 1] });
  }

  async withImage<T>(reference: string, use: (image: ImageSource) => Promise<T>): Promise<T> {
    const { stdout: json } = await this.podman(['image', 'inspect', '--', reference]).catch(
      (error: unknown) => {
        throw new ForkpointError(
          'source.invalid',
          { source: reference, problem: "it is not in Podman's local storage" },
          { cause: error, detail: ForkpointError.from(error).detail },
        );
      },
    );
    const [{ Config: config }] = ImageConfigSchema.parse(JSON.parse(json));
    const { stdout } = await this.podman(['image', 'mount', '--', reference]);
    try {
      return await use({
        directory: stdout.trim(),
        command: [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])],
        env: Object.fromEntries((config.Env ?? []).map((entry) => splitOnce(entry, '='))),
        user: config.User ?? '',
        workingDirectory: config.WorkingDir ?? '',
      });
    } finally {
      await this.podman(['image', 'unmount', '--', reference]);
    }
  }

  /** In turn, from anywhere on: whoever knew the last who had an address sends to a machine that is gone, for seconds (arp(7)). */
  freeAddress(taken: readonly string[]): Promise<string> {
    const count = LAST_HOST_NUMBER - FIRST_HOST_NUMBER;
    for (let tries = 0; tries < count; tries++) {
      const number = FIRST_HOST_NUMBER + (this.nextAddress++ % count);
      const address = `${SUBNET_PREFIX}.${String(number >> 8)}.${String(number & 255)}`;
      if ((number & 255) !== 0 && (number & 255) !== 255 && !taken.includes(address))
        return Promise.resolve(address);
    }
    throw new ForkpointError('internal', { problem: 'the network of the workspaces has no free address' });
  }

  async firstTakenPort(ports: readonly PublishedPort[]): Promise<PublishedPort | null> {
    for (const port of ports) {
      if (!(await canBind(port))) return port;
    }
    return null;
  }

  private async networkExists(): Promise<boolean> {
    const { exitCode } = await this.podman(['network', 'exists', NETWORK], { accept: [0, 1] });
    this.hasNetwork = exitCode === 0;
    return this.hasNetwork;
  }

  private async ensureNetwork(): Promise<void> {
    if (await this.networkExists()) return;
    await this.podman([
      'network',
      'create',
      '--ignore',
      '--subnet',
      `${SUBNET_PREFIX}.0.0/16`,
      '--ip-range',
      AUTOMATIC_RANGE,
      '--disable-dns',
      NETWORK,
    ]);
    this.hasNetwork = true;
  }

  private podman(args: readonly string[], options: RunOptions = {}): ReturnType<Run> {
    return this.run('podman', args, { ...options, env: { ...options.env, ...PODMAN_ENVIRONMENT } });
  }
}

/** Variables that Podman, or what it starts, reads for itself (podman(1), ld.so(8), Go's runtime). */
const READ_BY_PODMAN =
  /^(?:PATH|HOME|USER|SHELL|TERM|TZ|TMPDIR|LANG|NOTIFY_SOCKET|REGISTRY_AUTH_FILE|STORAGE_(?:DRIVER|OPTS)|DOCKER_(?:HOST|CONFIG)|GO(?:DEBUG|GC|MAXPROCS|MEMLIMIT|TRACEBACK)|(?:LC|LD|XDG|DBUS|LISTEN|PODMAN|BUILDAH|_?CONTAINERS?)_.*)$/;

/**
 * How `podman create` gets the variables of a workspace. Arguments can be read by every user of the host while it runs,
 * its environment by root alone (proc(5)): the values, which may be secrets, come from there, but for those that would
 * change what Podman itself does.
 */
export function podmanEnvironment(env: Readonly<Record<string, string>>): {
  readonly args: readonly string[];
  readonly inherited: Readonly<Record<string, string>>;
} {
  const args: string[] = [];
  const inherited: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    // Podman takes a name with a star for a pattern.
    if (READ_BY_PODMAN.test(name) || !/^\w+$/.test(name)) args.push(`${name}=${value}`);
    else {
      args.push(name);
      inherited[name] = value;
    }
  }
  return { args, inherited };
}

/** The OCI configuration of a container; the engine writes it at each start, and reads it at a restore. */
export function configurationOf({ checkpointDirectory }: ContainerFacts): string {
  return path.join(path.dirname(checkpointDirectory), 'config.json');
}

/** When a file was last written, in milliseconds since the epoch; 0 where there is none. */
async function writtenAt(file: string): Promise<number> {
  return stat(file).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
}

/** The process id in a file; 0 where there is none. */
async function readPid(file: string): Promise<number> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return /^\d+\s*$/.test(text) ? Number(text) : 0;
}

/** The engine's monitor of a container whose id is in a file; 0 where that has ended, and its id is another's or nobody's. */
async function monitorIn(pidFile: string, id: string): Promise<number> {
  const pid = await readPid(pidFile);
  return commandLineOf(pid).includes(id) ? pid : 0;
}

/** Lets the engine find the images at `directory`: a link costs nothing, and `podman rm` removes the link alone. */
export async function linkImages(checkpointDirectory: string, directory: string): Promise<void> {
  if ((await readlink(checkpointDirectory).catch(() => null)) === directory) return;
  await rm(checkpointDirectory, { force: true, recursive: true });
  await symlink(directory, checkpointDirectory);
}

function statesOf(listed: z.infer<typeof ListSchema>): ContainerStates {
  return new Map(
    listed.flatMap(({ Id: id, Names: names, State: state, Pid: pid = 0 }) => {
      const facts =
        isRunningState(state) && isRunning(pid)
          ? ({ id, state: 'running', pid } as const)
          : ({ id, state: 'stopped', pid: 0 } as const);
      return names.map((name) => [name, facts] as const);
    }),
  );
}

function isRunningState(state: string): boolean {
  return state === 'running' || state === 'paused' || state === 'stopping';
}

function publishArgument({ ip, hostPort, containerPort }: PublishedPort): string {
  return `${ip.includes(':') ? `[${ip}]` : ip}:${String(hostPort)}:${String(containerPort)}`;
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function canBind({ ip, hostPort }: PublishedPort): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: ip, port: hostPort, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

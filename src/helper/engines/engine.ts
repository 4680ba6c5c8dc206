import type { WorkspaceRecord } from '../catalogue/records.ts';
import type { PublishedPort } from '../../protocol/workspace.ts';
import type { WorkspaceState } from '../../protocol/workspaceState.ts';
import type { Finished, RunOptions } from '../host/run.ts';
import type { ExecOptions } from './exec.ts';

/** What the engine knows of a workspace's container. */
export interface ContainerFacts {
  readonly id: string;
  readonly state: Exclude<WorkspaceState, 'frozen'>;
  /** Its first process on the host; 0 when it does not run. */
  readonly pid: number;
  /** The engine's monitor of the container; 0 when there is none. When it ends, the engine has cleaned up (H15). */
  readonly monitorPid: number;
  /** It has ended, and the engine has yet to clean up after it; until then the engine restores nothing into it. */
  readonly awaitsCleanup: boolean;
  /** When it was last started or restored, in milliseconds since 1970; 0 for never. */
  readonly startedAtMs: number;
  /** The AppArmor profile that its processes run under; empty for none. */
  readonly appArmorProfile: string;
  /** Where the engine looks for the images of a restore. */
  readonly checkpointDirectory: string;
  /** Files into which the engine's monitor writes the ids of the first process and of itself. */
  readonly pidFile: string;
  readonly monitorPidFile: string;
}

/** All that is needed to find a workspace's container. */
export interface NamedContainer {
  readonly engine: Pick<WorkspaceRecord['engine'], 'container'>;
}

/** A container, and the directory of its workspace. */
export interface PlacedContainer {
  readonly record: WorkspaceRecord;
  readonly directory: string;
}

/** What an image says about how to run it. */
export interface ImageSource {
  /** Where its files are while {@link Engine.withImage} runs. */
  readonly directory: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
  readonly workingDirectory: string;
}

/** Paths that a container is made with, beside its record. */
export interface ContainerPaths {
  readonly rootfs: string;
  readonly volumes: readonly { hostPath: string; path: string }[];
  readonly optionFile: string;
  readonly seccompProfile: string;
}

/** What is known of containers without asking for each, by name. */
export type ContainerStates = ReadonlyMap<
  string,
  { readonly id: string; readonly state: ContainerFacts['state']; readonly pid: number }
>;

/** A container engine: the only part that knows its program. */
export interface Engine {
  /** Which OCI runtime containers will be made with. */
  chooseRuntime(): Promise<WorkspaceRecord['engine']['runtime']>;
  /** Makes the container, not started. Answers the engine's id. Rejected with `port.taken` or `command.failed`. */
  create(record: WorkspaceRecord, paths: ContainerPaths): Promise<string>;
  start(record: WorkspaceRecord): Promise<void>;
  /** Asks its main process to end, kills it after `timeoutSeconds`; done when the engine has cleaned up. */
  stop(record: WorkspaceRecord, timeoutSeconds: number): Promise<void>;
  /** Removes the container, not the files of the workspace. A missing one is no error. */
  remove(record: NamedContainer): Promise<void>;
  facts(record: NamedContainer): Promise<ContainerFacts>;
  /** What {@link facts} answers, without starting the engine's program where the container was seen before and nobody else has touched it. */
  factsQuickly(record: NamedContainer): Promise<ContainerFacts>;
  /** What {@link facts} answers of a container that was just started or restored, mostly without starting the engine's program. */
  factsAwake(record: NamedContainer, before: ContainerFacts): Promise<ContainerFacts>;
  /** The state of all workspaces' containers, by name of the container. */
  states(): Promise<ContainerStates>;
  /** Says that a container is about to be restored, so that the engine may get ready beside what comes before. */
  expectRestore(): void;
  /** Keeps what all containers share of the network in its place while `work` takes one from it and puts it back. */
  whileNetworkIsHeld<T>(work: () => Promise<T>): Promise<T>;
  /** Wakes the container from the images that {@link ContainerFacts.checkpointDirectory} leads to. */
  restore(record: WorkspaceRecord): Promise<void>;
  /** Runs a command inside to its end; like all that is started from outside, it is in no snapshot. */
  exec(
    record: NamedContainer,
    options: ExecOptions,
    argv: readonly string[],
    runOptions?: RunOptions,
  ): Promise<Finished>;
  /**
   * Prepares a container that never ran for {@link restore} by the configuration of a sibling, made from the same
   * specification, without starting anything. Answers false where the sibling has none; nothing was done then.
   */
  prepareLike(own: PlacedContainer, sibling: PlacedContainer): Promise<boolean>;
  /** Prepares a container that never ran for {@link restore}. */
  prepareForRestore(record: WorkspaceRecord): Promise<void>;
  /** Waits until the engine has noticed the end of the container and cleaned up, at most 30 s. */
  settled(record: WorkspaceRecord, before: ContainerFacts): Promise<void>;
  withImage<T>(reference: string, use: (image: ImageSource) => Promise<T>): Promise<T>;
  /** A free inner address in the workspaces' own network. */
  freeAddress(taken: readonly string[]): Promise<string>;
  /** Whether a published port can be bound; answers the first that can't. */
  firstTakenPort(ports: readonly PublishedPort[]): Promise<PublishedPort | null>;
  /**
   * Takes away what a daemon that was killed has left of {@link whileNetworkIsHeld}, and, where the engine was killed with it,
   * of a start, restore or stop of these workspaces. Answers the states that it has found.
   */
  recover(workspaces: readonly WorkspaceRecord[]): Promise<ContainerStates>;
  /** Ends what was started for {@link expectRestore}, and {@link whileNetworkIsHeld}. */
  end(): Promise<void>;
}

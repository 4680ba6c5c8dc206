import type { Readable, Writable } from 'node:stream';
import type { SshClient } from './host.ts';
import type { HostProblemError } from './problems.ts';

/** How a command on the host ended. */
export interface RemoteExit {
  /** Exit status; null when it was killed or the connection went away. */
  readonly code: number | null;
  readonly signal: string | null;
  /** What went wrong with the connection, as opposed to the command. */
  readonly problem: HostProblemError | null;
}

/** A command that runs on the host. */
export interface RemoteProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Never rejected. */
  readonly exit: Promise<RemoteExit>;
  /** Ends it from this side; on the host its stdin and stdout close. */
  kill(): void;
}

/** A way to run commands on one host. */
export interface Transport {
  readonly client: SshClient;
  /** Name of the user on the host. */
  readonly user: string;
  /**
   * Starts a command.
   * @param words what the login shell sees, see {@link assertBareWords}; rejected with a `HostProblemError`
   */
  start(words: readonly string[]): Promise<RemoteProcess>;
  /** Called when the session stands: nothing is asked from then on. */
  stopAsking(): Promise<void>;
  dispose(): void;
}

/**
 * Makes sure that any login shell (bash, fish, csh) takes each word as it is: no quotes, no blanks, nothing that
 * expands. sshd hands the command to that shell as one string.
 */
export function assertBareWords(words: readonly string[]): void {
  for (const word of words) {
    if (!/^[A-Za-z0-9_/.,:=-][A-Za-z0-9_/.,:=%-]*$/.test(word))
      throw new Error(`"${word}" would not pass a shell unchanged`);
  }
}

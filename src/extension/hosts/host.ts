import type { Event } from 'vscode-jsonrpc';
import type { OperationName, ParamsInput, Result } from '../../protocol/operations.ts';
import type { Changed, Progress, Restored, Welcome } from '../../protocol/session.ts';
import type { StreamTarget } from '../../protocol/streams.ts';
import type { Log } from './log.ts';
import type { HostProblem } from './problems.ts';
import type { Consents, Prompts, Secrets } from './prompts.ts';
import type { Ssh2Library } from './ssh2Library.ts';
import type { HostStream } from './streams.ts';

/** Which program carries the connection. */
export type SshClient = 'ssh2' | 'openssh';

/** Where a connection stands. */
export type HostState =
  | { readonly kind: 'disconnected' }
  | { readonly kind: 'connecting' }
  | {
      readonly kind: 'connected';
      readonly client: SshClient;
      /** What the helper said of itself. */
      readonly welcome: Welcome;
      /** The helper is older than the one this extension carries; `installHelper` updates it. */
      readonly isHelperOlder: boolean;
    }
  /** The machine answers, but something must be put on it first: the helper (`installHelper`) or Node.js. */
  | { readonly kind: 'needsSetup'; readonly problem: HostProblem }
  | {
      readonly kind: 'failed';
      readonly problem: HostProblem;
      /** When it is tried again by itself, in milliseconds since the epoch; null when it waits for the user. */
      readonly retryAt: number | null;
    };

export interface ConnectOptions {
  /** True only after a gesture of the user: questions may be asked. Otherwise what needs one fails with `needsGesture`. */
  readonly interactive: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface RequestOptions {
  /** Asks the host to stop; past the point of no return the result comes all the same. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Omit<Progress, 'token'>) => void) | undefined;
  /**
   * Requests with the same key are run once. Made up for whatever changes something unless given; give one to
   * repeat a request of an earlier window.
   */
  readonly idempotencyKey?: string | undefined;
}

/** The connection to one host: at most one session at a time, which lives until somebody disconnects it. */
export interface HostConnection {
  /** The host as the user spells it: an alias of the SSH configuration, or `user@host:port`. */
  readonly id: string;
  readonly state: HostState;
  readonly onDidChangeState: Event<HostState>;
  /** Something on the host changed that a view may show. Not sent for what happened while disconnected. */
  readonly onDidChange: Event<Changed>;
  readonly onDidRestore: Event<Restored>;

  /**
   * Connects, or waits for the attempt under way. From then on a lost connection is tried again by itself, until
   * {@link disconnect}. Rejected with a `HostProblemError`.
   */
  connect(options: ConnectOptions): Promise<void>;
  /** Ends the session and what is under way to get one. Operations under way on the host go on there. */
  disconnect(): void;
  /**
   * Installs or updates the helper, then connects. A gesture of the user: it asks for passwords, and whether the helper
   * may be put there unless that was agreed to before. Rejected with a `HostProblemError`.
   */
  installHelper(options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /**
   * Asks the host for one operation. When the connection is lost meanwhile it is asked again after the next one,
   * under the same key, so that nothing is done twice.
   * Rejected with a `ForkpointError`: the host's own, or `daemon.unreachable` when there is no connection or it
   * does not come back (its cause is then a `HostProblemError`).
   */
  request<N extends OperationName>(
    name: N,
    params: ParamsInput<N>,
    options?: RequestOptions,
  ): Promise<Result<N>>;
  /**
   * Opens a terminal or a connection to a port of a workspace, over this very connection. It ends with it.
   * Rejected with a `ForkpointError`, as {@link request} is.
   */
  openStream(target: StreamTarget): Promise<HostStream>;
  dispose(): void;
}

/** The helper as this extension carries it. */
export interface HelperProgram {
  readonly base64: string;
  /** SHA-256, in hexadecimal. */
  readonly digest: string;
  /** Version of the extension it came with. */
  readonly version: string;
}

/** What connections are built from; all hosts share one. */
export interface HostDependencies {
  readonly log: Log;
  readonly prompts: Prompts;
  readonly secrets: Secrets;
  readonly consents: Consents;
  /** Reads the helper; called when a host is connected for the first time. */
  readonly readHelper: () => Promise<HelperProgram>;
  /** Version of the extension, told to the host. */
  readonly clientVersion: string;
  /** The setting `forkpoint.sshClient`, read for each attempt to connect. */
  readonly preferredClient: () => 'auto' | SshClient;
  /** Loads ssh2; from the bundle beside the extension's own unless given. */
  readonly loadSsh2?: () => Promise<Ssh2Library>;
  /** An SSH configuration file to use in place of the user's own (`ssh -F`). */
  readonly configFile: () => string | undefined;
}

import type { Client, ClientChannel, ConnectConfig } from 'ssh2';
import { Authentication } from './authentication.ts';
import { hostKeyAlgorithms } from './hostKeyAlgorithms.ts';
import { checkHostKey } from './hostKeyCheck.ts';
import type { Identity } from './identities.ts';
import { knownKeyTypes, recordedName } from './knownHosts.ts';
import type { KnownHost } from './knownHosts.ts';
import type { Log } from './log.ts';
import { HostProblemError } from './problems.ts';
import type { Questions } from './questions.ts';
import type { ResolvedConfig } from './resolvedConfig.ts';
import { forbiddenAlgorithms } from './sessionAlgorithms.ts';
import type { Ssh2Library } from './ssh2Library.ts';
import { assertBareWords } from './transport.ts';
import type { RemoteExit, RemoteProcess, Transport } from './transport.ts';

/** Without ConnectTimeout in the configuration. */
const CONNECT_TIMEOUT_MS = 20_000;
/** Without ServerAliveInterval: a connection that went silently is noticed within a minute. */
const KEEP_ALIVE_MS = 15_000;
const KEEP_ALIVE_COUNT = 3;

export interface Ssh2TransportOptions {
  readonly config: ResolvedConfig;
  readonly identities: readonly Identity[];
  readonly knownHosts: readonly KnownHost[];
  readonly questions: Questions;
  readonly ssh2: Ssh2Library;
  readonly log: Log;
}

/** Connects by ssh2 and lets the user in. Rejected with a `HostProblemError`. */
export async function connectSsh2(options: Ssh2TransportOptions): Promise<Transport> {
  const { config, questions, log, ssh2 } = options;
  const client = new ssh2.Client();
  const started = performance.now();
  const ready = new Promise<void>((resolve, reject) => {
    const authentication = new Authentication({ ...options, onCancel: reject });
    client
      .on('banner', (text) => log.info(`banner: ${text.trim()}`))
      .on('handshake', (negotiated) =>
        log.debug(`handshake: ${negotiated.kex}, ${negotiated.serverHostKey}, ${negotiated.cs.cipher}`),
      )
      .on('ready', resolve)
      .on('error', (error: Error & { readonly level?: string }) => {
        // A key of the agent that could not sign: ssh2 goes on with the next one by itself.
        if (error.level === 'agent') log.info(`agent: ${error.message}`);
        else if (error.level === 'client-authentication') reject(authentication.describeFailure());
        else if (error.level === 'handshake' && error.message.includes('no matching'))
          reject(incommensurable(config.id, error));
        else reject(unreachable(config.id, error));
      })
      .on('close', () => reject(authenticationCutShort(config.id, authentication)));
    client.connect(connectConfig(options, authentication, reject));
  });
  const giveUp = (): void => {
    client.destroy();
  };
  questions.signal.addEventListener('abort', giveUp);
  try {
    await questions.patience.within(
      connectTimeoutMs(config),
      ready,
      () => new HostProblemError('unreachable', { host: config.id, problem: 'it does not answer' }),
    );
  } catch (error) {
    client.destroy();
    if (questions.signal.aborted)
      throw new HostProblemError('cancelled', { host: config.id }, { cause: error });
    throw error;
  } finally {
    questions.signal.removeEventListener('abort', giveUp);
  }
  log.info(
    `connected to ${config.hostName} port ${String(config.port)} as ${config.user} by ssh2, ${elapsed(started)}`,
  );
  return new Ssh2Transport(client, config, log);
}

function connectConfig(
  options: Ssh2TransportOptions,
  authentication: Authentication,
  refuse: (problem: unknown) => void,
): ConnectConfig {
  const { config, knownHosts } = options;
  const list = (keyword: string): string[] | null => config.options.get(keyword)?.[0]?.split(',') ?? null;
  const family = config.options.get('addressfamily')?.[0];
  const bindAddress = config.options.get('bindaddress')?.[0];
  const aliveSeconds = Number(config.options.get('serveraliveinterval')?.[0] ?? 0);
  return {
    host: config.hostName,
    port: config.port,
    username: config.user,
    // Questions may take long; the limit of `patience` stands still meanwhile, ssh2's own would not.
    readyTimeout: 0,
    keepaliveInterval: aliveSeconds > 0 ? aliveSeconds * 1000 : KEEP_ALIVE_MS,
    keepaliveCountMax:
      aliveSeconds > 0
        ? Number(config.options.get('serveralivecountmax')?.[0] ?? KEEP_ALIVE_COUNT)
        : KEEP_ALIVE_COUNT,
    forceIPv4: family === 'inet',
    forceIPv6: family === 'inet6',
    ...(bindAddress === undefined || bindAddress === 'none' ? {} : { localAddress: bindAddress }),
    algorithms: {
      kex: only(forbiddenAlgorithms(config, 'kex')),
      cipher: only(forbiddenAlgorithms(config, 'cipher')),
      hmac: only(forbiddenAlgorithms(config, 'hmac')),
      serverHostKey: hostKeyAlgorithms(
        knownKeyTypes(knownHosts, recordedName(config)),
        list('hostkeyalgorithms'),
      ),
    },
    hostVerifier: (key: Buffer, accept: (isAccepted: boolean) => void) => {
      checkHostKey(key, options).then(
        () => accept(true),
        (problem: unknown) => {
          refuse(problem);
          accept(false);
        },
      );
    },
    authHandler: authentication.handler,
  };
}

/** ssh2's own list, which fits the runtime, less what the configuration does not allow. */
function only<T>(removed: T[]): { append: never[]; prepend: never[]; remove: T[] } {
  return { append: [], prepend: [], remove: removed };
}

/** The two have no algorithm in common; OpenSSH, which has more, may find one. */
export class NegotiationError extends HostProblemError {}

class Ssh2Transport implements Transport {
  readonly client = 'ssh2';
  readonly user: string;
  readonly #client: Client;
  readonly #config: ResolvedConfig;
  readonly #log: Log;
  #lost: HostProblemError | null = null;
  /** Settled when the connection is over, with the reason. */
  readonly #closed: Promise<HostProblemError>;

  constructor(client: Client, config: ResolvedConfig, log: Log) {
    this.#client = client;
    this.#config = config;
    this.#log = log;
    this.user = config.user;
    client.on('error', (error) => {
      this.#lost ??= new HostProblemError(
        'connectionLost',
        { host: config.id, problem: error.message },
        { cause: error },
      );
    });
    this.#closed = new Promise((resolve) => {
      client.on('close', () => {
        this.#lost ??= new HostProblemError('connectionLost', {
          host: config.id,
          problem: 'the host closed it',
        });
        resolve(this.#lost);
      });
    });
  }

  start(words: readonly string[]): Promise<RemoteProcess> {
    assertBareWords(words);
    if (this.#lost) return Promise.reject(this.#lost);
    const command = words.join(' ');
    const started = performance.now();
    this.#log.debug(`on the host: ${command}`);
    return new Promise((resolve, reject) => {
      void this.#closed.then(reject);
      this.#client.exec(command, (error, channel) => {
        if (error) {
          reject(
            new HostProblemError(
              'connectionLost',
              { host: this.#config.id, problem: error.message },
              { cause: error },
            ),
          );
          return;
        }
        const exit = this.#awaitExit(channel).then((ended) => {
          this.#log.debug(`ended ${describeExit(ended)}, ${elapsed(started)}: ${command}`);
          return ended;
        });
        resolve({
          stdin: channel,
          stdout: channel,
          stderr: channel.stderr,
          exit,
          kill: () => channel.close(),
        });
      });
    });
  }

  #awaitExit(channel: ClientChannel): Promise<RemoteExit> {
    return new Promise((resolve) => {
      let code: number | null = null;
      let signal: string | null = null;
      channel.on('exit', (exitCode: number | null, exitSignal?: string) => {
        code = exitCode;
        signal = exitSignal ?? null;
      });
      // A write to a channel that has just closed; that it closed is told by "close".
      channel.on('error', (error: Error) => this.#log.debug(`channel: ${error.message}`));
      channel.on('close', () =>
        resolve({ code, signal, problem: code === null && signal === null ? this.#lost : null }),
      );
      // ssh2 gives "close" of a channel only when all was read; that of the connection comes in any case.
      void this.#closed.then((problem) =>
        resolve({ code, signal, problem: code === null && signal === null ? problem : null }),
      );
    });
  }

  stopAsking(): Promise<void> {
    return Promise.resolve();
  }

  dispose(): void {
    this.#lost ??= new HostProblemError('connectionLost', {
      host: this.#config.id,
      problem: 'it was closed here',
    });
    this.#client.end();
    // The far side may be gone without a word.
    const timer = setTimeout(() => this.#client.destroy(), 1000);
    timer.unref();
    this.#client.once('close', () => clearTimeout(timer));
  }
}

function connectTimeoutMs(config: ResolvedConfig): number {
  const seconds = Number(config.options.get('connecttimeout')?.[0]);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : CONNECT_TIMEOUT_MS;
}

function unreachable(host: string, error: Error & { readonly code?: unknown }): HostProblemError {
  const problems: Record<string, string> = {
    ECONNREFUSED: 'nothing listens there',
    ENOTFOUND: 'its name is unknown',
    EAI_AGAIN: "its name can't be looked up",
    ETIMEDOUT: 'it does not answer',
    EHOSTUNREACH: 'there is no route to it',
    ENETUNREACH: 'there is no route to its network',
  };
  const problem = (typeof error.code === 'string' ? problems[error.code] : undefined) ?? error.message;
  return new HostProblemError('unreachable', { host, problem }, { detail: error.message, cause: error });
}

function incommensurable(host: string, error: Error): NegotiationError {
  return new NegotiationError('unreachable', { host, problem: error.message }, { cause: error });
}

/** A server that hangs up during authentication (MaxAuthTries, say) says no more than that. */
function authenticationCutShort(host: string, authentication: Authentication): HostProblemError {
  const failure = authentication.describeFailure();
  return failure.args['tried'] === 'nothing'
    ? new HostProblemError('unreachable', { host, problem: 'it closed the connection' })
    : failure;
}

function describeExit(exit: RemoteExit): string {
  return exit.problem?.message ?? (exit.signal === null ? `exit ${String(exit.code)}` : `by ${exit.signal}`);
}

function elapsed(started: number): string {
  return `${String(Math.round(performance.now() - started))} ms`;
}

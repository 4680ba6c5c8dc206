import { execa } from 'execa';
import { Askpass } from './askpass.ts';
import type { Log } from './log.ts';
import { HostProblemError } from './problems.ts';
import type { Questions } from './questions.ts';
import { destinationArguments } from './resolvedConfig.ts';
import type { ResolvedConfig } from './resolvedConfig.ts';
import { assertBareWords } from './transport.ts';
import type { RemoteExit, RemoteProcess, Transport } from './transport.ts';

/** How much of what ssh says on stderr is kept, to tell why it failed. */
const STDERR_KEPT = 16 * 1024;

/** Exit status of ssh for its own failures (ssh(1), EXIT STATUS). */
const SSH_FAILED = 255;

export interface OpenSshTransportOptions {
  readonly config: ResolvedConfig;
  readonly questions: Questions;
  readonly log: Log;
}

/**
 * Runs commands by the system's ssh. Nothing is connected yet: that happens with the first command, and each
 * command is a connection of its own unless the user's configuration shares one (ControlMaster).
 */
export async function openSshTransport(options: OpenSshTransportOptions): Promise<Transport> {
  const { questions, log } = options;
  // Without a question allowed and nothing remembered, ssh is told not to ask: it would offer empty passwords.
  if (!questions.isInteractive && !(await questions.remembersAny()))
    return new OpenSshTransport(options, null);
  const running = new Set<RemoteProcess>();
  const askpass = await Askpass.create(questions, log, () => {
    for (const one of running) one.kill();
  });
  return new OpenSshTransport(options, askpass, running);
}

/** The arguments before the command. The user's own configuration decides all but what the session itself needs. */
export function sshArguments(config: ResolvedConfig, asks: 'never' | 'once' | 'as configured'): string[] {
  const value = (keyword: string): string | undefined => config.options.get(keyword)?.[0];
  const options: string[] = [
    // The session carries one program's stdin and stdout. Forwardings belong to the user's own sessions, and their
    // ports may be taken by one.
    'ClearAllForwardings=yes',
  ];
  if (asks === 'never') options.push('BatchMode=yes');
  if (asks === 'once') options.push('NumberOfPasswordPrompts=1');
  if (isSet(value('remotecommand'))) options.push('RemoteCommand=none');
  // Only where it is set: an older ssh refuses options that it doesn't know.
  if ((value('sessiontype') ?? 'default') !== 'default') options.push('SessionType=default');
  if (value('forkafterauthentication') === 'yes') options.push('ForkAfterAuthentication=no');
  if (value('stdinnull') === 'yes') options.push('StdinNull=no');
  if (/^(quiet|fatal)$/i.test(value('loglevel') ?? '')) options.push('LogLevel=ERROR');
  if ((value('serveraliveinterval') ?? '0') === '0')
    options.push('ServerAliveInterval=15', 'ServerAliveCountMax=3');
  if ((value('connecttimeout') ?? 'none') === 'none') options.push('ConnectTimeout=20');
  // "no" would also let a changed key pass.
  if (config.strictHostKeyChecking === 'no') options.push('StrictHostKeyChecking=accept-new');
  return [
    '-T',
    '-x',
    '-a',
    ...options.flatMap((option) => ['-o', option]),
    ...destinationArguments(config.destination, config.configFile),
  ];
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== 'none';
}

/** What is used of execa's result. */
interface Ended {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly code?: string | undefined;
  readonly originalMessage?: string | undefined;
}

class OpenSshTransport implements Transport {
  readonly client = 'openssh';
  readonly user: string;
  readonly #options: OpenSshTransportOptions;
  readonly #askpass: Askpass | null;
  readonly #running: Set<RemoteProcess>;

  constructor(options: OpenSshTransportOptions, askpass: Askpass | null, running = new Set<RemoteProcess>()) {
    this.#options = options;
    this.#askpass = askpass;
    this.#running = running;
    this.user = options.config.user;
  }

  start(words: readonly string[]): Promise<RemoteProcess> {
    assertBareWords(words);
    const { config, questions, log } = this.#options;
    this.#askpass?.forgetCounts();
    const asks = this.#askpass === null ? 'never' : questions.isInteractive ? 'as configured' : 'once';
    const args = [...sshArguments(config, asks), ...words];
    log.debug(`starting ssh ${args.join(' ')}`);
    const started = performance.now();
    const child = execa('ssh', args, {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
      buffer: false,
      reject: false,
      windowsHide: true,
      // A session of its own has no terminal, so that ssh can't ask there, past the editor.
      detached: process.platform !== 'win32',
      env: this.#askpass?.environment ?? {},
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-STDERR_KEPT);
    });
    // A write to a command that has ended; its end is told by `exit`.
    child.stdin.on('error', (error) => log.debug(`ssh's stdin: ${error.message}`));
    let isKilled = false;
    const exit = this.#awaitExit(
      child,
      () => said,
      () => isKilled,
    ).then((ended) => {
      const end =
        ended.problem?.message ??
        (ended.signal === null ? `exit ${String(ended.code)}` : `by ${ended.signal}`);
      log.debug(`ssh ended after ${String(Math.round(performance.now() - started))} ms: ${end}`);
      this.#running.delete(process_);
      return ended;
    });
    const process_: RemoteProcess = {
      stdin: child.stdin,
      stdout: child.stdout,
      stderr: child.stderr,
      exit,
      kill: () => {
        isKilled = true;
        child.kill();
      },
    };
    this.#running.add(process_);
    return Promise.resolve(process_);
  }

  async #awaitExit(
    child: PromiseLike<Ended>,
    said: () => string,
    isKilled: () => boolean,
  ): Promise<RemoteExit> {
    const result = await child;
    const { config } = this.#options;
    if (isKilled()) return { code: null, signal: 'SIGTERM', problem: this.#askpass?.problem ?? null };
    if (result.exitCode === undefined && result.signal === undefined) {
      const problem =
        result.code === 'ENOENT'
          ? new HostProblemError('sshClientMissing', { host: config.id, reason: 'ssh could not be started' })
          : new HostProblemError('connectionLost', {
              host: config.id,
              problem: result.originalMessage ?? 'ssh failed',
            });
      return { code: null, signal: null, problem };
    }
    if (result.exitCode !== SSH_FAILED)
      return { code: result.exitCode ?? null, signal: result.signal ?? null, problem: null };
    const problem = this.#askpass?.problem ?? explainSshFailure(config, said(), this.#askpass !== null);
    return { code: null, signal: null, problem };
  }

  async stopAsking(): Promise<void> {
    await this.#askpass?.dispose();
  }

  dispose(): void {
    for (const running of this.#running) running.kill();
    void this.stopAsking();
  }
}

/**
 * The file that ssh names, unless a shell would take its name apart: the host's banner is among what ssh says, and people
 * copy the command that removes the key.
 */
function knownHostsFileIn(named: string | undefined, config: ResolvedConfig): string {
  const isPlain = named !== undefined && !/[;|&$`<>"'()]/.test(named);
  return isPlain ? named : (config.userKnownHostsFiles[0] ?? '');
}

/**
 * Tells from what ssh said (its texts are not translated) why it failed.
 * @param couldAsk false when ssh was told not to ask (BatchMode): what it passed over may be all that was missing
 */
export function explainSshFailure(config: ResolvedConfig, said: string, couldAsk: boolean): HostProblemError {
  const host = config.id;
  const detail = said.trim() === '' ? null : said.trim();
  const shown = (): { keyType: string; fingerprint: string } => ({
    keyType: /(?:for the|Host key for|The) (\S+) (?:host key|key sent|key for)/.exec(said)?.[1] ?? '',
    fingerprint: /SHA256:[A-Za-z0-9+/]+/.exec(said)?.[0] ?? '',
  });
  if (/REMOTE HOST IDENTIFICATION HAS CHANGED/.test(said)) {
    const file = knownHostsFileIn(/^Offending \S+ key in (.+):\d+/m.exec(said)?.[1], config);
    const knownAs = /^Host key for ([\w.:[\]-]+) has changed/m.exec(said)?.[1] ?? config.hostName;
    return new HostProblemError('hostKeyChanged', { host, file, knownAs, ...shown() }, { detail });
  }
  if (/REVOKED HOST KEY|is marked as revoked/i.test(said)) {
    const file = knownHostsFileIn(/marked as revoked(?: by|.*in) (\S+)/.exec(said)?.[1], config);
    return new HostProblemError('hostKeyRevoked', { host, file }, { detail });
  }
  if (/Host key verification failed/.test(said)) {
    if (!couldAsk && config.strictHostKeyChecking !== 'yes') {
      return new HostProblemError(
        'needsGesture',
        { host, need: 'whether its host key is right' },
        { detail },
      );
    }
    return new HostProblemError('hostKeyRefused', { host, ...shown() }, { detail });
  }
  const denied = /Permission denied \(([^)]*)\)/.exec(said)?.[1];
  if (denied !== undefined) {
    // A key with a passphrase is passed over in the same way as a password, and can't be told from a wrong one.
    if (!couldAsk) {
      return new HostProblemError('needsGesture', { host, need: 'a password or passphrase' }, { detail });
    }
    return new HostProblemError(
      'authenticationFailed',
      { host, user: config.user, tried: denied },
      { detail },
    );
  }
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  const last = lines.at(-1)?.trim() ?? 'ssh gave no reason';
  if (/Too many authentication failures/.test(said)) {
    return new HostProblemError(
      'authenticationFailed',
      { host, user: config.user, tried: 'too many keys' },
      { detail },
    );
  }
  if (
    /Connection refused|timed out|Could not resolve hostname|No route to host|Network is unreachable|closed by remote host|kex_exchange_identification|Connection closed by|Connection reset/.test(
      said,
    )
  ) {
    return new HostProblemError('unreachable', { host, problem: last }, { detail });
  }
  if (/Bad configuration option|terminating, \d+ bad configuration|bad permissions|Bad owner/.test(said)) {
    return new HostProblemError('configurationInvalid', { host, problem: last }, { detail });
  }
  return new HostProblemError('connectionLost', { host, problem: last }, { detail });
}

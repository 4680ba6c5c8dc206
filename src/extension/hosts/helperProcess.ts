import { randomBytes } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import type { Log } from './log.ts';
import { NoMarkerError, splitAtMarker } from './markedOutput.ts';
import { HostProblemError } from './problems.ts';
import type { Questions } from './questions.ts';
import type { RemoteExit, RemoteProcess, Transport } from './transport.ts';

/** How long the login shell, sudo and the program may take until the marker comes, questions not counted. */
const START_TIMEOUT_MS = 45_000;

/** sudo asks three times by itself (sudoers(5), passwd_tries). */
const SUDO_ATTEMPTS = 3;

const STDERR_KEPT = 8 * 1024;

/** A program that runs as root on the host and has said its marker. */
export interface HelperProcess {
  readonly stdin: Writable;
  /** What it printed after the marker. */
  readonly output: Readable;
  readonly exit: Promise<RemoteExit>;
  /** The end of what it said on stderr so far. */
  saidOnStderr(): string;
  kill(): void;
}

/** The program did not come to its marker, for a reason on the host. */
export class NotStartedError extends Error {
  readonly exit: RemoteExit;
  readonly stderr: string;
  readonly noise: string;

  constructor(exit: RemoteExit, stderr: string, noise: string) {
    super(
      `it ended with ${exit.code === null ? (exit.signal ?? 'no status') : `status ${String(exit.code)}`}`,
    );
    this.name = 'NotStartedError';
    this.exit = exit;
    this.stderr = stderr;
    this.noise = noise;
  }

  /** Whether `command` itself was not found, as sudo, env or the login shell put it. */
  isNotFound(command: string): boolean {
    return this.stderr
      .split('\n')
      .some(
        (line) =>
          line.includes(command) &&
          /not found|No such file or directory|does not exist|Unknown command/i.test(line),
      );
  }
}

export interface StartOptions {
  readonly transport: Transport;
  readonly questions: Questions;
  readonly log: Log;
  /** The command, `{marker}` in its place; run as root. */
  readonly command: (marker: string) => readonly string[];
  /** Written to its stdin first, then stdin is ended. */
  readonly input?: (marker: string) => string;
}

/**
 * Runs programs as root on a host. Remembers how: as the user itself when that is root, by `sudo -n` where sudo asks
 * nothing, else with a password.
 */
export class RootCommands {
  readonly #transport: Transport;
  readonly #questions: Questions;
  readonly #log: Log;
  #way: 'root' | 'sudo' | 'sudo with password';

  constructor(transport: Transport, questions: Questions, log: Log) {
    this.#transport = transport;
    this.#questions = questions;
    this.#log = log;
    this.#way = transport.user === 'root' ? 'root' : 'sudo';
  }

  /**
   * Starts a program that prints its marker.
   * @throws NotStartedError when it ended before; HostProblemError for all that is in the way of running it
   */
  async start(options: Pick<StartOptions, 'command' | 'input'>): Promise<HelperProcess> {
    const marker = randomBytes(16).toString('hex');
    const command = options.command(marker);
    const input = options.input?.(marker);
    if (this.#way === 'root') return this.#run(command, marker, input);
    if (this.#way === 'sudo') {
      try {
        // sudo translates what it says; env is a program everywhere, where VAR=value in front is not (csh, fish).
        return await this.#run(['env', 'LC_ALL=C', 'sudo', '-n', ...command], marker, input);
      } catch (error) {
        const problem = error instanceof NotStartedError ? this.#explainSudo(error) : null;
        if (problem !== 'password') throw problem ?? error;
        this.#log.info('sudo wants a password');
        this.#way = 'sudo with password';
      }
    }
    // The program reads its input from the same stdin as sudo: a wrong password would make sudo take the program's
    // lines for the next ones. So the password is tried on its own first.
    if (input !== undefined) await this.#runToEnd(['/bin/true']);
    return this.#run(this.#withPassword(command), marker, input);
  }

  /** Runs an ordinary command as the user; returns the end of what it printed on stdout, null unless it ended with 0. */
  async readAsUser(words: readonly string[]): Promise<string | null> {
    const running = await this.#transport.start(words);
    let printed = '';
    running.stdout.on('data', (chunk: Buffer) => {
      printed = (printed + chunk.toString('utf8')).slice(-STDERR_KEPT);
    });
    running.stderr.resume();
    running.stdin.end();
    const exit = await this.#questions.patience.within(START_TIMEOUT_MS, running.exit, () =>
      this.#tooSlow(running),
    );
    if (exit.problem) throw exit.problem;
    return exit.code === 0 ? printed : null;
  }

  #withPassword(command: readonly string[]): string[] {
    // -k: whatever sudo remembers, it asks; else the password would go to the program.
    return ['env', 'LC_ALL=C', 'sudo', '-k', '-S', '-p', this.#prompt, ...command];
  }

  readonly #prompt = `forkpoint-sudo-${randomBytes(8).toString('hex')}`;

  async #runToEnd(command: readonly string[]): Promise<void> {
    const running = await this.#transport.start(this.#withPassword(command));
    running.stdout.resume();
    const stderr = this.#watchStderr(running);
    const exit = await this.#questions.patience.within(
      START_TIMEOUT_MS,
      Promise.race([running.exit, stderr.failed]),
      () => this.#tooSlow(running),
    );
    if (exit.problem) throw exit.problem;
    if (exit.code !== 0) throw this.#explainRefusal(new NotStartedError(exit, stderr.said(), ''));
  }

  async #run(words: readonly string[], marker: string, input: string | undefined): Promise<HelperProcess> {
    const running = await this.#transport.start(words);
    const usesPassword = words.includes('-S');
    const stderr = this.#watchStderr(running, usesPassword ? input : undefined);
    if (input !== undefined && !usesPassword) running.stdin.end(input);
    const { output, marked } = splitAtMarker(running.stdout, marker);
    try {
      const noise = await this.#questions.patience.within(
        START_TIMEOUT_MS,
        Promise.race([marked, stderr.failed]),
        () => this.#tooSlow(running),
      );
      if (noise !== '') this.#log.info(`the login shell printed: ${JSON.stringify(noise)}`);
    } catch (error) {
      marked.catch(() => undefined);
      if (!(error instanceof NoMarkerError)) {
        running.kill();
        throw error;
      }
      const exit = await Promise.race([running.exit, this.#killed(running)]);
      if (exit.problem) throw exit.problem;
      const failure = new NotStartedError(exit, stderr.said(), error.noise);
      this.#log.debug(`did not start: ${JSON.stringify(failure.stderr)} ${JSON.stringify(failure.noise)}`);
      throw usesPassword ? this.#explainRefusal(failure) : failure;
    }
    return {
      stdin: running.stdin,
      output,
      exit: running.exit,
      saidOnStderr: stderr.said,
      kill: () => running.kill(),
    };
  }

  /** Reads stderr: keeps its end, and answers sudo when its prompt is seen, and only then. */
  #watchStderr(running: RemoteProcess, input?: string): { said: () => string; failed: Promise<never> } {
    let said = '';
    let unread = '';
    let attempts = 0;
    const failed = new Promise<never>((_, reject) => {
      running.stderr.on('data', (chunk: Buffer) => {
        const text = chunk.toString('utf8');
        said = (said + text).slice(-STDERR_KEPT);
        unread += text;
        const at = unread.indexOf(this.#prompt);
        if (at < 0) {
          unread = unread.slice(-this.#prompt.length);
          return;
        }
        unread = unread.slice(at + this.#prompt.length);
        attempts += 1;
        if (attempts > SUDO_ATTEMPTS) return;
        this.#questions.secret({ kind: 'sudoPassword', user: this.#transport.user }, attempts).then(
          (password) => {
            running.stdin.write(`${password}\n`);
            if (input !== undefined) running.stdin.end(input);
          },
          (error: unknown) => {
            running.kill();
            reject(error instanceof Error ? error : new Error(String(error)));
          },
        );
      });
    });
    // Whoever races it may have gone already.
    failed.catch(() => undefined);
    return { said: () => said, failed };
  }

  /** What `sudo -n` said; `password` when it wants one, null when it is not about sudo. */
  #explainSudo(error: NotStartedError): HostProblemError | 'password' | null {
    const { stderr } = error;
    const who = { host: this.#questions.host, user: this.#transport.user };
    if (/a password is required|a terminal is required|no tty present/.test(stderr)) return 'password';
    if (/env: .*sudo.*No such file/.test(stderr))
      return new HostProblemError('sudoMissing', who, { detail: stderr.trim() });
    if (/not in the sudoers file|not allowed to|may not run sudo|must have a tty/.test(stderr)) {
      return new HostProblemError('sudoDenied', who, { detail: stderr.trim() });
    }
    return null;
  }

  #explainRefusal(error: NotStartedError): Error {
    const explained = this.#explainSudo(error);
    if (explained instanceof HostProblemError) return explained;
    const { stderr } = error;
    if (/incorrect password attempt|no password was provided/.test(stderr)) {
      const who = { host: this.#questions.host, user: this.#transport.user };
      return new HostProblemError('sudoPasswordWrong', who, {
        detail: stderr.replaceAll(this.#prompt, '').trim(),
      });
    }
    return error;
  }

  #tooSlow(running: RemoteProcess): HostProblemError {
    running.kill();
    return new HostProblemError('helperFailed', {
      host: this.#questions.host,
      problem: `it gave no sign for ${String(START_TIMEOUT_MS / 1000)} seconds`,
    });
  }

  /** The output is over, so the end is near; a program that stays all the same is killed. */
  #killed(running: RemoteProcess): Promise<RemoteExit> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        running.kill();
        resolve({ code: null, signal: null, problem: null });
      }, 5000);
      void running.exit.then(() => clearTimeout(timer));
    });
  }
}

import type { Log } from './log.ts';
import { Patience } from './patience.ts';
import { HostProblemError } from './problems.ts';
import type { Answer, HostKeyQuestion, Prompts, Question, Secrets, ServerQuestions } from './prompts.ts';

/** A secret that a connection may need, and how it is called for people and in the secret storage. */
export type Wanted =
  /** `who` is `user@host` as the server or ssh names it. */
  | { readonly kind: 'password'; readonly user: string; readonly who: string }
  | { readonly kind: 'sudoPassword'; readonly user: string }
  | { readonly kind: 'passphrase'; readonly keyFile: string };

export interface QuestionsOptions {
  /** The host as the user spells it. */
  readonly host: string;
  readonly isInteractive: boolean;
  readonly signal: AbortSignal;
  readonly prompts: Prompts;
  readonly secrets: Secrets;
  readonly log: Log;
}

/**
 * The questions of one attempt to connect. A secret that was typed is used again within the attempt, since OpenSSH
 * connects anew for every command; beyond it, only what the user wants remembered is kept, and only once it has
 * let the connection through.
 */
export class Questions {
  readonly patience = new Patience();
  readonly host: string;
  readonly isInteractive: boolean;
  readonly signal: AbortSignal;
  readonly #prompts: Prompts;
  readonly #secrets: Secrets;
  readonly #log: Log;
  readonly #typed = new Map<string, Answer>();

  constructor(options: QuestionsOptions) {
    this.host = options.host;
    this.isInteractive = options.isInteractive;
    this.signal = options.signal;
    this.#prompts = options.prompts;
    this.#secrets = options.secrets;
    this.#log = options.log;
  }

  /**
   * A password or passphrase.
   * @param attempt from 1; from 2 on the answer before was refused, and is forgotten
   * @throws HostProblemError `needsGesture` or `cancelled`
   */
  async secret(wanted: Wanted, attempt: number): Promise<string> {
    const key = this.#key(wanted);
    const known = this.#typed.get(key)?.text ?? (await this.#secrets.get(key));
    if (known !== undefined) {
      if (attempt === 1) return known;
      this.#typed.delete(key);
      await this.#secrets.delete(key);
      this.#log.info('what was remembered was refused, and is forgotten');
    }
    const answer = await this.#ask(describe(wanted), (question) => {
      switch (wanted.kind) {
        case 'password':
          return this.#prompts.password({ ...question, user: wanted.user, attempt });
        case 'sudoPassword':
          return this.#prompts.sudoPassword({ ...question, user: wanted.user, attempt });
        case 'passphrase':
          return this.#prompts.passphrase({ ...question, keyFile: wanted.keyFile, attempt });
      }
    });
    this.#typed.set(key, answer);
    return answer.text;
  }

  /** Whether {@link secret} would answer without a prompt. */
  async hasSecret(wanted: Wanted): Promise<boolean> {
    const key = this.#key(wanted);
    return this.#typed.has(key) || (await this.#secrets.get(key)) !== undefined;
  }

  /** @throws HostProblemError `needsGesture` or `cancelled` */
  serverQuestions(asked: Omit<ServerQuestions, keyof Question>): Promise<readonly string[]> {
    const need = asked.questions.map((question) => question.text.trim()).join(', ');
    return this.#ask(need === '' ? 'an answer for the server' : need, (question) =>
      this.#prompts.serverQuestions({ ...question, ...asked }),
    );
  }

  /** @throws HostProblemError `needsGesture` or `cancelled` */
  unknownHostKey(asked: Omit<HostKeyQuestion, keyof Question>): Promise<boolean> {
    return this.#ask(`whether ${asked.keyType} ${asked.fingerprint} is its host key`, (question) =>
      this.#prompts.unknownHostKey({ ...question, ...asked }),
    );
  }

  /** @throws HostProblemError `needsGesture` or `cancelled` */
  mayInstall(asked: { readonly reason: 'missing' | 'older'; readonly isNeeded: boolean }): Promise<boolean> {
    return this.#ask('whether the helper may be installed', (question) =>
      this.#prompts.mayInstall({ ...question, ...asked }),
    );
  }

  /**
   * Shows `text` until `signal` is aborted; limits of time stand still meanwhile.
   * @throws HostProblemError `needsGesture`
   */
  async notice(text: string, signal: AbortSignal): Promise<void> {
    if (!this.isInteractive)
      throw new HostProblemError('needsGesture', { host: this.host, need: text.trim() });
    const until = AbortSignal.any([signal, this.signal]);
    await this.patience.whileAsking(() => this.#prompts.notice({ host: this.host, text, signal: until }));
  }

  /** Whether something was remembered for this host, and so may answer without a prompt. */
  async remembersAny(): Promise<boolean> {
    return (await this.#secrets.get(this.#rememberedKey())) !== undefined;
  }

  /** Keeps what the user wants remembered; called when the connection stands. */
  async keep(): Promise<void> {
    for (const [key, answer] of this.#typed) {
      if (!answer.remember) continue;
      await this.#secrets.store(key, answer.text);
      await this.#secrets.store(this.#rememberedKey(), 'yes');
    }
    this.#typed.clear();
  }

  async #ask<T>(need: string, prompt: (question: Question) => Promise<T | undefined>): Promise<T> {
    if (!this.isInteractive) throw new HostProblemError('needsGesture', { host: this.host, need });
    this.#log.info(`asking the user for ${need}`);
    const started = performance.now();
    const answer = await this.patience.whileAsking(() => prompt({ host: this.host, signal: this.signal }));
    this.#log.info(
      `${answer === undefined ? 'cancelled' : 'answered'} after ${String(Math.round(performance.now() - started))} ms`,
    );
    if (answer === undefined) throw new HostProblemError('cancelled', { host: this.host });
    return answer;
  }

  #rememberedKey(): string {
    return `forkpoint remembered ${this.host}`;
  }

  #key(wanted: Wanted): string {
    switch (wanted.kind) {
      case 'password':
        return `forkpoint password ${this.host} ${wanted.who}`;
      case 'sudoPassword':
        return `forkpoint sudo ${this.host} ${wanted.user}`;
      case 'passphrase':
        return `forkpoint passphrase ${wanted.keyFile}`;
    }
  }
}

function describe(wanted: Wanted): string {
  switch (wanted.kind) {
    case 'password':
      return `the password of ${wanted.who}`;
    case 'sudoPassword':
      return `the sudo password of ${wanted.user}`;
    case 'passphrase':
      return `the passphrase of ${wanted.keyFile}`;
  }
}

/** A secret as it was typed. */
export interface Answer {
  readonly text: string;
  /** The user wants it kept in the editor's secret storage. */
  readonly remember: boolean;
}

/** What all questions have: for which host, and a signal that takes the question away again. */
export interface Question {
  /** The host as the user spells it. */
  readonly host: string;
  /** Aborted when the attempt to connect ends: the question is taken off the screen. */
  readonly signal: AbortSignal;
}

export interface PasswordQuestion extends Question {
  readonly user: string;
  /** 1 for the first time; from 2 on the answer before was refused. */
  readonly attempt: number;
}

export interface PassphraseQuestion extends Question {
  readonly keyFile: string;
  readonly attempt: number;
}

export interface HostKeyQuestion extends Question {
  /** The name it would be recorded under: `host` or `[host]:port`. */
  readonly knownAs: string;
  /** As OpenSSH shows it: `ED25519`, `RSA`, `ECDSA`. */
  readonly keyType: string;
  /** `SHA256:…`. */
  readonly fingerprint: string;
}

export interface ServerQuestions extends Question {
  /** Heading and text as the server sent them; may be empty. */
  readonly name: string;
  readonly instructions: string;
  readonly questions: readonly { readonly text: string; readonly isEchoed: boolean }[];
}

export interface InstallQuestion extends Question {
  /** `older`: another version is there, which would go on working where {@link isNeeded} is false. */
  readonly reason: 'missing' | 'older';
  readonly isNeeded: boolean;
}

/**
 * How a connection asks its user. Undefined means Cancel, which ends the attempt to connect. A connection asks
 * only after a gesture (`interactive`), and one question at a time over all hosts (H36).
 */
export interface Prompts {
  password(question: PasswordQuestion): Promise<Answer | undefined>;
  passphrase(question: PassphraseQuestion): Promise<Answer | undefined>;
  sudoPassword(question: PasswordQuestion): Promise<Answer | undefined>;
  /** What the server wants to know (one-time codes and the like), one answer for each question. */
  serverQuestions(question: ServerQuestions): Promise<readonly string[] | undefined>;
  /** False refuses the key. */
  unknownHostKey(question: HostKeyQuestion): Promise<boolean | undefined>;
  mayInstall(question: InstallQuestion): Promise<boolean | undefined>;
  /** Tells something that waits for the user's hand (touch a security key) until the signal is aborted. */
  notice(notice: Question & { readonly text: string }): Promise<void>;
}

/** Where secrets are kept when the user says so; a `vscode.SecretStorage` is one. */
export interface Secrets {
  get(key: string): PromiseLike<string | undefined>;
  store(key: string, value: string): PromiseLike<void>;
  delete(key: string): PromiseLike<void>;
}

/** What was answered once per host; kept beyond the window's life (`globalState`). */
export interface Consents {
  /** Whether the helper may be installed and updated on the host; undefined when never asked. */
  mayInstall(host: string): boolean | undefined;
  setMayInstall(host: string, mayInstall: boolean): PromiseLike<void>;
}

/** Makes the questions of all hosts wait for each other, so that only one is on the screen. */
export function oneAtATime(prompts: Prompts): Prompts {
  let last: Promise<unknown> = Promise.resolve();
  function inTurn<Q extends Question, A>(
    ask: (question: Q) => Promise<A | undefined>,
  ): (question: Q) => Promise<A | undefined> {
    return (question) => {
      const turn = last.then(() => (question.signal.aborted ? undefined : ask(question)));
      last = turn.catch(() => undefined);
      return turn;
    };
  }
  return {
    password: inTurn((question) => prompts.password(question)),
    passphrase: inTurn((question) => prompts.passphrase(question)),
    sudoPassword: inTurn((question) => prompts.sudoPassword(question)),
    serverQuestions: inTurn((question) => prompts.serverQuestions(question)),
    unknownHostKey: inTurn((question) => prompts.unknownHostKey(question)),
    mayInstall: inTurn((question) => prompts.mayInstall(question)),
    notice: (notice) => prompts.notice(notice),
  };
}

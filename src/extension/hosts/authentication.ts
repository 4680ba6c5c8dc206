import type {
  AuthenticationType,
  AuthHandlerMiddleware,
  BaseAgent,
  NextAuthHandler,
  ParsedKey,
  PublicKeyEntry,
} from 'ssh2';
import type { Identity } from './identities.ts';
import type { Log } from './log.ts';
import { HostProblemError } from './problems.ts';
import type { Questions, Wanted } from './questions.ts';
import { isYes } from './resolvedConfig.ts';
import type { ResolvedConfig } from './resolvedConfig.ts';
import type { Ssh2Library } from './ssh2Library.ts';

/** ssh_config(5), PreferredAuthentications; what ssh2 can't do is left to OpenSSH. */
const OPENSSH_ORDER = 'publickey,keyboard-interactive,password';

/** How often a password, passphrase or set of answers is asked for; NumberOfPasswordPrompts of OpenSSH. */
const ATTEMPTS = 3;

type KeyIdentity = Extract<Identity, { kind: 'key' }>;

/** A key that is offered to the host, and what signs with it. */
type Signer =
  | { readonly kind: 'agent'; readonly key: ParsedKey }
  | { readonly kind: 'file'; readonly key: ParsedKey; readonly identity: KeyIdentity };

export interface AuthenticationOptions {
  readonly config: ResolvedConfig;
  readonly identities: readonly Identity[];
  readonly questions: Questions;
  readonly ssh2: Ssh2Library;
  readonly log: Log;
  /** Called when the user cancels: the connection is to be ended. */
  readonly onCancel: (problem: HostProblemError) => void;
}

function isAgentHash(hash: string): hash is 'sha1' | 'sha256' | 'sha512' {
  return hash === 'sha1' || hash === 'sha256' || hash === 'sha512';
}

/** An agent may give a key with its comment beside it. */
function bareKey(key: string | Buffer | ParsedKey | PublicKeyEntry): string | Buffer | ParsedKey {
  if (typeof key !== 'object' || !('pubKey' in key)) return key;
  return 'pubKey' in key.pubKey ? key.pubKey.pubKey : key.pubKey;
}

/** Lets a user in over ssh2: the ways that the host accepts, in OpenSSH's order. */
export class Authentication {
  readonly #options: AuthenticationOptions;
  readonly #order: AuthenticationType[];
  readonly #tried: string[] = [];
  #hasOfferedKeys = false;
  #opaqueKeys: KeyIdentity[];
  #interactiveAttempts = 0;
  #passwordAttempts = 0;
  /** What could have gone on if questions had been allowed. */
  #unasked: HostProblemError | null = null;

  constructor(options: AuthenticationOptions) {
    this.#options = options;
    const configured = (keyword: string): string | undefined => options.config.options.get(keyword)?.[0];
    const isOff = (keyword: string): boolean => {
      const value = configured(keyword);
      return value !== undefined && !isYes(value);
    };
    const off: Record<string, boolean> = {
      publickey:
        isOff('pubkeyauthentication') &&
        !/^(unbound|host-bound)$/.test(configured('pubkeyauthentication') ?? ''),
      'keyboard-interactive': isOff('kbdinteractiveauthentication'),
      password: isOff('passwordauthentication'),
    };
    this.#order = (configured('preferredauthentications') ?? OPENSSH_ORDER)
      .split(',')
      .filter((method): method is 'publickey' | 'keyboard-interactive' | 'password' => off[method] === false);
    // An old-style encrypted key without its .pub tells nothing before its passphrase; it comes last.
    this.#opaqueKeys = options.identities.filter(
      (identity): identity is KeyIdentity => identity.kind === 'key' && identity.publicKey === null,
    );
  }

  /** Given to ssh2, which asks it for the next thing to try. */
  readonly handler: AuthHandlerMiddleware = (methodsLeft: AuthenticationType[] | null, _isPartial, next) => {
    this.#next(methodsLeft).then(
      (attempt) => {
        // ssh2 ends with false when nothing is left; its types don't say so.
        (next as (attempt: Parameters<NextAuthHandler>[0] | false) => void)(attempt);
      },
      (error: unknown) => {
        if (!(error instanceof HostProblemError)) this.#options.log.error(`authentication: ${String(error)}`);
        this.#options.onCancel(
          error instanceof HostProblemError
            ? error
            : new HostProblemError('cancelled', { host: this.#options.config.id }, { cause: error }),
        );
      },
    );
  };

  /** Why nobody was let in. */
  describeFailure(): HostProblemError {
    if (this.#unasked) return this.#unasked;
    const { id, user } = this.#options.config;
    return new HostProblemError('authenticationFailed', {
      host: id,
      user,
      tried: this.#tried.join(', ') || 'nothing',
    });
  }

  async #next(
    methodsLeft: readonly AuthenticationType[] | null,
  ): Promise<Parameters<NextAuthHandler>[0] | false> {
    const username = this.#options.config.user;
    // The answer to "none" is the list of ways that the host accepts.
    if (methodsLeft === null) return { type: 'none', username };
    for (const method of this.#order.filter((one) => methodsLeft.includes(one))) {
      try {
        const attempt = await this.#try(method, username);
        if (attempt !== null) return attempt;
      } catch (error) {
        if (!(error instanceof HostProblemError && error.code === 'needsGesture')) throw error;
        this.#unasked ??= error;
      }
    }
    this.#options.log.info(`nothing left to try; the host takes ${methodsLeft.join(', ')}`);
    return false;
  }

  async #try(method: AuthenticationType, username: string): Promise<Parameters<NextAuthHandler>[0] | null> {
    switch (method) {
      case 'publickey':
        return this.#tryKeys(username);
      case 'keyboard-interactive':
        if (this.#interactiveAttempts >= ATTEMPTS) return null;
        // Begun without an answer at hand, it would count as a failed log-in with every start of the editor.
        if (
          !this.#options.questions.isInteractive &&
          !(await this.#options.questions.hasSecret(this.#passwordWanted()))
        ) {
          this.#interactiveAttempts = ATTEMPTS;
          throw new HostProblemError('needsGesture', {
            host: this.#options.config.id,
            need: 'an answer for the server',
          });
        }
        this.#interactiveAttempts += 1;
        this.#note('keyboard-interactive');
        return {
          type: 'keyboard-interactive',
          username,
          prompt: (name, instructions, _language, prompts, finish) =>
            this.#answer(name, instructions, prompts, finish),
        };
      case 'password': {
        if (this.#passwordAttempts >= ATTEMPTS) return null;
        this.#passwordAttempts += 1;
        const password = await this.#password(this.#passwordAttempts);
        this.#note('password');
        return { type: 'password', username, password };
      }
      default:
        return null;
    }
  }

  async #tryKeys(username: string): Promise<Parameters<NextAuthHandler>[0] | null> {
    if (!this.#hasOfferedKeys) {
      this.#hasOfferedKeys = true;
      const signers = await this.#listSigners();
      if (signers.length > 0) return { type: 'agent', username, agent: this.#makeAgent(signers) };
    }
    for (;;) {
      const identity = this.#opaqueKeys.shift();
      if (identity === undefined) return null;
      const key = await this.#unlock(identity);
      if (key === null) continue;
      this.#note(identity.file);
      return { type: 'publickey', username, key: identity.text, ...(await this.#passphraseOf(identity)) };
    }
  }

  /** The keys in OpenSSH's order: configured ones that the agent holds, its others, then files. */
  async #listSigners(): Promise<Signer[]> {
    const { config, identities, log } = this.#options;
    const held = config.identityAgent === null ? [] : await this.#listAgent(config.identityAgent);
    const files = identities.filter((identity) => identity.kind !== 'foreign');
    const isHeld = (identity: Identity): boolean =>
      identity.kind !== 'foreign' &&
      held.some((key) => identity.publicKey?.equals(key.getPublicSSH()) === true);
    const isConfigured = (key: ParsedKey): boolean =>
      files.some((identity) => identity.publicKey?.equals(key.getPublicSSH()) === true);
    const fromAgent = [
      ...held.filter(isConfigured),
      ...(config.identitiesOnly ? [] : held.filter((key) => !isConfigured(key))),
    ].map((key): Signer => ({ kind: 'agent', key }));
    const fromFiles: Signer[] = [];
    for (const identity of files) {
      if (identity.kind !== 'key' || identity.publicKey === null || isHeld(identity)) continue;
      const key = this.#parse(identity.publicKey);
      if (key === null) log.info(`left out ${identity.file}: ssh2 can't use its type`);
      else fromFiles.push({ kind: 'file', key, identity });
    }
    for (const signer of fromAgent) this.#note(`agent key ${signer.key.comment || signer.key.type}`);
    for (const signer of fromFiles) if (signer.kind === 'file') this.#note(signer.identity.file);
    return [...fromAgent, ...fromFiles];
  }

  #listAgent(socket: string): Promise<ParsedKey[]> {
    const { ssh2, log } = this.#options;
    return new Promise((resolve) => {
      ssh2.createAgent(socket).getIdentities((error, keys) => {
        if (error) log.info(`the agent at ${socket} gave no keys: ${error.message}`);
        resolve((keys ?? []).flatMap((key) => this.#parse(bareKey(key)) ?? []));
      });
    });
  }

  /**
   * An agent in front of the real one and the key files. The public keys are offered first, so that a passphrase is
   * asked for only when the host would take the key.
   */
  #makeAgent(signers: readonly Signer[]): BaseAgent<ParsedKey> {
    const { ssh2, config } = this.#options;
    const sign = (key: ParsedKey, data: Buffer, hash: string | undefined): Promise<Buffer> =>
      this.#sign(signers, key, data, hash);
    const agent = config.identityAgent === null ? null : ssh2.createAgent(config.identityAgent);
    return new (class extends ssh2.BaseAgent<ParsedKey> {
      override getIdentities(callback: (error: Error | undefined, keys?: ParsedKey[]) => void): void {
        callback(
          undefined,
          signers.map((signer) => signer.key),
        );
      }
      override sign(key: ParsedKey, data: Buffer, options: unknown, callback?: unknown): void {
        const done = (callback ?? options) as (error?: Error | null, signature?: Buffer) => void;
        const hash =
          typeof options === 'object' && options !== null && 'hash' in options ? options.hash : undefined;
        const signer = signers.find((one) => one.key.equals(key));
        if (signer?.kind === 'agent' && agent !== null) {
          agent.sign(key, data, typeof hash === 'string' && isAgentHash(hash) ? { hash } : {}, done);
          return;
        }
        sign(key, data, typeof hash === 'string' ? hash : undefined).then(
          (signature) => done(null, signature),
          (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
        );
      }
    })();
  }

  async #sign(
    signers: readonly Signer[],
    key: ParsedKey,
    data: Buffer,
    hash: string | undefined,
  ): Promise<Buffer> {
    const signer = signers.find((one) => one.key.equals(key));
    if (signer?.kind !== 'file') throw new Error('no file holds this key');
    try {
      const unlocked = await this.#unlock(signer.identity);
      if (unlocked === null) throw new Error(`${signer.identity.file} could not be unlocked`);
      const signature: unknown = unlocked.sign(data, hash);
      if (Buffer.isBuffer(signature)) return signature;
      throw signature instanceof Error ? signature : new Error('the key made no signature');
    } catch (error) {
      // ssh2 goes on with the next key; a question that may not be asked is told at the end, a Cancel ends it all.
      if (error instanceof HostProblemError) {
        if (error.code === 'needsGesture') this.#unasked ??= error;
        else this.#options.onCancel(error);
      }
      throw error;
    }
  }

  /** The private key of a file, with its passphrase where it has one; null when it can't be had. */
  async #unlock(identity: KeyIdentity): Promise<ParsedKey | null> {
    if (!identity.isEncrypted) return this.#parse(identity.text);
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const passphrase = await this.#options.questions.secret(
        { kind: 'passphrase', keyFile: identity.file },
        attempt,
      );
      const key = this.#parse(identity.text, passphrase);
      if (key !== null) return key;
      this.#options.log.info(`the passphrase does not open ${identity.file}`);
    }
    return null;
  }

  async #passphraseOf(identity: KeyIdentity): Promise<{ readonly passphrase?: string }> {
    if (!identity.isEncrypted) return {};
    return {
      passphrase: await this.#options.questions.secret({ kind: 'passphrase', keyFile: identity.file }, 1),
    };
  }

  #parse(data: Buffer | string | ParsedKey, passphrase?: string): ParsedKey | null {
    const parsed: unknown = this.#options.ssh2.utils.parseKey(data, passphrase);
    const key: unknown = Array.isArray(parsed) ? parsed[0] : parsed;
    return key instanceof Error || typeof key !== 'object' || key === null ? null : (key as ParsedKey);
  }

  #passwordWanted(): Wanted {
    const { user, hostName } = this.#options.config;
    return { kind: 'password', user, who: `${user}@${hostName}` };
  }

  #password(attempt: number): Promise<string> {
    return this.#options.questions.secret(this.#passwordWanted(), attempt);
  }

  #answer(
    name: string,
    instructions: string,
    prompts: readonly { readonly prompt: string; readonly echo?: boolean }[],
    finish: (answers: string[]) => void,
  ): void {
    const only = prompts.length === 1 ? prompts[0] : undefined;
    // PAM's plain question for the password: the same as the method "password", so the same secret.
    const answers =
      only !== undefined && only.echo !== true && /^password\b/i.test(only.prompt.trim())
        ? this.#password(this.#interactiveAttempts).then((password) => [password])
        : this.#options.questions.serverQuestions({
            name,
            instructions,
            questions: prompts.map((one) => ({ text: one.prompt, isEchoed: one.echo === true })),
          });
    answers.then(
      (given) => finish([...given]),
      (error: unknown) => {
        if (error instanceof HostProblemError && error.code === 'needsGesture') {
          this.#unasked ??= error;
          this.#interactiveAttempts = ATTEMPTS;
          finish(prompts.map(() => ''));
          return;
        }
        this.#options.onCancel(
          error instanceof HostProblemError
            ? error
            : new HostProblemError('cancelled', { host: this.#options.config.id }, { cause: error }),
        );
      },
    );
  }

  #note(what: string): void {
    if (!this.#tried.includes(what)) this.#tried.push(what);
    this.#options.log.info(`trying ${what}`);
  }
}

import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createHostConnection } from '../../src/extension/hosts/connection.ts';
import type { HelperProgram, HostConnection, SshClient } from '../../src/extension/hosts/host.ts';
import type { Answer, Prompts, Question } from '../../src/extension/hosts/prompts.ts';
import type { TestHost } from './machine/machine.ts';
import { repositoryDirectory } from './machine/paths.ts';

/** What a user does with a kind of question: answers in turn (the last one again and again), or cancels. */
export interface Answers {
  readonly password?: readonly string[];
  readonly passphrase?: readonly string[];
  readonly sudoPassword?: readonly string[];
  readonly serverQuestions?: readonly string[];
  readonly hostKey?: boolean;
  /** People think again. */
  mayInstall?: boolean;
  /** Wants every secret remembered. */
  readonly remembers?: boolean;
}

/** A user at the editor: answers questions, and knows what was asked. What has no answer is cancelled. */
export class User {
  readonly secrets = new Map<string, string>();
  readonly consents = new Map<string, boolean>();
  readonly asked: string[] = [];
  readonly log: string[] = [];

  constructor(readonly answers: Answers = {}) {}

  readonly prompts: Prompts = {
    password: (question) => this.#secret('password', question, this.answers.password),
    passphrase: (question) => this.#secret('passphrase', question, this.answers.passphrase),
    sudoPassword: (question) => this.#secret('sudoPassword', question, this.answers.sudoPassword),
    serverQuestions: ({ questions }) => {
      this.asked.push('serverQuestions');
      return Promise.resolve(
        this.answers.serverQuestions &&
          questions.map((_, index) => this.answers.serverQuestions?.[index] ?? ''),
      );
    },
    unknownHostKey: ({ knownAs, keyType, fingerprint }) => {
      this.asked.push(`hostKey ${knownAs} ${keyType} ${fingerprint}`);
      return Promise.resolve(this.answers.hostKey);
    },
    mayInstall: ({ reason }) => {
      this.asked.push(`mayInstall ${reason}`);
      return Promise.resolve(this.answers.mayInstall);
    },
    notice: () => Promise.resolve(),
  };

  #secret(
    kind: string,
    question: Question & { attempt: number },
    answers?: readonly string[],
  ): Promise<Answer | undefined> {
    this.asked.push(`${kind} ${String(question.attempt)}`);
    const text = answers?.[Math.min(question.attempt, answers.length) - 1];
    return Promise.resolve(
      text === undefined ? undefined : { text, remember: this.answers.remembers === true },
    );
  }

  /** A connection of this user's editor. */
  connection(
    id: string,
    options: { client: 'auto' | SshClient; configFile: string; helper: HelperProgram },
  ): HostConnection {
    const write = (line: string): void => void this.log.push(`${new Date().toISOString()} ${line}`);
    const { secrets, consents } = this;
    return createHostConnection(id, {
      log: { debug: write, info: write, warn: write, error: write },
      prompts: this.prompts,
      secrets: {
        get: (key) => Promise.resolve(secrets.get(key)),
        store: (key, value) => Promise.resolve(void secrets.set(key, value)),
        delete: (key) => Promise.resolve(void secrets.delete(key)),
      },
      consents: {
        mayInstall: (host) => consents.get(host),
        setMayInstall: (host, mayInstall) => Promise.resolve(void consents.set(host, mayInstall)),
      },
      readHelper: () => Promise.resolve(options.helper),
      clientVersion: options.helper.version,
      preferredClient: () => options.client,
      configFile: () => options.configFile,
      loadSsh2: () => import('../../src/extension/hosts/ssh2Bundle.ts'),
    });
  }
}

/** The built helper, read once: another build meanwhile doesn't make it another one. */
export async function readBuiltHelper(): Promise<HelperProgram> {
  const bytes = await readFile(join(repositoryDirectory, 'dist', 'helper.cjs')).catch(() => {
    throw new Error('dist/helper.cjs is not there: run "npm run build" first');
  });
  const manifest = JSON.parse(await readFile(join(repositoryDirectory, 'package.json'), 'utf8')) as {
    version: string;
  };
  return helperOf(bytes, manifest.version);
}

/** The same program as other bytes: another build of it. */
export function rebuilt(helper: HelperProgram, comment: string): HelperProgram {
  return helperOf(
    Buffer.concat([Buffer.from(helper.base64, 'base64'), Buffer.from(`\n// ${comment}\n`)]),
    helper.version,
  );
}

function helperOf(bytes: Buffer, version: string): HelperProgram {
  return {
    base64: bytes.toString('base64'),
    digest: createHash('sha256').update(bytes).digest('hex'),
    version,
  };
}

/** Writes an SSH configuration for a host, whose alias is "box". `lines` come first, and so win. */
export async function writeSshConfig(
  file: string,
  host: TestHost,
  lines: readonly string[] = [],
): Promise<string> {
  const { ssh } = host;
  const text = [
    'Host box',
    ...lines,
    `HostName ${ssh.host}`,
    `Port ${String(ssh.port)}`,
    `User ${ssh.user}`,
    `IdentityFile ${ssh.identityFile}`,
    'IdentitiesOnly yes',
    // The agent of whoever runs the tests must not decide what they prove.
    'IdentityAgent none',
    `UserKnownHostsFile ${ssh.knownHostsFile}`,
    'GlobalKnownHostsFile /dev/null',
    '',
  ].join('\n');
  await writeFile(file, text);
  return file;
}

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import type { Log } from './log.ts';
import { HostProblemError } from './problems.ts';
import type { Questions } from './questions.ts';

/**
 * What ssh starts to ask something: hands the question to the extension over a socket and prints the answer. It is
 * run by the editor's own Node.js, so nothing else is needed on the machine.
 */
const ASKPASS_PROGRAM = `'use strict';
const socket = require('node:net').connect(process.env.FORKPOINT_ASKPASS_SOCKET);
let answer = '';
socket.on('error', () => process.exit(1));
socket.on('data', (data) => { answer += data; });
socket.on('end', () => {
  if (!answer.endsWith('\\n')) process.exit(1);
  process.stdout.write(answer, () => process.exit(0));
});
socket.write(JSON.stringify({
  secret: process.env.FORKPOINT_ASKPASS_SECRET,
  hint: process.env.SSH_ASKPASS_PROMPT ?? '',
  prompt: process.argv[2] ?? '',
}) + '\\n');
`;

/** What ssh asks, told from its prompt; the texts are in OpenSSH's sources and not translated. */
export type AskpassPrompt =
  | { readonly kind: 'password'; readonly user: string; readonly who: string }
  | { readonly kind: 'passphrase'; readonly keyFile: string }
  | {
      readonly kind: 'hostKey';
      readonly knownAs: string;
      readonly keyType: string;
      readonly fingerprint: string;
    }
  /** Nothing to answer: shown until ssh takes it back (touch the security key). */
  | { readonly kind: 'notice'; readonly text: string }
  | { readonly kind: 'other'; readonly text: string };

/** @param hint SSH_ASKPASS_PROMPT of ssh(1): `confirm`, `none` or empty */
export function readAskpassPrompt(prompt: string, hint: string): AskpassPrompt {
  if (hint === 'none') return { kind: 'notice', text: prompt };
  const password = /^(?:\()?((\S+)@[^\s')]+)(?:'s password|\) Password): ?$/i.exec(prompt);
  if (password?.[1] !== undefined && password[2] !== undefined) {
    return { kind: 'password', who: password[1], user: password[2] };
  }
  const passphrase = /^Enter passphrase for (?:key )?'?(.+?)'?: ?$/.exec(prompt);
  if (passphrase?.[1] !== undefined) return { kind: 'passphrase', keyFile: passphrase[1] };
  const hostKey =
    /^The authenticity of host '(\S+)[^]*?(\S+) key fingerprint is(?:\s*:)? (SHA256:[A-Za-z0-9+/]+)/.exec(
      prompt,
    );
  if (hostKey?.[1] !== undefined && hostKey[2] !== undefined && hostKey[3] !== undefined) {
    return {
      kind: 'hostKey',
      knownAs: hostKey[1].replace(/'$/, ''),
      keyType: hostKey[2],
      fingerprint: hostKey[3],
    };
  }
  return { kind: 'other', text: prompt };
}

/** The questions of ssh processes, answered by the extension. Lives as long as one attempt to connect. */
export class Askpass {
  readonly #server: Server;
  readonly #directory: string;
  readonly #secret: string;
  readonly #questions: Questions;
  readonly #log: Log;
  readonly #onGivenUp: () => void;
  readonly #asked = new Map<string, number>();
  /** The question that could not be answered, which is why ssh then failed. */
  problem: HostProblemError | null = null;
  readonly environment: Readonly<Record<string, string>>;

  private constructor(
    server: Server,
    directory: string,
    address: string,
    questions: Questions,
    log: Log,
    onGivenUp: () => void,
  ) {
    this.#server = server;
    this.#onGivenUp = onGivenUp;
    this.#directory = directory;
    this.#questions = questions;
    this.#log = log;
    this.#secret = randomBytes(16).toString('hex');
    this.environment = {
      SSH_ASKPASS: path.join(directory, starterName()),
      SSH_ASKPASS_REQUIRE: 'force',
      // ssh before 8.4 asks this way only when there seems to be a display.
      DISPLAY: process.env['DISPLAY'] ?? ':0',
      FORKPOINT_ASKPASS_NODE: process.execPath,
      FORKPOINT_ASKPASS_PROGRAM: path.join(directory, 'askpass.cjs'),
      FORKPOINT_ASKPASS_SOCKET: address,
      FORKPOINT_ASKPASS_SECRET: this.#secret,
    };
  }

  /**
   * Writes the program and starts to listen.
   * @param onGivenUp called when what ssh asks will not be answered, and waiting for it makes no sense
   */
  static async create(questions: Questions, log: Log, onGivenUp: () => void): Promise<Askpass> {
    // mkdtemp makes it 0700: nobody else reaches the socket.
    const directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-'));
    await writeFile(path.join(directory, 'askpass.cjs'), ASKPASS_PROGRAM, { mode: 0o600 });
    await writeFile(path.join(directory, starterName()), starter(), { mode: 0o700 });
    const address =
      process.platform === 'win32'
        ? `\\\\.\\pipe\\forkpoint-${randomBytes(16).toString('hex')}`
        : path.join(directory, 'socket');
    // The asking side closes last, so that "close" here tells that ssh took its question back.
    const server = createServer({ allowHalfOpen: true });
    const askpass = new Askpass(server, directory, address, questions, log, onGivenUp);
    server.on('connection', (socket) => askpass.#serve(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(address, resolve);
    });
    return askpass;
  }

  #serve(socket: Socket): void {
    const gone = new AbortController();
    let received = '';
    socket.setEncoding('utf8');
    socket.on('error', (error) => this.#log.debug(`askpass: ${error.message}`));
    socket.on('close', () => gone.abort());
    socket.on('data', (chunk: string) => {
      const isComplete = received.includes('\n');
      received += chunk;
      if (isComplete || !received.includes('\n')) return;
      this.#answer(received, gone.signal).then(
        (answer) => socket.end(answer === null ? '' : `${answer}\n`),
        (error: unknown) => {
          this.problem ??=
            error instanceof HostProblemError
              ? error
              : new HostProblemError('cancelled', { host: this.#questions.host }, { cause: error });
          // Without an answer askpass fails. ssh would take that for an empty answer and go on asking.
          socket.end();
          if (this.problem.code === 'cancelled') this.#onGivenUp();
        },
      );
    });
  }

  async #answer(line: string, gone: AbortSignal): Promise<string | null> {
    const message: unknown = JSON.parse(line);
    if (!isMessage(message) || message.secret !== this.#secret) return null;
    // Once the user has cancelled, ssh may still try its other ways: those are not asked for.
    if (this.problem && this.problem.code !== 'needsGesture') return null;
    const prompt = readAskpassPrompt(message.prompt, message.hint);
    switch (prompt.kind) {
      case 'password':
        return this.#questions.secret(
          { kind: 'password', user: prompt.user, who: prompt.who },
          this.#count(message.prompt),
        );
      case 'passphrase':
        return this.#questions.secret(
          { kind: 'passphrase', keyFile: prompt.keyFile },
          this.#count(message.prompt),
        );
      case 'hostKey': {
        const isAccepted = await this.#questions.unknownHostKey(prompt);
        if (!isAccepted) {
          const { keyType, fingerprint } = prompt;
          this.problem = new HostProblemError('hostKeyRefused', {
            host: this.#questions.host,
            keyType,
            fingerprint,
          });
        }
        return isAccepted ? 'yes' : 'no';
      }
      case 'notice':
        try {
          await this.#questions.notice(prompt.text, gone);
        } catch (error) {
          // Nobody is told to touch the key, so ssh would wait for it in vain.
          this.#onGivenUp();
          throw error;
        }
        return '';
      case 'other': {
        const answers = await this.#questions.serverQuestions({
          name: '',
          instructions: '',
          questions: [{ text: prompt.text, isEchoed: false }],
        });
        return answers[0] ?? '';
      }
    }
  }

  /** Starts counting again for another ssh process: its first question is no sign of a wrong answer. */
  forgetCounts(): void {
    this.#asked.clear();
  }

  #count(prompt: string): number {
    const count = (this.#asked.get(prompt) ?? 0) + 1;
    this.#asked.set(prompt, count);
    return count;
  }

  async dispose(): Promise<void> {
    this.#server.close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

interface Message {
  readonly secret: string;
  readonly hint: string;
  readonly prompt: string;
}

function isMessage(value: unknown): value is Message {
  return (
    typeof value === 'object' &&
    value !== null &&
    'secret' in value &&
    typeof value.secret === 'string' &&
    'hint' in value &&
    typeof value.hint === 'string' &&
    'prompt' in value &&
    typeof value.prompt === 'string'
  );
}

function starterName(): string {
  return process.platform === 'win32' ? 'askpass.cmd' : 'askpass.sh';
}

/** The editor's executable is Node.js when ELECTRON_RUN_AS_NODE is set. */
function starter(): string {
  return process.platform === 'win32'
    ? '@echo off\r\nset ELECTRON_RUN_AS_NODE=1\r\n"%FORKPOINT_ASKPASS_NODE%" "%FORKPOINT_ASKPASS_PROGRAM%" %*\r\n'
    : '#!/bin/sh\nELECTRON_RUN_AS_NODE=1 exec "$FORKPOINT_ASKPASS_NODE" "$FORKPOINT_ASKPASS_PROGRAM" "$@"\n';
}

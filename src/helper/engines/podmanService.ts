import { request, type IncomingMessage } from 'node:http';
import { rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import * as z from 'zod';
import { ForkpointError } from '../../protocol/errors.ts';
import { failureText } from '../host/failureText.ts';
import type { Log } from '../host/log.ts';
import { poll } from '../host/poll.ts';
import { signalProcess } from '../host/processes.ts';
import { lastLines, type RunOptions } from '../host/run.ts';

/**
 * How long it stays when it is asked nothing, in seconds: from the preview of a restore to the click that confirms it. Told
 * to end, it waits as long for what is under way in it (Podman's pkg/api/server/server.go, Shutdown).
 */
const LINGER_SECONDS = 60;

/** How long its start may take, on a busy host, in milliseconds; mostly it takes 40. */
const START_TIMEOUT_MS = 10_000;

/** How long a question may take that does not say otherwise, in milliseconds. */
const ANSWER_TIMEOUT_MS = 60_000;

/** Podman 4 and 5 answer to this version of their API (Podman's version/version.go, APIMinimalVersion). */
const API = '/v4.0.0/libpod';

/** How failures are answered. */
const ProblemSchema = z.object({ message: z.string() });

/** What was answered to a question. */
interface Answer {
  /** HTTP status. */
  readonly status: number;
  readonly body: string;
}

/**
 * Podman as a service (podman-system-service(1)), on a socket that is root's alone. Its program takes 40 ms and more to begin
 * with, at each call; a service takes them once, beside what comes before a restore. It ends by itself soon after the last
 * question, so that nothing of it stays on a host at rest.
 */
export class PodmanService {
  /** Resolves to whether it answers; null when it is not there. */
  private answers: Promise<boolean> | null = null;
  private ended: Promise<void> = Promise.resolve();
  private pid = 0;

  /**
   * @param socket where it listens; whoever reaches it is root on this host, so its directory is root's alone
   * @param podman runs Podman with such arguments
   */
  constructor(
    private readonly socket: string,
    private readonly podman: (args: readonly string[], options: RunOptions) => Promise<unknown>,
    private readonly log: Log,
  ) {}

  /** Starts it, unless it runs. Answers false, and logs why, where it can't be had: never rejected. */
  start(): Promise<boolean> {
    this.answers ??= this.launch();
    return this.answers;
  }

  /** Has it end, once it has done what it was asked for. */
  async end(): Promise<void> {
    if (this.pid !== 0) signalProcess(this.pid, 'SIGTERM');
    await this.ended;
  }

  /**
   * Asks it, if it is expected.
   * @param path below `/libpod`, with its query
   * @param accept statuses that are answers, not failures
   * @returns null when nothing was done: it is not there, or broke off in the middle of a GET
   * @throws ForkpointError `command.failed`, with what Podman said
   */
  async ask(
    method: 'GET' | 'POST',
    path: string,
    accept: readonly number[],
    timeoutMs = ANSWER_TIMEOUT_MS,
  ): Promise<Answer | null> {
    if (this.answers === null || !(await this.answers)) return null;
    const started = performance.now();
    const question = `podman ${method} ${path}`;
    const answer = await this.exchange(method, path, timeoutMs).catch((error: unknown) => {
      if (method === 'GET') return null;
      throw new ForkpointError(
        'command.failed',
        { command: question, status: 'no answer' },
        { detail: failureText(error), cause: error },
      );
    });
    const status = answer === null ? 'no answer' : String(answer.status);
    this.log.debug(`asked ${question}: ${status}, ${(performance.now() - started).toFixed(1)} ms`);
    if (answer === null || accept.includes(answer.status)) return answer;
    throw new ForkpointError('command.failed', { command: question, status }, { detail: problemOf(answer) });
  }

  private async launch(): Promise<boolean> {
    await rm(this.socket, { force: true, recursive: true });
    let hasEnded = false;
    const args = ['system', 'service', '--time', String(LINGER_SECONDS), `unix://${this.socket}`];
    const onStart = (pid: number): void => {
      this.pid = pid;
    };
    this.ended = this.podman(args, { timeoutMs: 0, onStart })
      .then(
        () => undefined,
        (error: unknown) => this.log.warn(`Podman's service: ${failureText(error)}`),
      )
      .finally(() => {
        hasEnded = true;
        this.pid = 0;
        this.answers = null;
      });
    const listens = await poll(async () => hasEnded || (await this.canConnect()), {
      everyMs: 3,
      timeoutMs: START_TIMEOUT_MS,
    });
    return listens && !hasEnded;
  }

  private async canConnect(): Promise<boolean> {
    const connection = createConnection(this.socket);
    try {
      await once(connection, 'connect');
      return true;
    } catch {
      return false;
    } finally {
      connection.destroy();
    }
  }

  /** Answers null where there was nobody to ask. */
  private async exchange(method: string, path: string, timeoutMs: number): Promise<Answer | null> {
    const question = request({
      socketPath: this.socket,
      method,
      path: `${API}${path}`,
      // A connection for each: one that is kept would keep the service.
      agent: false,
      signal: AbortSignal.timeout(timeoutMs),
    });
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        question.on('response', resolve).on('error', reject).end();
      });
      return { status: response.statusCode ?? 0, body: await text(response) };
    } catch (error) {
      if (isNobodyThere(error)) return null;
      throw error;
    }
  }
}

/** It has ended by itself, so that nothing was asked (unix(7)). */
function isNobodyThere(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && (error.code === 'ECONNREFUSED' || error.code === 'ENOENT')
  );
}

/** What Podman says of a failure. */
function problemOf({ body }: Answer): string {
  try {
    return lastLines(ProblemSchema.parse(JSON.parse(body)).message);
  } catch {
    return lastLines(body);
  }
}

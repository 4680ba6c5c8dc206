import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import * as path from 'node:path';
import { createSecureContext } from 'node:tls';
import * as z from 'zod';
import { ForkpointError } from '../../protocol/errors.ts';
import type { ApiStatus, ApiToken } from '../../protocol/httpAccess.ts';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { Params } from '../../protocol/operations.ts';
import { removeDurably, writeJsonDurably } from '../catalogue/durableFile.ts';
import { readRecord } from '../catalogue/readRecord.ts';
import type { Log } from '../host/log.ts';
import type { Run } from '../host/run.ts';
import { readListen, type ListenPlace } from './apiListen.ts';
import { ApiTokens } from './apiTokens.ts';
import type { Services } from './services.ts';

/** What whoever serves the API asks about a request. */
export interface ApiGuard {
  /** The valid token whose text this is. */
  token(text: string): ApiToken | null;
  /** The workspace that a request means by id or name; null when there is none. */
  workspaceId(reference: string): WorkspaceId | null;
  /** Lets a token hold for workspaces that were made with it. */
  extend(tokenId: string, made: readonly WorkspaceId[]): Promise<void>;
}

/** Where and how to serve the API. */
export interface ApiOpening {
  readonly place: ListenPlace;
  /** PEM. */
  readonly tls: { readonly certificate: string; readonly key: string } | null;
  /** Of the unix socket; null: root alone. */
  readonly groupId: number | null;
}

/** The door that serves the API. */
export interface ApiListener {
  /** @throws `api.notListening` */
  open(opening: ApiOpening, guard: ApiGuard): Promise<void>;
  /** Accepts no more; requests that it has are answered. */
  close(): Promise<void>;
}

const ApiFileSchema = z.object({
  schema: z.literal(1),
  listen: z.string(),
  tls: z.object({ certificate: z.string(), key: z.string() }).nullable(),
  group: z.string().nullable(),
});
type ApiFile = z.infer<typeof ApiFileSchema>;

/** The operations on the API itself. */
export type ApiServices = Pick<Services, Extract<keyof Services, `api/${string}`>>;

/** What the API is made of. */
export interface ApiParts {
  readonly directory: string;
  readonly listener: ApiListener;
  /** Finds a workspace by id or name; throws `workspace.notFound`. */
  readonly workspace: (reference: string) => { readonly id: WorkspaceId };
  readonly run: Run;
  readonly log: Log;
  readonly now: () => Date;
}

/** Whether the HTTP API is on, where it listens, and who may use it: kept over restarts of the daemon. */
export class Api {
  readonly #parts: ApiParts;
  readonly #tokens: ApiTokens;
  #file: ApiFile | null;
  #certificateExpiresAt: string | null = null;
  #isListening = false;
  #problem: string | null = null;
  /** Switching on and off take turns. */
  #lastTurn: Promise<unknown> = Promise.resolve();

  private constructor(parts: ApiParts, tokens: ApiTokens, file: ApiFile | null) {
    this.#parts = parts;
    this.#tokens = tokens;
    this.#file = file;
  }

  /** Reads how the API was left. */
  static async load(parts: ApiParts): Promise<Api> {
    const { directory, now, log } = parts;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const tokens = await ApiTokens.load(path.join(directory, 'tokens.json'), now, log);
    return new Api(parts, tokens, await readRecord(fileIn(directory), ApiFileSchema, log));
  }

  /** While it is on, the daemon stays. */
  get isOn(): boolean {
    return this.#file !== null;
  }

  /** The operations on it. */
  services(): ApiServices {
    return {
      'api/enable': (params) => this.#inTurn(() => this.#enable(params)),
      'api/disable': () => this.#inTurn(() => this.#disable()),
      'api/status': () => Promise.resolve(this.#status()),
      'api/token/create': (params) => this.#createToken(params),
      'api/token/list': () => Promise.resolve(this.#tokens.list()),
      'api/token/revoke': ({ token }) => this.#tokens.revoke(token),
    };
  }

  /** Listens, where it is on and doesn't yet: after a start, and again after a failure. */
  async resume(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#file === null || this.#isListening) return;
      try {
        await this.#listen(this.#file);
      } catch (error) {
        const problem = ForkpointError.from(error).message;
        if (problem !== this.#problem) this.#parts.log.error(problem);
        this.#problem = problem;
      }
    });
  }

  async #enable({ listen, tls, group }: Params<'api/enable'>): Promise<ApiStatus> {
    const [certificate, key] = tls ?? [];
    const next: ApiFile = {
      schema: 1,
      listen,
      tls: certificate === undefined || key === undefined ? null : { certificate, key },
      group: group ?? null,
    };
    // All that can be wrong with it is found before the listening that goes on is ended.
    await this.#read(next);
    const before = this.#isListening ? this.#file : null;
    await this.#close();
    try {
      await this.#listen(next);
    } catch (error) {
      if (before !== null) await this.#listen(before);
      throw error;
    }
    await writeJsonDurably(fileIn(this.#parts.directory), next);
    this.#file = next;
    this.#parts.log.info(`the HTTP API is on: ${listen}${tls === undefined ? '' : ' with TLS'}`);
    return this.#status();
  }

  async #disable(): Promise<ApiStatus> {
    await removeDurably(fileIn(this.#parts.directory));
    this.#file = null;
    await this.#close();
    this.#parts.log.info('the HTTP API is off');
    return this.#status();
  }

  async #listen(file: ApiFile): Promise<void> {
    const { expiresAt, ...opening } = await this.#read(file);
    await this.#parts.listener.open(opening, {
      token: (text) => this.#tokens.find(text),
      workspaceId: (reference) => this.#workspaceId(reference),
      extend: (tokenId, made) => this.#tokens.extend(tokenId, made),
    });
    this.#certificateExpiresAt = expiresAt;
    this.#isListening = true;
    this.#problem = null;
  }

  async #close(): Promise<void> {
    if (this.#isListening) await this.#parts.listener.close();
    this.#isListening = false;
    this.#problem = null;
  }

  /** Finds out all that opening takes. */
  async #read(file: ApiFile): Promise<ApiOpening & { expiresAt: string | null }> {
    const { listen, tls, group } = file;
    const place = readListen(listen, tls !== null);
    const refuse = (problem: string, cause?: unknown): ForkpointError =>
      new ForkpointError('api.notListening', { listen, problem }, { cause });
    if (group !== null && place.kind !== 'unix') throw refuse('a group goes with a unix socket');
    const groupId = group === null ? null : await this.#groupId(group);
    if (groupId === undefined) throw refuse(`there is no group "${String(group)}"`);
    if (tls === null) return { place, tls, groupId, expiresAt: null };
    try {
      const [certificate, key] = [await readFile(tls.certificate, 'utf8'), await readFile(tls.key, 'utf8')];
      if (((await stat(tls.key)).mode & 0o004) !== 0) throw refuse('everybody can read the private key');
      // Throws when the two are no pair.
      createSecureContext({ cert: certificate, key });
      const expiry = new Date(new X509Certificate(certificate).validTo);
      if (expiry <= this.#parts.now()) throw refuse('the certificate has expired');
      return { place, tls: { certificate, key }, groupId, expiresAt: expiry.toISOString() };
    } catch (error) {
      if (error instanceof ForkpointError) throw error;
      const problem = error instanceof Error ? error.message : String(error);
      throw refuse(`its certificate and key can't be used: ${problem}`, error);
    }
  }

  /** Id of a group of the host; undefined when there is none; getent(1): 2. */
  async #groupId(group: string): Promise<number | undefined> {
    const { stdout, exitCode } = await this.#parts.run('getent', ['group', group], { accept: [0, 2] });
    return exitCode === 0 ? Number(stdout.split(':')[2]) : undefined;
  }

  #workspaceId(reference: string): WorkspaceId | null {
    try {
      return this.#parts.workspace(reference).id;
    } catch (error) {
      if (error instanceof ForkpointError && error.code === 'workspace.notFound') return null;
      throw error;
    }
  }

  async #createToken(params: Params<'api/token/create'>): Promise<ApiToken & { token: string }> {
    const { container, allContainers } = params;
    if (allContainers === container.length > 0) {
      throw new ForkpointError('request.invalid', {
        problem: 'give the workspaces that the token holds for, or say that it holds for all',
      });
    }
    const containers = allContainers
      ? null
      : container.map((reference) => this.#parts.workspace(reference).id);
    const created = await this.#tokens.create(params, containers);
    this.#parts.log.info(`token ${created.id} may ${created.may.join(', ')} until ${created.expiresAt}`);
    return created;
  }

  #status(): ApiStatus {
    const file = this.#file;
    return {
      enabled: file !== null,
      listen: file?.listen ?? null,
      tls:
        file?.tls == null || this.#certificateExpiresAt === null
          ? null
          : { ...file.tls, expiresAt: this.#certificateExpiresAt },
      isListening: this.#isListening,
      problem: this.#problem,
      tokens: this.#tokens.validCount,
    };
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastTurn.then(work);
    this.#lastTurn = turn.catch(() => undefined);
    return turn;
  }
}

function fileIn(directory: string): string {
  return path.join(directory, 'door.json');
}

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import * as z from 'zod';
import { ForkpointError } from '../../protocol/errors.ts';
import { ApiTokenSchema, type ApiToken, type CreateTokenSchema } from '../../protocol/httpAccess.ts';
import type { WorkspaceId } from '../../protocol/names.ts';
import { writeJsonDurably } from '../catalogue/durableFile.ts';
import { readRecord } from '../catalogue/readRecord.ts';
import type { Log } from '../host/log.ts';
import { DAY_MS } from './snapshotRecord.ts';

/** How long an expired token is still listed, so that one can see why it is refused. */
const LISTED_AFTER_EXPIRY_MS = 30 * DAY_MS;

const TokenRecordSchema = ApiTokenSchema.extend({
  /** SHA-256 of the secret, in hexadecimal. The secret has 256 random bits, so that no slower hash is needed. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
});
type TokenRecord = z.infer<typeof TokenRecordSchema>;

const TokenFileSchema = z.object({ schema: z.literal(1), tokens: z.array(TokenRecordSchema) });

/** What is compared with a token that there is not, so that this takes as long. */
const NO_HASH = '0'.repeat(64);

/** The tokens of the HTTP API, kept as hashes in a file of root alone. */
export class ApiTokens {
  readonly #file: string;
  readonly #now: () => Date;
  #records: readonly TokenRecord[];
  /** Changes are written one after another. */
  #lastWrite: Promise<unknown> = Promise.resolve();

  private constructor(file: string, now: () => Date, records: readonly TokenRecord[]) {
    this.#file = file;
    this.#now = now;
    this.#records = records;
  }

  /** Reads the tokens from `file`. */
  static async load(file: string, now: () => Date, log: Log): Promise<ApiTokens> {
    const content = await readRecord(file, TokenFileSchema, log);
    return new ApiTokens(file, now, content?.tokens ?? []);
  }

  /** Makes a token for `containers`, null meaning all. The secret is in the answer and nowhere else. */
  async create(
    params: Pick<z.output<typeof CreateTokenSchema>, 'may' | 'expiry' | 'label'>,
    containers: readonly WorkspaceId[] | null,
  ): Promise<ApiToken & { token: string }> {
    const id = randomBytes(6).toString('hex');
    const secret = randomBytes(32).toString('base64url');
    const now = this.#now();
    const record: TokenRecord = {
      id,
      label: params.label ?? null,
      containers: containers === null ? null : [...new Set(containers)],
      may: [...new Set(params.may)],
      createdAt: now.toISOString(),
      expiresAt: new Date(now.getTime() + params.expiry * DAY_MS).toISOString(),
      hash: hashOf(secret),
    };
    await this.#change((records) => [
      ...records.filter(({ expiresAt }) => Date.parse(expiresAt) + LISTED_AFTER_EXPIRY_MS > now.getTime()),
      record,
    ]);
    return { ...withoutHash(record), token: `fpt_${id}_${secret}` };
  }

  /** All tokens that were not revoked, newest first; expired ones for a while. */
  list(): ApiToken[] {
    return this.#records.map(withoutHash).reverse();
  }

  /** How many are valid now. */
  get validCount(): number {
    return this.#records.filter((record) => this.#isValid(record)).length;
  }

  /** @throws `api.tokenNotFound` */
  async revoke(id: string): Promise<ApiToken> {
    const record = this.#records.find((one) => one.id === id);
    if (record === undefined) throw new ForkpointError('api.tokenNotFound', { token: id });
    await this.#change((records) => records.filter((one) => one.id !== id));
    return withoutHash(record);
  }

  /** The token whose text this is; null when it is none of ours, expired or revoked. */
  find(text: string): ApiToken | null {
    const [, id, secret] = /^fpt_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/.exec(text) ?? [];
    if (secret === undefined) return null;
    const record = this.#records.find((one) => one.id === id);
    const isEqual = timingSafeEqual(
      Buffer.from(hashOf(secret), 'hex'),
      Buffer.from(record?.hash ?? NO_HASH, 'hex'),
    );
    return record !== undefined && isEqual && this.#isValid(record) ? withoutHash(record) : null;
  }

  /** Lets a token hold for `containers` too, which were made with it. One that was revoked meanwhile stays so. */
  async extend(id: string, containers: readonly WorkspaceId[]): Promise<void> {
    await this.#change((records) =>
      records.map((record) =>
        record.id === id && record.containers !== null
          ? { ...record, containers: [...new Set([...record.containers, ...containers])] }
          : record,
      ),
    );
  }

  #isValid({ expiresAt }: TokenRecord): boolean {
    return Date.parse(expiresAt) > this.#now().getTime();
  }

  /** What is not on disk does not hold yet. */
  async #change(change: (records: readonly TokenRecord[]) => readonly TokenRecord[]): Promise<void> {
    const write = this.#lastWrite.then(async () => {
      const tokens = change(this.#records);
      await writeJsonDurably(this.#file, { schema: 1, tokens });
      this.#records = tokens;
    });
    this.#lastWrite = write.catch(() => undefined);
    await write;
  }
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function withoutHash(record: TokenRecord): ApiToken {
  // A schema keeps the fields that it has.
  return ApiTokenSchema.parse(record);
}

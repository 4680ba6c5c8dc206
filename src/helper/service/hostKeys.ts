import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import * as path from 'node:path';
import type { Log } from '../host/log.ts';
import type { Run } from '../host/run.ts';

/** An SSH host key, as its two files have it. */
export interface HostKey {
  readonly private: Buffer;
  readonly public: Buffer;
}

/** How many of each type that was asked for are made ahead. */
const AHEAD = 2;

/**
 * SSH host keys for forks. An RSA key takes half a second to make and sometimes two, longer than all else of a fork, so some
 * are made ahead once forks need such keys. They are kept in memory alone, and each is handed out once.
 */
export class HostKeys {
  private readonly ready = new Map<string, HostKey[]>();

  /**
   * @param directory where they are made; in memory, and root's alone
   * @param later does work when nobody waits
   */
  constructor(
    private readonly run: Run,
    private readonly directory: string,
    private readonly log: Log,
    private readonly later: (title: string, work: () => Promise<void>) => void,
  ) {}

  /**
   * A key that nobody had before.
   * @param type as ssh-keygen(1) names it
   */
  async take(type: string): Promise<HostKey> {
    const kept = this.ready.get(type) ?? [];
    this.ready.set(type, kept);
    const key = kept.pop() ?? (await this.make(type, []));
    this.later(`make SSH host keys: ${type}`, () => this.fill(type, kept));
    return key;
  }

  /** Removes what a daemon that was killed has left. */
  async clear(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  private async fill(type: string, kept: HostKey[]): Promise<void> {
    while (kept.length < AHEAD) kept.push(await this.make(type, ['nice', '-n', '19']));
    this.log.debug(`${String(kept.length)} SSH host keys are ready: ${type}`);
  }

  /** @param before what the command is started by */
  private async make(type: string, before: readonly string[]): Promise<HostKey> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    const directory = await mkdtemp(path.join(this.directory, 'key-'));
    try {
      const file = path.join(directory, 'key');
      // Its comment is for people alone (sshd(8), authorized_keys), and no fork's name is known yet.
      const [command, ...args] = [...before, 'ssh-keygen', '-q', '-t', type, '-N', '', '-C', 'root'];
      await this.run(command, [...args, '-f', file]);
      const [secret, shown] = await Promise.all([readFile(file), readFile(`${file}.pub`)]);
      return { private: secret, public: shown };
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
}

import { execa } from 'execa';
import * as z from 'zod';
import { TestHostError } from './testHostError.ts';

/** What `up` prints: all that a program needs to reach a host. */
export const HostDescriptionSchema = z.object({
  name: z.string(),
  /** The host's pid 1, or the virtual machine's QEMU, as the machine counts. */
  pid: z.number(),
  ssh: z.object({
    host: z.string(),
    port: z.number(),
    user: z.string(),
    identityFile: z.string(),
    knownHostsFile: z.string(),
  }),
  /** Where the pool is mounted in the host. */
  pool: z.string(),
});
export type HostDescription = z.infer<typeof HostDescriptionSchema>;

/** What {@link TestHost.exec} takes beside the command. */
export interface ExecOptions {
  readonly input?: string | Uint8Array;
  /** Milliseconds; the command is killed after that. Default: two minutes, on a virtual machine ten. */
  readonly timeoutMs?: number;
}

/** How a command in a host ended. */
export interface ExecResult {
  /** 128 + N when signal N ended it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A test host that is up, whatever it is made of. */
export abstract class TestHost {
  protected readonly execTimeoutMs: number = 120_000;

  constructor(
    readonly description: HostDescription,
    readonly cgroupVersion: 1 | 2,
  ) {}

  get name(): string {
    return this.description.name;
  }

  /** How to reach the host by SSH, as user "dev". */
  get ssh(): HostDescription['ssh'] {
    return this.description.ssh;
  }

  /** The machine's command that runs `argv` as root in the host, to be started with {@link enterOptions}. */
  abstract enterArguments(argv: readonly string[]): Promise<[string, ...string[]]>;

  /** Ends the host; nothing of it remains. */
  abstract down(): Promise<void>;

  /**
   * Runs a command as root in the host; no shell.
   * @throws {TestHostError} when it runs out of time
   */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const timeoutMs = options.timeoutMs ?? this.execTimeoutMs;
    const [command, ...args] = await this.enterArguments(argv);
    const result = await execa(command, args, {
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
      ...enterOptions,
      timeout: timeoutMs,
      stripFinalNewline: false,
      reject: false,
    });
    if (result.timedOut) {
      throw new TestHostError(
        `"${argv.join(' ')}" on test host "${this.name}" did not end within ${timeoutMs} ms. It said: ${result.stderr}`,
      );
    }
    return { exitCode: result.exitCode ?? 128, stdout: result.stdout, stderr: result.stderr };
  }

  /**
   * Runs a command as {@link exec} does and gives its stdout.
   * @throws {TestHostError} with its stderr when it fails
   */
  async run(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
    const { exitCode, stdout, stderr } = await this.exec(argv, options);
    if (exitCode !== 0) {
      throw new TestHostError(
        `"${argv.join(' ')}" failed on test host "${this.name}" with status ${exitCode}: ${stderr || stdout}`,
      );
    }
    return stdout;
  }

  /** Arguments of `ssh` that reach the host as user "dev", its key checked strictly. */
  sshArguments(): string[] {
    return sshArgumentsFor(this.ssh);
  }
}

/** Arguments of `ssh` that reach a host, its key checked strictly; `options` are further ones. */
export function sshArgumentsFor(ssh: HostDescription['ssh'], options: readonly string[] = []): string[] {
  const { host, port, user, identityFile, knownHostsFile } = ssh;
  return [
    // The user's own configuration must not decide what a test proves.
    ...['-F', 'none', '-i', identityFile, '-p', String(port)],
    ...['-o', `UserKnownHostsFile=${knownHostsFile}`, '-o', 'GlobalKnownHostsFile=none'],
    ...['-o', 'StrictHostKeyChecking=yes', '-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes'],
    ...options,
    `${user}@${host}`,
  ];
}

/** How to start {@link TestHost.enterArguments}: nothing of the caller's environment goes into the host. */
export const enterOptions = {
  cwd: '/',
  extendEnv: false,
  env: {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LANG: 'C.UTF-8',
    TERM: process.env['TERM'] ?? 'dumb',
  },
};

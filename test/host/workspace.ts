import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { ForkpointError, type ErrorData } from '../../src/protocol/errors.ts';
import type { OperationName, ParamsInput, Result } from '../../src/protocol/operations.ts';
import type { Snapshot } from '../../src/protocol/snapshot.ts';
import type { Workspace } from '../../src/protocol/workspace.ts';
import { DaemonClient } from './daemonClient.ts';
import { bootHost, findHost, type ExecOptions, type ExecResult, type TestHost } from './machine/machine.ts';
import { workspaceTarInHost } from './machine/recipe.ts';

/**
 * Set to the name of a host that is up, the suites use it and leave it up: quicker while one is being written.
 * Its workspaces are deleted first.
 */
const givenHost = process.env['FORKPOINT_TEST_HOST'];

/** Where the files of the workspace tar lie on the pool, so that workspaces made from them share their blocks. */
export const templateDirectory = '/var/lib/forkpoint/test-template';

let shared: Promise<TestHost> | undefined;

/** The host that the story and the hazards share: booted at the first call, ended after the last suite. */
export function sharedHost(): Promise<TestHost> {
  shared ??= bootShared();
  return shared;
}

async function bootShared(): Promise<TestHost> {
  const host =
    givenHost === undefined
      ? await bootHost({ name: 'story-test', ifRunning: 'replace' })
      : await findHost(givenHost);
  await deleteWorkspaces(host);
  if ((await host.exec(['test', '-d', templateDirectory])).exitCode !== 0) {
    await host.run(['btrfs', '-q', 'subvolume', 'create', `${templateDirectory}.partial`]);
    await host.run([
      'tar',
      '-C',
      `${templateDirectory}.partial`,
      '--numeric-owner',
      '-xpf',
      workspaceTarInHost,
    ]);
    await host.run(['mv', `${templateDirectory}.partial`, templateDirectory]);
  }
  return host;
}

/** Deletes all workspaces of a host, and their snapshots. */
export async function deleteWorkspaces(host: TestHost): Promise<void> {
  for (const { name } of await ask(host, 'containers/list', {}))
    await ask(host, 'containers/delete', { container: name, withSnapshots: true });
}

/** Switches the HTTP API off, and revokes its tokens. */
export async function endApi(host: TestHost): Promise<void> {
  await ask(host, 'api/disable', {});
  for (const { id } of await ask(host, 'api/token/list', {}))
    await ask(host, 'api/token/revoke', { token: id });
}

after(async function () {
  this.timeout(60_000);
  const host = await shared?.catch(() => undefined);
  for (const client of clients.values()) await client.close();
  if (givenHost === undefined) await host?.down();
});

/** Clients of the hosts' daemons that {@link ask} goes through; one whose daemon has ended is replaced. */
const clients = new Map<TestHost, DaemonClient>();

/** Calls an operation through the daemon's socket, without the start of a program that the command line costs. */
export async function ask<N extends OperationName>(
  host: TestHost,
  operation: N,
  params: ParamsInput<N>,
): Promise<Result<N>> {
  let client = clients.get(host);
  if (client === undefined || client.isClosed) {
    client = await DaemonClient.connect(host);
    clients.set(host, client);
  }
  return await client.call(operation, params);
}

/** A failed call of the command line: what it wrote, read back. */
export class CommandFailure extends Error {
  constructor(
    readonly exitCode: number,
    readonly data: ErrorData,
    readonly stderr: string,
  ) {
    super(`exit ${exitCode}: ${data.code} ${JSON.stringify(data.args)} ${data.detail ?? ''}`);
  }
}

/**
 * Runs `forkpoint GROUP VERB … --json` as root on the host.
 * @throws {CommandFailure} when it fails
 */
export async function forkpoint<N extends OperationName>(
  host: TestHost,
  operation: N,
  args: readonly string[] = [],
  options: ExecOptions = {},
): Promise<Result<N>> {
  const [before, rest] = splitAtDashes(args);
  const result = await host.exec(
    ['forkpoint', ...operation.split('/'), ...before, '--json', ...rest],
    options,
  );
  if (result.exitCode === 0) return JSON.parse(result.stdout) as Result<N>;
  throw new CommandFailure(result.exitCode, readFailure(result), result.stderr);
}

function splitAtDashes(args: readonly string[]): [readonly string[], readonly string[]] {
  const at = args.indexOf('--');
  return at < 0 ? [args, []] : [args.slice(0, at), args.slice(at)];
}

function readFailure(result: ExecResult): ErrorData {
  try {
    return JSON.parse(result.stderr.trim()) as ErrorData;
  } catch {
    return { code: 'internal', args: {}, detail: `${result.stdout}\n${result.stderr}` };
  }
}

/** Expects a call to fail with `code`; answers the failure. */
export async function failsWith(
  code: ErrorData['code'] | readonly ErrorData['code'][],
  call: Promise<unknown>,
): Promise<ErrorData> {
  const codes: readonly string[] = typeof code === 'string' ? [code] : code;
  try {
    await call;
  } catch (error) {
    const failure = error instanceof CommandFailure ? error.data : error;
    if (!(failure instanceof ForkpointError) && !(error instanceof CommandFailure)) throw error;
    const data = failure as ErrorData;
    assert.ok(codes.includes(data.code), `${data.code} ${JSON.stringify(data.args)} ${data.detail ?? ''}`);
    return data;
  }
  assert.fail(`it did not fail, and should have with ${codes.join(' or ')}`);
}

/** A workspace on a test host. */
export class TestWorkspace {
  constructor(
    readonly host: TestHost,
    readonly name: string,
    readonly id: string,
    readonly rootfs: string,
    readonly address: string,
  ) {}

  /** Makes a workspace, from the template's files unless other ones are named. */
  static async create(
    host: TestHost,
    name: string,
    params: Partial<ParamsInput<'containers/create'>> = {},
  ): Promise<TestWorkspace> {
    const source = params.image === undefined ? { rootfs: templateDirectory } : {};
    const made = await ask(host, 'containers/create', { ...source, ...params, name });
    return new TestWorkspace(host, made.name, made.id, made.rootfs, made.address);
  }

  /** Runs a shell script inside, as a process started from outside; answers its output. Rejected when it fails. */
  async sh(script: string, options: ExecOptions = {}): Promise<string> {
    return await this.host.run(
      ['podman', 'exec', '--interactive', `forkpoint-${this.name}`, 'sh', '-euc', script],
      options,
    );
  }

  /** Like {@link sh}; answers how it ended. */
  async try(script: string): Promise<ExecResult> {
    return await this.host.exec(['podman', 'exec', `forkpoint-${this.name}`, 'sh', '-euc', script]);
  }

  /** Writes a file inside. */
  async write(file: string, text: string): Promise<void> {
    // Whole at once: a program inside that waits for the file must not read the half of it.
    await this.sh(`cat > ${file}.partial && mv ${file}.partial ${file}`, { input: text });
  }

  /** Starts a shell script inside as a child of the workspace's init, which a snapshot keeps, unlike what `podman exec` runs. */
  async background(script: string): Promise<void> {
    await this.sh('exec setsid -f sh -c "$1" </dev/null >/dev/null 2>&1'.replace('"$1"', quote(script)));
  }

  /** Writes a Python program and runs it as {@link background} does. Its stderr goes to `FILE.err`. */
  async python(file: string, program: string): Promise<void> {
    await this.write(file, program);
    await this.background(`exec python3 ${file} 2> ${file}.err`);
  }

  /** Calls an operation on this workspace. */
  call<N extends OperationName>(operation: N, params: Omit<ParamsInput<N>, 'container'>): Promise<Result<N>> {
    return ask(this.host, operation, { ...params, container: this.name } as unknown as ParamsInput<N>);
  }

  /** Takes a snapshot, of the processes too unless another mode is given. */
  async snapshot(params: Omit<ParamsInput<'snapshots/create'>, 'container'> = {}): Promise<Snapshot> {
    const { snapshot } = await this.call('snapshots/create', { mode: 'stateful', ...params });
    return snapshot;
  }

  restore(
    name: string,
    params: Omit<ParamsInput<'snapshots/restore'>, 'container' | 'name'> = {},
  ): Promise<Result<'snapshots/restore'>> {
    return this.call('snapshots/restore', { ...params, name });
  }

  show(): Promise<Workspace> {
    return this.call('containers/show', {});
  }

  /** Host pid of its first process. */
  async pid(): Promise<number> {
    const text = await this.host.run([
      'podman',
      'inspect',
      '--format',
      '{{.State.Pid}}',
      `forkpoint-${this.name}`,
    ]);
    return Number(text);
  }

  /** A path inside, as the host sees it. */
  inside(path: string): string {
    return this.rootfs + path;
  }
}

/** Quotes a word for sh. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/**
 * Waits until `isSo`, asking every 50 ms; an exception counts as "not yet".
 * @param timeoutMs long by default: what it waits for may need btrfs's cleaner, which comes by every half a minute
 */
export async function until(isSo: () => Promise<boolean> | boolean, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    let problem: unknown;
    try {
      if (await isSo()) return;
    } catch (error) {
      problem = error;
    }
    assert.ok(
      Date.now() < deadline,
      `not so after ${timeoutMs} ms: ${isSo.toString()} ${problem instanceof Error ? problem.message : ''}`,
    );
    await sleep(50);
  }
}

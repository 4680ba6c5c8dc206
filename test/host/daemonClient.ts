import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import {
  createMessageConnection,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
  type MessageConnection,
} from 'vscode-jsonrpc/node';
import { ForkpointError } from '../../src/protocol/errors.ts';
import type { OperationName, ParamsInput, Result } from '../../src/protocol/operations.ts';
import {
  helloRequest,
  operationRequest,
  patient,
  progressNotification,
  PROTOCOL_VERSION,
} from '../../src/protocol/session.ts';
import { enterOptions, type TestHost } from './machine/testHost.ts';

/** A client of the daemon, over the stdin and stdout of `forkpoint dial-stdio`, as the editor is over SSH. */
export class DaemonClient {
  private constructor(
    private readonly child: ChildProcessByStdio<Writable, Readable, null>,
    readonly connection: MessageConnection,
  ) {}

  /** Dials the daemon of a test host, as root. */
  static async connect(host: TestHost): Promise<DaemonClient> {
    return DaemonClient.over(await host.enterArguments(['forkpoint', 'dial-stdio']));
  }

  /** @param dial the command whose stdin and stdout lead to the daemon */
  static async over([command, ...args]: readonly [string, ...string[]]): Promise<DaemonClient> {
    const child = spawn(command, args, {
      cwd: enterOptions.cwd,
      env: enterOptions.env,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const connection = createMessageConnection(
      patient(new StreamMessageReader(child.stdout)),
      new StreamMessageWriter(child.stdin),
    );
    connection.listen();
    await connection.sendRequest(helloRequest, {
      client: 'test',
      clientVersion: '0',
      protocol: PROTOCOL_VERSION,
    });
    return new DaemonClient(child, connection);
  }

  /** Whether the daemon has ended, or the way to it. */
  get isClosed(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Calls an operation; `onPartial` gets what is known of the result so far. */
  async call<N extends OperationName>(
    operation: N,
    params: ParamsInput<N>,
    onPartial?: (partial: unknown) => void,
    meta: { readonly idempotencyKey?: string } = {},
  ): Promise<Result<N>> {
    const token = `${operation}-${Math.random()}`;
    const listening = this.connection.onNotification(progressNotification, (progress) => {
      if (progress.token === token && progress.partial !== undefined) onPartial?.(progress.partial);
    });
    try {
      return await this.connection.sendRequest(operationRequest(operation), params, {
        ...meta,
        progressToken: token,
      });
    } catch (error) {
      throw error instanceof ResponseError ? ForkpointError.from(error.data) : error;
    } finally {
      listening.dispose();
    }
  }

  /** Ends the way to the daemon as a cable that is pulled does; calls under way are rejected. */
  async cut(): Promise<void> {
    const ended = once(this.child, 'exit');
    if (!this.isClosed) {
      this.child.kill('SIGKILL');
      await ended;
    }
    this.child.stdout.destroy();
    this.child.stdin.destroy();
    this.connection.dispose();
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    const closed = once(this.child, 'close');
    this.connection.end();
    this.child.stdin.end();
    await closed;
  }
}

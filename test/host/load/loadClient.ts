import { setTimeout as sleep } from 'node:timers/promises';
import { CancellationTokenSource, ResponseError } from 'vscode-jsonrpc/node';
import { ForkpointError } from '../../../src/protocol/errors.ts';
import type { OperationName, ParamsInput } from '../../../src/protocol/operations.ts';
import { operationRequest } from '../../../src/protocol/session.ts';
import { DaemonClient } from '../daemonClient.ts';
import type { TestHost } from '../machine/machine.ts';
import type { Outcome } from './model.ts';

/** What is done to a call while it is under way. */
export interface Disturbance {
  /** The key with which it is repeated. */
  readonly key?: string;
  /** After how many milliseconds the connection is cut, to be made again and the call repeated. */
  readonly cutAfterMs?: number;
  readonly cancelAfterMs?: number;
}

/** A client of the daemon that knows what it waits for. */
export class LoadClient {
  /** What is under way, for the message of one that takes for ever. */
  static readonly waiting = new Set<string>();

  private constructor(
    readonly name: string,
    private readonly host: TestHost,
    private client: DaemonClient,
    private readonly deadlineMs: number,
  ) {}

  static async connect(host: TestHost, name: string, deadlineMs: number): Promise<LoadClient> {
    return new LoadClient(name, host, await DaemonClient.connect(host), deadlineMs);
  }

  /** Sends a call and waits for its end, again and again where the connection is cut. */
  async send<N extends OperationName>(
    operation: N,
    params: ParamsInput<N>,
    disturbance: Disturbance = {},
  ): Promise<Outcome<N>> {
    const what = `${this.name}: ${operation}(${JSON.stringify(params)})`;
    const given = new AbortController();
    LoadClient.waiting.add(what);
    const late = sleep(this.deadlineMs, undefined, { signal: given.signal }).then(() => {
      throw new Error(
        `not answered within ${String(this.deadlineMs)} ms: ${what}\nwaiting: ${[...LoadClient.waiting].join('\n')}`,
      );
    });
    late.catch(() => undefined);
    try {
      return await Promise.race([this.#sendUntilAnswered(operation, params, disturbance), late]);
    } finally {
      given.abort();
      LoadClient.waiting.delete(what);
    }
  }

  close(): Promise<void> {
    return this.client.close();
  }

  /** Ends the connection as a cable that is pulled does, and makes another one. */
  async reconnect(): Promise<void> {
    await this.client.cut();
    this.client = await DaemonClient.connect(this.host);
  }

  async #sendUntilAnswered<N extends OperationName>(
    operation: N,
    params: ParamsInput<N>,
    { key, cutAfterMs, cancelAfterMs }: Disturbance,
  ): Promise<Outcome<N>> {
    const cutting = cutAfterMs === undefined ? null : sleep(cutAfterMs).then(() => this.client.cut());
    for (;;) {
      const cancellation = new CancellationTokenSource();
      const timer =
        cancelAfterMs === undefined ? null : setTimeout(() => cancellation.cancel(), cancelAfterMs);
      try {
        const result = await this.client.connection.sendRequest(
          operationRequest(operation),
          params,
          key === undefined ? {} : { idempotencyKey: key },
          cancellation.token,
        );
        return { kind: 'done', result };
      } catch (error) {
        // A rejection that is no answer: the library's word for a connection that has ended.
        if (error instanceof ResponseError && error.data !== undefined)
          return { kind: 'failed', code: ForkpointError.from(error.data).code };
        await cutting;
        if (!this.client.isClosed) throw error;
      } finally {
        if (timer !== null) clearTimeout(timer);
        await cutting;
        if (this.client.isClosed) this.client = await DaemonClient.connect(this.host);
      }
    }
  }
}

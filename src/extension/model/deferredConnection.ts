import type { OperationName, ParamsInput, Result } from '../../protocol/operations.ts';
import { ForkpointError } from '../../protocol/errors.ts';
import type { Changed, Restored } from '../../protocol/session.ts';
import type { StreamTarget } from '../../protocol/streams.ts';
import type { ConnectOptions, HostConnection, HostState, RequestOptions } from '../hosts/host.ts';
import type { HostStream } from '../hosts/streams.ts';
import { Emitter } from './emitter.ts';

/**
 * A connection whose program is loaded when it is first connected: a window that connects to nothing, or later, starts
 * without it.
 */
export class DeferredConnection implements HostConnection {
  private readonly stateEmitter = new Emitter<HostState>();
  private readonly changeEmitter = new Emitter<Changed>();
  private readonly restoreEmitter = new Emitter<Restored>();
  private loading: Promise<HostConnection> | undefined;
  private loaded: HostConnection | undefined;
  private isDisposed = false;

  readonly onDidChangeState = this.stateEmitter.event;
  readonly onDidChange = this.changeEmitter.event;
  readonly onDidRestore = this.restoreEmitter.event;

  constructor(
    readonly id: string,
    private readonly create: (id: string) => Promise<HostConnection>,
  ) {}

  get state(): HostState {
    return this.loaded?.state ?? { kind: 'disconnected' };
  }

  async connect(options: ConnectOptions): Promise<void> {
    await (await this.load()).connect(options);
  }

  disconnect(): void {
    this.loaded?.disconnect();
  }

  async installHelper(options?: { readonly signal?: AbortSignal | undefined }): Promise<void> {
    await (await this.load()).installHelper(options);
  }

  request<N extends OperationName>(
    name: N,
    params: ParamsInput<N>,
    options?: RequestOptions,
  ): Promise<Result<N>> {
    return this.loaded === undefined
      ? Promise.reject(new ForkpointError('daemon.unreachable', { problem: 'it is not connected' }))
      : this.loaded.request(name, params, options);
  }

  openStream(target: StreamTarget): Promise<HostStream> {
    return this.loaded === undefined
      ? Promise.reject(new ForkpointError('daemon.unreachable', { problem: 'it is not connected' }))
      : this.loaded.openStream(target);
  }

  dispose(): void {
    this.isDisposed = true;
    this.loaded?.dispose();
    this.stateEmitter.dispose();
    this.changeEmitter.dispose();
    this.restoreEmitter.dispose();
  }

  private load(): Promise<HostConnection> {
    this.loading ??= this.create(this.id).then((connection) => {
      this.loaded = connection;
      // Its events end with it.
      connection.onDidChangeState((state) => this.stateEmitter.fire(state));
      connection.onDidChange((changed) => this.changeEmitter.fire(changed));
      connection.onDidRestore((restored) => this.restoreEmitter.fire(restored));
      if (this.isDisposed) connection.dispose();
      return connection;
    });
    return this.loading;
  }
}

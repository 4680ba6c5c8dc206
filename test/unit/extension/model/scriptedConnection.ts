import { ForkpointError } from '../../../../src/protocol/errors.ts';
import type { OperationName, Result } from '../../../../src/protocol/operations.ts';
import type { Changed, Restored } from '../../../../src/protocol/session.ts';
import type { SnapshotSummary } from '../../../../src/protocol/snapshot.ts';
import type { Workspace } from '../../../../src/protocol/workspace.ts';
import type { HostConnection, HostState } from '../../../../src/extension/hosts/host.ts';
import { Emitter } from '../../../../src/extension/model/emitter.ts';

const connected: HostState = {
  kind: 'connected',
  client: 'ssh2',
  welcome: { hostname: 'build1', version: '0.1.0', digest: '00', protocol: 1 },
  isHelperOlder: false,
};

/**
 * The far end of a host's connection, for what the model makes of it; that a real host answers so is proven by the
 * host and workbench tests.
 */
export class ScriptedConnection implements HostConnection {
  state: HostState = { kind: 'disconnected' };
  workspaces: Workspace[] = [];
  snapshots: SnapshotSummary[] = [];
  hasPool = true;
  failure: ForkpointError | null = null;
  /** Answers wait for this. */
  gate: Promise<void> = Promise.resolve();
  /** Names of the requests so far. */
  readonly requests: OperationName[] = [];
  readonly states = new Emitter<HostState>();
  readonly changes = new Emitter<Changed>();
  readonly restores = new Emitter<Restored>();
  readonly onDidChangeState = this.states.event;
  readonly onDidChange = this.changes.event;
  readonly onDidRestore = this.restores.event;

  constructor(readonly id: string) {}

  connect(): Promise<void> {
    this.become(connected);
    return Promise.resolve();
  }

  disconnect(): void {
    this.become({ kind: 'disconnected' });
  }

  become(state: HostState): void {
    this.state = state;
    this.states.fire(state);
  }

  installHelper(): Promise<void> {
    return this.connect();
  }

  openStream(): Promise<never> {
    return Promise.reject(new ForkpointError('daemon.unreachable', { problem: 'the script has no streams' }));
  }

  async request<N extends OperationName>(name: N): Promise<Result<N>> {
    this.requests.push(name);
    await this.gate;
    if (this.failure !== null) throw this.failure;
    // What is answered depends on the name, which the compiler can't follow.
    return this.answer(name) as Result<N>;
  }

  dispose(): void {
    this.states.dispose();
  }

  private answer(name: OperationName): unknown {
    switch (name) {
      case 'host/info':
        return {
          hostname: 'build1',
          version: '0.1.0',
          kernel: '6.18',
          findings: [],
          pool: this.hasPool
            ? { path: '/var/lib/forkpoint', totalBytes: 100, freeBytes: 50, reserveBytes: 5, isLow: false }
            : null,
        };
      case 'containers/list':
        return this.workspaces;
      case 'snapshots/list':
        return this.snapshots;
      default:
        throw new ForkpointError('request.invalid', { problem: name });
    }
  }
}

import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { Log } from '../hosts/log.ts';
import type { Memory } from '../model/currentChoice.ts';
import { Emitter } from '../model/emitter.ts';
import type { Disposable } from '../model/emitter.ts';
import type { Fleet } from '../model/fleet.ts';
import type { Host } from '../model/host.ts';

const KEY = 'forwards';

/** For how long a port is waited for that the window had before it was reloaded, in milliseconds. */
const TAKEOVER_MS = 5000;
const TAKEOVER_STEP_MS = 100;

/** A port of a workspace that a port of this machine leads to. */
export interface Forward {
  readonly host: string;
  readonly workspace: WorkspaceId;
  /** Inside the workspace. */
  readonly port: number;
  /** On this machine's loopback address. */
  readonly localPort: number;
}

interface OpenForward extends Forward {
  readonly server: Server;
  readonly sockets: Set<Socket>;
}

/**
 * The forwarded ports of this window. One ends with its workspace; it goes on over restores and lost connections, and
 * those that are open when the window is reloaded are opened again.
 */
export class Forwards implements Disposable {
  readonly #fleet: Fleet;
  readonly #memory: Memory;
  readonly #log: Log;
  readonly #open = new Map<string, OpenForward>();
  /** What is about to be open. */
  readonly #opening = new Map<string, Promise<Forward>>();
  readonly #changed = new Emitter<void>();
  readonly #subscription: Disposable;
  readonly onDidChange = this.#changed.event;

  /** @param memory that of the window's folder (H33) */
  constructor(fleet: Fleet, memory: Memory, log: Log) {
    this.#fleet = fleet;
    this.#memory = memory;
    this.#log = log;
    this.#subscription = fleet.onDidChange(() => this.#closeOrphans());
  }

  /** Those of one workspace, by port. */
  of(host: string, workspace: WorkspaceId): readonly Forward[] {
    return [...this.#open.values()]
      .filter((forward) => forward.host === host && forward.workspace === workspace)
      .sort((a, b) => a.port - b.port);
  }

  /**
   * Leads a port of this machine to one of a workspace: that of the same number where it is free. The one that is there
   * already, where there is one.
   */
  open(host: Host, workspace: WorkspaceId, port: number): Promise<Forward> {
    // Ports below 1024 are the machine's own.
    return this.#openOnce(host, workspace, port, (server) =>
      listen(server, port < 1024 ? 0 : port).catch(() => listen(server, 0)),
    );
  }

  /** Opens again what was open when the window was last closed or reloaded, under the same numbers where they are free. */
  async resume(): Promise<void> {
    const remembered = this.#memory.get(KEY);
    if (!Array.isArray(remembered)) return;
    const known = (remembered as unknown[]).filter(isForward).flatMap((forward) => {
      const host = this.#fleet.host(forward.host);
      return host === undefined ? [] : [{ ...forward, host }];
    });
    await Promise.all(
      known.map(({ host, workspace, port, localPort }) =>
        this.#openOnce(host, workspace, port, (server) => takeOver(server, localPort)),
      ),
    );
  }

  #openOnce(
    host: Host,
    workspace: WorkspaceId,
    port: number,
    bind: (server: Server) => Promise<number>,
  ): Promise<Forward> {
    const key = keyOf(host.id, workspace, port);
    const known = this.#open.get(key);
    if (known !== undefined) return Promise.resolve(known);
    const opening =
      this.#opening.get(key) ??
      this.#openNow(host, workspace, port, bind).finally(() => this.#opening.delete(key));
    this.#opening.set(key, opening);
    return opening;
  }

  async #openNow(
    host: Host,
    workspace: WorkspaceId,
    port: number,
    bind: (server: Server) => Promise<number>,
  ): Promise<Forward> {
    const sockets = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      // Its end follows, and is what counts.
      socket.on('error', () => undefined);
      this.#carry(socket, host, workspace, port).catch((error: unknown) => {
        this.#log.info(
          `port ${String(port)} of ${workspace}: ${error instanceof Error ? error.message : String(error)}`,
        );
        socket.destroy();
      });
    });
    const localPort = await bind(server);
    const forward = { host: host.id, workspace, port, localPort, server, sockets };
    this.#open.set(keyOf(host.id, workspace, port), forward);
    this.#remember();
    this.#log.info(`port ${String(port)} of ${workspace} on ${host.id} is localhost:${String(localPort)}`);
    this.#changed.fire();
    return forward;
  }

  close({ host, workspace, port }: Pick<Forward, 'host' | 'workspace' | 'port'>): void {
    const key = keyOf(host, workspace, port);
    const forward = this.#open.get(key);
    if (forward === undefined) return;
    this.#open.delete(key);
    end(forward);
    this.#remember();
    this.#changed.fire();
  }

  dispose(): void {
    this.#subscription.dispose();
    // Not forgotten: the window may be about to load again.
    for (const forward of this.#open.values()) end(forward);
    this.#changed.dispose();
  }

  #remember(): void {
    const forwards = [...this.#open.values()].map(({ host, workspace, port, localPort }): Forward => ({
      host,
      workspace,
      port,
      localPort,
    }));
    void this.#memory.update(KEY, forwards);
  }

  async #carry(socket: Socket, host: Host, workspace: WorkspaceId, port: number): Promise<void> {
    const stream = await host.connection.openStream({ kind: 'port', container: workspace, port });
    if (socket.destroyed) {
      stream.destroy();
      return;
    }
    await Promise.all([pipeline(socket, stream), pipeline(stream, socket)]).catch(() => {
      // One side broke off: so does the other.
      stream.destroy();
      socket.destroy();
    });
  }

  #closeOrphans(): void {
    for (const forward of [...this.#open.values()]) {
      const host = this.#fleet.host(forward.host);
      const isGone =
        host === undefined ||
        (host.workspaces.kind === 'ready' &&
          host.state.kind === 'connected' &&
          host.workspace(forward.workspace) === undefined);
      if (isGone) this.close(forward);
    }
  }
}

function end({ server, sockets }: OpenForward): void {
  server.close();
  for (const socket of sockets) socket.destroy();
}

function keyOf(host: string, workspace: string, port: number): string {
  return `${host}/${workspace}/${String(port)}`;
}

/** What it names is checked by the host. */
function isForward(value: unknown): value is Forward {
  if (typeof value !== 'object' || value === null) return false;
  const { host, workspace, port, localPort } = value as Partial<Record<string, unknown>>;
  return (
    typeof host === 'string' &&
    typeof workspace === 'string' &&
    Number.isInteger(port) &&
    Number.isInteger(localPort)
  );
}

/** Listens on a port that the window had before it was reloaded: whatever held it then may be ending only now. */
async function takeOver(server: Server, port: number): Promise<number> {
  const deadline = Date.now() + TAKEOVER_MS;
  for (;;) {
    const taken = await listen(server, port).catch(() => null);
    if (taken !== null) return taken;
    if (Date.now() > deadline) return listen(server, 0);
    await sleep(TAKEOVER_STEP_MS);
  }
}

async function listen(server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return (server.address() as AddressInfo).port;
}

import { createConnection, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { until } from './deadline.ts';

/** How long nothing must come for the server to have said all, in milliseconds. */
const QUIET_MS = 1_000;

/** A line between windows and the editor's server on which what the server sends can be held back. */
export class SlowLine {
  private readonly sockets = new Set<Socket>();
  private held: (() => void)[] | undefined;
  private lastHeldAt = Infinity;

  private constructor(
    private readonly server: Server,
    private readonly far: URL,
  ) {}

  /** Opens a line to where `Workbench.url` points. */
  static async open(far: string): Promise<SlowLine> {
    const server = createServer();
    const line = new SlowLine(server, new URL(far));
    server.on('connection', (near) => line.join(near));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return line;
  }

  /** The address over this line. */
  get url(): string {
    const url = new URL(this.far);
    url.port = String((this.server.address() as AddressInfo).port);
    return url.href;
  }

  /** Holds back what the server sends while `act` runs: the window sends, but shows only what it knows. */
  async whileHeld(act: () => Promise<void>): Promise<void> {
    this.held = [];
    this.lastHeldAt = Infinity;
    try {
      await act();
    } finally {
      const { held } = this;
      this.held = undefined;
      for (const pass of held) pass();
    }
  }

  /** Waits until something is held back and nothing more comes. */
  async serverHasSpoken(): Promise<void> {
    await until('the server to have spoken', () => performance.now() - this.lastHeldAt > QUIET_MS);
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private join(near: Socket): void {
    const far = createConnection({ host: this.far.hostname, port: Number(this.far.port) });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(socket);
      socket.setNoDelay(true);
      // What is broken off here is seen at the other end.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.sockets.delete(socket);
        other.destroy();
      });
    }
    near.on('data', (data) => far.write(data));
    far.on('data', (data) => {
      if (this.held === undefined) {
        near.write(data);
        return;
      }
      this.lastHeldAt = performance.now();
      this.held.push(() => near.write(data));
    });
  }
}

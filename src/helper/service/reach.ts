import { createConnection, type Socket } from 'node:net';
import { once } from 'node:events';
import { ForkpointError } from '../../protocol/errors.ts';
import type { Dialled, DialSchema, StreamTarget } from '../../protocol/streams.ts';
import type * as z from 'zod';
import type { Paths } from '../host/paths.ts';
import { PortRelays } from '../host/portRelays.ts';
import type { Parts } from './parts.ts';
import { startSshServer } from './sshServer.ts';
import { attachTerminal, runningWorkspace, type OpenTerminal } from './terminals.ts';

/** Ways into a workspace that carry bytes: terminals and ports. */
export class Reach {
  readonly #parts: Parts;
  readonly #relays: PortRelays;

  constructor(parts: Parts, paths: Pick<Paths, 'runDirectory'>) {
    this.#parts = parts;
    this.#relays = new PortRelays(paths, parts.log);
  }

  attachTerminal(
    target: Extract<StreamTarget, { kind: 'terminal' }>,
    signal: AbortSignal,
  ): Promise<OpenTerminal> {
    return attachTerminal(this.#parts, target, signal);
  }

  /** Where a port of a workspace is dialled; the SSH server is started where it is meant and does not run. */
  async dial({ container, port }: z.output<typeof DialSchema>): Promise<Dialled> {
    const { record, facts } = await runningWorkspace(this.#parts, container);
    const dialled =
      port === 'ssh'
        ? await this.#parts.turns.take(record.id, new AbortController().signal, () =>
            startSshServer(this.#parts, record.id),
          )
        : port;
    // Another process carries the workspace after a restore, which the turn may have waited for.
    const { pid } = port === 'ssh' ? (await runningWorkspace(this.#parts, container)).facts : facts;
    return { socket: await this.#relays.socketFor(record.id, pid), port: dialled };
  }

  /** A connection to a port, from inside the workspace's own network. Rejected with `port.unreachable`. */
  async connect(target: Extract<StreamTarget, { kind: 'port' }>): Promise<Socket> {
    const { socket: place, port } = await this.dial(target);
    return connectThroughRelay(place, port, target.container);
  }
}

/** Dials a port through a relay's socket. Rejected with `port.unreachable`. */
export async function connectThroughRelay(place: string, port: number, workspace: string): Promise<Socket> {
  const socket = createConnection({ path: place, allowHalfOpen: true });
  try {
    await once(socket, 'connect');
    socket.write(`${String(port)}\n`);
    const answer = await readLine(socket);
    if (answer !== 'ok') throw new ForkpointError('port.unreachable', { port, workspace, reason: answer });
    return socket;
  } catch (error) {
    socket.destroy();
    if (error instanceof ForkpointError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new ForkpointError('port.unreachable', { port, workspace, reason }, { cause: error });
  }
}

/** Reads up to the first newline; what follows it stays in the socket. */
function readLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = Buffer.alloc(0);
    const finish = (): void => {
      socket.off('readable', read).off('end', ended).off('error', ended);
    };
    const ended = (error?: Error): void => {
      finish();
      reject(error ?? new Error('the relay hung up'));
    };
    const read = (): void => {
      for (
        let chunk = socket.read() as Buffer | null;
        chunk !== null;
        chunk = socket.read() as Buffer | null
      ) {
        text = Buffer.concat([text, chunk]);
        const at = text.indexOf(10);
        if (at < 0) continue;
        finish();
        if (at + 1 < text.length) socket.unshift(text.subarray(at + 1));
        resolve(text.subarray(0, at).toString('utf8'));
        return;
      }
    };
    socket.on('readable', read).on('end', ended).on('error', ended);
  });
}

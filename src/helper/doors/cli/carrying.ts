import { spawn } from 'node:child_process';
import { pipeline } from 'node:stream/promises';
import { ForkpointError } from '../../../protocol/errors.ts';
import type { Workspace } from '../../../protocol/workspace.ts';
import { execArguments } from '../../engines/exec.ts';
import { connectThroughRelay } from '../../service/reach.ts';
import type { Client } from '../client.ts';

/** Commands whose standard input and output are those of something in a workspace, byte for byte. */
export type Carrying =
  | { readonly kind: 'exec'; readonly container: string; readonly command: readonly string[] }
  | { readonly kind: 'attach'; readonly container: string; readonly session: string }
  | { readonly kind: 'dial'; readonly container: string; readonly port: number | 'ssh' };

const NEVER = { signal: new AbortController().signal, onProgress: () => undefined };

/** Runs one; answers the exit status of what ran. */
export async function carry(command: Carrying, connect: () => Promise<Client>): Promise<number> {
  switch (command.kind) {
    case 'exec':
      return exec(command.container, command.command, await connect());
    case 'attach':
      return attach(command.container, command.session, connect);
    case 'dial':
      return dial(command.container, command.port, await connect());
  }
}

async function exec(container: string, command: readonly string[], client: Client): Promise<number> {
  const workspace = await runningWorkspace(container, client);
  client.close();
  const hasTerminal = process.stdin.isTTY && process.stdout.isTTY;
  return runPodman(
    execArguments(
      workspace.engine,
      { isInteractive: true, hasTerminal, env: terminalEnvironment(hasTerminal) },
      command,
    ),
  );
}

/** Attaches to a session, and again whenever a snapshot or restore has sent the terminal away. */
async function attach(container: string, session: string, connect: () => Promise<Client>): Promise<number> {
  if (!process.stdin.isTTY || !process.stdout.isTTY)
    throw new ForkpointError('request.invalid', { problem: 'standard input and output are no terminal' });
  for (let isFirst = true; ; isFirst = false) {
    const client = await connect();
    const workspace = await runningWorkspace(container, client);
    const terminal = await client.call('terminal/open', { container, session }, NEVER);
    client.close();
    if (terminal.multiplexer === null) {
      process.stderr.write(
        `forkpoint: this terminal is not part of snapshots: there is no tmux, screen or dtach inside${terminal.install === null ? '' : ` (${terminal.install})`}\n`,
      );
    } else if (terminal.isNew && !isFirst) {
      // It is not in the snapshot that was restored, and what was in it has ended.
      return 1;
    }
    const status = await runPodman(
      execArguments(
        workspace.engine,
        {
          isInteractive: true,
          hasTerminal: true,
          env: {
            ...terminal.env,
            ...terminalEnvironment(true),
            FORKPOINT_TERMINAL: `attached-${String(process.pid)}`,
          },
        },
        terminal.command,
      ),
    );
    if (status === 0 || terminal.multiplexer === null) return status;
  }
}

async function dial(container: string, port: number | 'ssh', client: Client): Promise<number> {
  const dialled = await client.dial({ container, port });
  client.close();
  const socket = await connectThroughRelay(dialled.socket, dialled.port, container);
  // Whichever side breaks off, there is nobody left to tell.
  const sending = pipeline(process.stdin, socket).catch(() => undefined);
  await pipeline(socket, process.stdout, { end: false }).catch(() => undefined);
  socket.destroy();
  process.stdin.destroy();
  await sending;
  return 0;
}

async function runningWorkspace(reference: string, client: Client): Promise<Workspace> {
  const all = await client.call('containers/list', {}, NEVER);
  const workspace = all.find(({ id, name }) => id === reference || name === reference);
  if (workspace === undefined) throw new ForkpointError('workspace.notFound', { workspace: reference });
  if (workspace.state !== 'running' && workspace.state !== 'frozen')
    throw new ForkpointError('workspace.notRunning', { workspace: workspace.name });
  return workspace;
}

function terminalEnvironment(hasTerminal: boolean): Record<string, string> {
  const term = process.env['TERM'];
  return hasTerminal && term !== undefined ? { TERM: term } : {};
}

/** Its input and output are this process's own. Ctrl-C reaches it by the terminal. */
function runPodman(args: readonly string[]): Promise<number> {
  const child = spawn('podman', args, { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.on('exit', (status) => resolve(status ?? 1));
    child.on('error', (cause) =>
      reject(
        new ForkpointError(
          'host.toolMissing',
          { tool: 'podman', install: 'apt-get install podman' },
          { cause },
        ),
      ),
    );
  });
}

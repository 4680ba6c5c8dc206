import { installPrerequisites as installForHost } from '../host/machine/prerequisites.ts';
import { installPrerequisites as installForEditor } from '../workbench/editor/prerequisites.ts';
import { runNode } from '../run/process.ts';
import { shopName, shopUrl } from './shop.ts';
import { startStage, type Stage } from './stage.ts';

const buildTimeoutMs = 300_000;

/**
 * `npm run demo [-- --yes]`: the extension in a real editor, connected to a real host with a workspace in which things
 * run. Stays until Ctrl-C and removes everything then.
 */
async function main(args: readonly string[]): Promise<number> {
  const unknown = args.filter((argument) => argument !== '--yes');
  if (unknown.length > 0) {
    process.stderr.write(`Usage: npm run demo [-- --yes]\n`);
    return 2;
  }
  const ended = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ended.abort());

  const assumeYes = args.includes('--yes');
  await installForHost({ assumeYes });
  await installForEditor({ assumeYes, purposes: ['editor'] });
  await build(ended.signal);
  const stage = await startStage(say, ended.signal);
  try {
    welcome(stage);
    if (!ended.signal.aborted)
      await new Promise((resolve) => ended.signal.addEventListener('abort', resolve));
  } finally {
    say('Removing the editor and the host…');
    await stage.end();
    say('Nothing is left of them but the cache.');
  }
  return 0;
}

/** Builds the programs and packages the extension. */
async function build(signal: AbortSignal): Promise<void> {
  say('Building the extension and the helper…');
  for (const command of [
    ['esbuild.mjs'],
    ['node_modules/@vscode/vsce/vsce', 'package', '--no-dependencies', '-o', 'forkpoint.vsix'],
  ]) {
    const { status, output } = await runNode(command, { timeoutMs: buildTimeoutMs, signal, output: 'keep' });
    if (status !== 0) throw new Error(`"node ${command.join(' ')}" ended with ${status}:\n${output}`);
  }
}

function welcome({ host, workbench, folder }: Stage): void {
  const { port } = new URL(workbench.origin);
  process.stdout.write(`
The demo is up.

  The editor      ${workbench.url(folder)}
  The workspace   "${shopName}" on the host "demo": PostgreSQL, a node server, a shell in tmux
  Its page        ${shopUrl(host)}

Try this:
  1. Open the editor's address in a browser. Click the Forkpoint icon in the activity bar, then "Connect".
  2. In the editor's terminal (Ctrl+\`):  ./look
  3. Press Ctrl+K B: "Snapshot Before AI Edit". It asks nothing.
  4. In the terminal:  ./break-everything
  5. Click the snapshot in the status bar, read what will be lost, press "Restore".
  6. In the terminal:  ./look   The rows, the files, the processes and the count of visits are back.

The browser is on another machine? There: ssh -L ${port}:127.0.0.1:${port} THIS-MACHINE
Ctrl-C here ends the demo and removes everything.
`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});

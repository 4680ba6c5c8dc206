import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { bootHost, type TestHost } from '../host/machine/machine.ts';
import { startWorkbench, type Workbench } from '../workbench/editor/workbench.ts';
import { createShop } from './shop.ts';

/** What the demo plays on. */
export interface Stage {
  readonly host: TestHost;
  readonly workbench: Workbench;
  /** The folder to open in the editor. */
  readonly folder: string;
  /** Removes all of it. */
  end(): Promise<void>;
}

/**
 * Boots the host "demo" with its workspace and starts an editor with the packaged extension, which knows that host.
 * One that an earlier demo left is replaced. When a step fails or `signal` aborts, nothing stays.
 * @param say receives one line per step
 * @param settings more settings of the editor
 */
export async function startStage(
  say: (line: string) => void,
  signal: AbortSignal,
  settings: Record<string, unknown> = {},
): Promise<Stage> {
  const undo: (() => Promise<void>)[] = [];
  const end = async () => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-demo-'));
    undo.push(() => rm(directory, { recursive: true, force: true }));
    say('Booting the host "demo" (the first time it is built, which takes minutes)…');
    const host = await bootHost({ name: 'demo', ifRunning: 'replace' });
    undo.push(() => host.down());
    signal.throwIfAborted();

    say('Creating the workspace "shop"…');
    await createShop(host);
    signal.throwIfAborted();

    say('Starting the editor (the first time it is installed, which takes a minute)…');
    const folder = path.join(directory, 'shop-demo');
    await cp(fileURLToPath(new URL('folder', import.meta.url)), folder, { recursive: true });
    // Snapshots before an AI edit are called after the branch.
    await mkdir(path.join(folder, '.git'));
    await writeFile(path.join(folder, '.git/HEAD'), 'ref: refs/heads/faster-checkout\n');
    const workbench = await startWorkbench({
      vsix: ['forkpoint.vsix'],
      sshConfig: sshConfig(host),
      settings: { 'forkpoint.hosts': ['demo'], 'workbench.startupEditor': 'readme', ...settings },
      progress: say,
    });
    undo.push(() => workbench.stop());
    signal.throwIfAborted();
    return { host, workbench, folder, end };
  } catch (error) {
    await end();
    throw signal.aborted ? new Error('The demo was ended before it was up; nothing is left of it.') : error;
  }
}

/** An ssh configuration for the editor: the host as "demo", and nothing of this machine's own. */
export function sshConfig({ ssh }: Pick<TestHost, 'ssh'>): string {
  return `Host demo
  HostName ${ssh.host}
  Port ${ssh.port}
  User ${ssh.user}
  IdentityFile ${ssh.identityFile}
  IdentitiesOnly yes
  UserKnownHostsFile ${ssh.knownHostsFile}
  GlobalKnownHostsFile /dev/null
`;
}

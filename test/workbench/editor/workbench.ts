import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { until } from './deadline.ts';
import { installEditor, type Editor, type Progress } from './install.ts';
import { endProcessTree, treeMark } from './processTree.ts';

/** Quiet defaults: nothing phones home, nothing covers what is looked at. A caller's settings win. */
const quietSettings = {
  'telemetry.telemetryLevel': 'off',
  'chat.disableAIFeatures': true,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.startupEditor': 'none',
  'workbench.tips.enabled': false,
  'workbench.enableExperiments': false,
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  'update.mode': 'none',
  'update.showReleaseNotes': false,
  'git.enabled': false,
  'remote.autoForwardPorts': false,
  'security.workspace.trust.enabled': false,
  // The page decides: each window is opened dark or light.
  'window.autoDetectColorScheme': true,
};

/** What a workbench is started with. Everything may be left out. */
export interface WorkbenchOptions {
  /** Packages of extensions to install, as a user would. */
  vsix?: readonly string[];
  /** The user's settings.json, on top of quiet defaults. */
  settings?: Record<string, unknown>;
  /** Added to the environment of the server and so of the extension host. Nothing is inherited but PATH. */
  environment?: Record<string, string>;
  /**
   * An ssh configuration, written to `~/.ssh/config` of the workbench's home. OpenSSH reads the home from the
   * password database and not from HOME, so the real `ssh` is put on the PATH with `-F` and that file.
   */
  sshConfig?: string;
  /** The port on 127.0.0.1; a free one unless given. */
  port?: number;
  /** Where profile, home and logs go, and stay. A temporary directory, removed by {@link Workbench.stop}, unless given. */
  directory?: string;
  /**
   * Whether windows of this server may run mocha suites ({@link runSuite}). Not for windows that are driven as a user
   * drives them: VS Code shows no notification toasts then.
   */
  runsSuites?: boolean;
  /** Receives what the first installation of the server says. Standard error unless given. */
  progress?: Progress;
}

/** A running VS Code server with a profile of its own. */
export class Workbench {
  constructor(
    /** `http://127.0.0.1:PORT`. */
    readonly origin: string,
    /** HOME of the server and of its extension host. */
    readonly home: string,
    /** VS Code's own logs, those of extensions' output channels included. */
    readonly logsDirectory: string,
    /** What the server prints. */
    readonly serverLog: string,
    readonly pid: number,
    private readonly end: () => Promise<void>,
  ) {}

  /** The address of a window, with that directory of this machine as its folder. */
  url(folder?: string): string {
    return folder === undefined
      ? `${this.origin}/?ew=true`
      : `${this.origin}/?folder=${encodeURIComponent(folder)}`;
  }

  /**
   * The text of an extension's LogOutputChannel so far, of all windows, oldest first; empty when it has written nothing.
   */
  async readChannel(extensionId: string, channel: string): Promise<string> {
    const wanted = path.join(extensionId, `${channel}.log`);
    const files = await readdir(this.logsDirectory, { recursive: true }).catch((): string[] => []);
    const texts = files
      .filter((file) => file.endsWith(wanted))
      .sort()
      .map((file) => readFile(path.join(this.logsDirectory, file), 'utf8'));
    return (await Promise.all(texts)).join('');
  }

  /** Ends the server and every process that it has started, and removes its profile if that was temporary. */
  async stop(): Promise<void> {
    await this.end();
  }
}

/**
 * Starts a VS Code server on this machine's loopback and waits until it answers (1-2 s; the first time it is
 * installed, see {@link installEditor}). Rejects with the end of its log when it doesn't come up.
 */
export async function startWorkbench(options: WorkbenchOptions = {}): Promise<Workbench> {
  const editor = await installEditor(options.progress ?? ((line) => process.stderr.write(`${line}\n`)));
  const directory = options.directory ?? (await mkdtemp(path.join(tmpdir(), 'forkpoint-workbench-')));
  const removeDirectory = async () => {
    if (options.directory === undefined) await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    return await startIn(directory, editor, options, removeDirectory);
  } catch (error) {
    await removeDirectory();
    throw error;
  }
}

async function startIn(
  directory: string,
  editor: Editor,
  options: WorkbenchOptions,
  removeDirectory: () => Promise<void>,
): Promise<Workbench> {
  const home = path.join(directory, 'home');
  const data = path.join(directory, 'data');
  const extensions = path.join(directory, 'extensions');
  const programs = path.join(directory, 'bin');
  const serverLog = path.join(directory, 'server.log');
  await mkdir(path.join(data, 'User'), { recursive: true });
  await mkdir(path.join(home, '.ssh'), { recursive: true, mode: 0o700 });
  await mkdir(extensions, { recursive: true });
  await mkdir(programs, { recursive: true });
  if (options.sshConfig !== undefined) await useSshConfig(options.sshConfig, home, programs);

  const mark = randomUUID();
  const env = {
    PATH: `${programs}:${process.env['PATH'] ?? '/usr/bin:/bin'}`,
    LANG: 'C.UTF-8',
    USER: userInfo().username,
    SHELL: '/bin/bash',
    HOME: home,
    XDG_CONFIG_HOME: path.join(home, '.config'),
    XDG_DATA_HOME: path.join(home, '.local', 'share'),
    XDG_CACHE_HOME: path.join(home, '.cache'),
    XDG_STATE_HOME: path.join(home, '.local', 'state'),
    ...options.environment,
    ...treeMark(mark),
  };
  const profile = ['--user-data-dir', data, '--extensions-dir', extensions];
  for (const vsix of options.vsix ?? []) {
    const { exitCode, all } = await execa(
      editor.node,
      [editor.entry, ...profile, '--install-extension', path.resolve(vsix)],
      {
        env,
        extendEnv: false,
        all: true,
        reject: false,
      },
    );
    if (exitCode !== 0) throw new Error(`The extension ${vsix} could not be installed: ${all}`);
  }
  const settings = { ...quietSettings, ...(await runInServer(extensions)), ...options.settings };
  await writeFile(path.join(data, 'User', 'settings.json'), `${JSON.stringify(settings, undefined, 2)}\n`);

  const log = await open(serverLog, 'a');
  const server = spawn(
    editor.node,
    [
      editor.entry,
      ...profile,
      ...['--bind-addr', `127.0.0.1:${options.port ?? 0}`, '--auth', 'none'],
      ...[
        '--disable-telemetry',
        '--disable-update-check',
        '--disable-workspace-trust',
        '--disable-getting-started-override',
      ],
      ...(options.runsSuites === true ? ['--vscode-option', 'enable-smoke-test-driver'] : []),
    ],
    // In a process group of its own: Ctrl-C at the terminal then reaches the caller only, which ends it in order.
    { cwd: home, env, stdio: ['ignore', log.fd, log.fd], detached: true },
  );
  const died = new Promise<never>((_, reject) => {
    server.once('error', reject);
    server.once('exit', (code, signal) =>
      reject(new Error(`It ended with ${code ?? signal ?? 'no status'}`)),
    );
  });
  // It may end long after anyone waits for it.
  died.catch(() => undefined);
  await log.close();
  const { pid } = server;
  const end = async () => {
    if (pid !== undefined) await endProcessTree(pid, mark);
    await removeDirectory();
  };
  try {
    if (pid === undefined) return await died;
    const origin = await Promise.race([
      died,
      until('the VS Code server', () => findOrigin(serverLog), { timeoutMs: 30_000 }),
    ]);
    return new Workbench(origin, home, path.join(data, 'logs'), serverLog, pid, end);
  } catch (error) {
    const text = await readFile(serverLog, 'utf8').catch(() => '');
    if (pid !== undefined) await endProcessTree(pid, mark);
    throw new Error(`The VS Code server did not start. Its log ends:\n${text.slice(-2_000)}`, {
      cause: error,
    });
  }
}

/**
 * The setting that lets extensions of kind `ui` run in the server's extension host: a browser has no other for them,
 * and would leave them out without a word.
 */
async function runInServer(extensions: string): Promise<Record<string, unknown>> {
  const list = await readFile(path.join(extensions, 'extensions.json'), 'utf8').catch(() => '[]');
  // VS Code wrote it.
  const installed = JSON.parse(list) as { identifier: { id: string } }[];
  return {
    'remote.extensionKind': Object.fromEntries(
      installed.map(({ identifier }) => [identifier.id, ['workspace']]),
    ),
  };
}

async function findOrigin(serverLog: string): Promise<string | undefined> {
  const origin = /HTTP server listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(
    await readFile(serverLog, 'utf8'),
  )?.[1];
  if (origin === undefined) return undefined;
  const { ok } = await fetch(`${origin}/healthz`);
  return ok ? origin : undefined;
}

async function useSshConfig(text: string, home: string, programs: string): Promise<void> {
  const config = path.join(home, '.ssh', 'config');
  await writeFile(config, text, { mode: 0o600 });
  const { stdout: ssh } = await execa('which', ['ssh']);
  const program = path.join(programs, 'ssh');
  await writeFile(program, `#!/bin/sh\nexec '${ssh}' -F '${config}' "$@"\n`);
  await chmod(program, 0o755);
  // The extension host's environment is that of a log-in shell, and Debian's /etc/profile sets PATH anew.
  await writeFile(path.join(home, '.profile'), `PATH='${programs}':"$PATH"\n`);
}

import { createHash } from 'node:crypto';
import { access, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { execa, ExecaError } from 'execa';

/** The VS Code server of the npm registry, and what it runs on. code-server brings the lock files of all it needs. */
const recipe = {
  codeServer: '4.139.1',
  /** code-server accepts this major version only. */
  node: '24.21.0',
  /** The npm that happens to be installed may be too old for Node 24, or patched by a distribution. */
  npm: '11.21.2',
  /** The only native parts that have no prebuilt binary in their package and that the server loads. */
  built: ['@vscode/spdlog', '@vscode/native-watchdog'],
  layout: 1,
} as const;

/** An installed VS Code server. */
export interface Editor {
  /** The Node that runs it. */
  node: string;
  /** The script of code-server. */
  entry: string;
}

/** Receives one line of text per step, without a newline. */
export type Progress = (line: string) => void;

/** Where everything that takes long to make is kept between runs. */
export function cacheDirectory(): string {
  return path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'forkpoint');
}

/**
 * Installs the VS Code server into the cache, unless the same recipe is there already (35 s and 0.8 GB the first time).
 * Two processes may do so at once: the first to finish wins, and the other uses what it finds.
 */
export async function installEditor(progress: Progress): Promise<Editor> {
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) {
    throw new Error(
      `The workbench tests need Linux on x64 or arm64, and this is ${process.platform} on ${process.arch}. Use "npm run test:electron" here.`,
    );
  }
  const nodePackage = `node-linux-${process.arch}`;
  const digest = createHash('sha256')
    .update(JSON.stringify({ recipe, nodePackage }))
    .digest('hex')
    .slice(0, 16);
  const cache = cacheDirectory();
  const home = path.join(cache, `editor-${digest}`);
  const editor = {
    node: path.join(home, 'node_modules', nodePackage, 'bin', 'node'),
    entry: path.join(home, 'node_modules', 'code-server', 'out', 'node', 'entry.js'),
  };
  if (await exists(home)) return editor;

  await mkdir(cache, { recursive: true });
  await removeAbandoned(cache);
  const partial = path.join(cache, `editor-partial-${process.pid}`);
  await mkdir(partial);
  try {
    await build(partial, nodePackage, progress);
    await rename(partial, home).catch(async (error: unknown) => {
      if (!(await exists(home))) throw error;
    });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  progress(`The VS Code server is in ${home}.`);
  return editor;
}

async function build(directory: string, nodePackage: string, progress: Progress): Promise<void> {
  await writeFile(path.join(directory, 'package.json'), '{"private":true}\n');
  progress(
    `Installing code-server ${recipe.codeServer} and Node ${recipe.node} from the npm registry (about a minute)…`,
  );
  await npm(['npm'], directory, [
    'install',
    '--ignore-scripts',
    `${nodePackage}@${recipe.node}`,
    `npm@${recipe.npm}`,
    `code-server@${recipe.codeServer}`,
  ]);

  const modules = path.join(directory, 'node_modules');
  const nodeHome = path.join(modules, nodePackage);
  const pinned = [path.join(nodeHome, 'bin', 'node'), path.join(modules, 'npm', 'bin', 'npm-cli.js')];
  const server = path.join(modules, 'code-server', 'lib', 'vscode');
  progress('Installing what the server and its built-in extensions depend on…');
  await npm(pinned, server, ['install', '--ignore-scripts', '--omit=dev']);
  await npm(pinned, path.join(server, 'extensions'), ['install', '--ignore-scripts', '--omit=dev']);
  progress('Building its native parts…');
  // An `ignore-scripts` of the caller's npm arrives here through the environment; without scripts nothing is built.
  await npm(pinned, server, ['rebuild', '--ignore-scripts=false', ...recipe.built], {
    npm_config_nodedir: nodeHome,
    PATH: `${path.dirname(pinned[0] ?? '')}:${process.env['PATH'] ?? ''}`,
  });
  for (const name of recipe.built) {
    const output = path.join(server, 'node_modules', name, 'build', 'Release');
    const built = await readdir(output).catch((): string[] => []);
    if (!built.some((file) => file.endsWith('.node'))) {
      throw new Error(`npm rebuilt "${name}" without an error, yet there is no native module in ${output}.`);
    }
  }
}

async function npm(
  [program = 'npm', ...script]: readonly string[],
  cwd: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<void> {
  try {
    await execa(program, [...script, ...args, '--no-audit', '--no-fund'], {
      cwd,
      env,
      stdin: 'ignore',
      all: true,
    });
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error;
    const end = String(error.all).split('\n').slice(-12).join('\n');
    throw new Error(
      `"npm ${args.join(' ')}" failed in ${cwd}. It needs the npm registry, and for native parts python3, make and g++ ` +
        `("apt-get install python3 make g++"). Its last words:\n${end}`,
      { cause: error },
    );
  }
}

async function removeAbandoned(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const pid = /^editor-partial-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !(await exists(`/proc/${pid}`))) {
      await rm(path.join(cache, name), { recursive: true, force: true });
    }
  }
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

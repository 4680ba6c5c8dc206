import { access, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  downloadAndUnzipVSCode,
  resolveCliArgsFromVSCodeExecutablePath,
  runTests,
  TestRunFailedError,
} from '@vscode/test-electron';
import { execa } from 'execa';
import { cacheDirectory } from '../workbench/editor/install.ts';
import { runSuite, type PreparedSuite } from '../workbench/editor/suiteRun.ts';

/**
 * The suites that also run in the browser workbench, here in a desktop VS Code: `VSCODE_PATH`, or else the newest
 * stable one that can be downloaded. Without any it says so by name and counts nothing as passed.
 */
async function main(): Promise<number> {
  const reason = reasonNotToTry();
  const executable = reason === undefined ? await findVsCode() : { missing: reason };
  if (typeof executable !== 'string') {
    process.stdout.write(`electron suite: not run: ${executable.missing}\n`);
    // Where a desktop VS Code belongs to the job, its absence is a failure.
    return process.env['FORKPOINT_REQUIRE_ELECTRON'] === '1' ? 1 : 0;
  }

  const vsix = path.resolve('forkpoint.vsix');
  await access(vsix).catch((cause: unknown) => {
    throw new Error(`There is no ${vsix}: run "npm run package" first.`, { cause });
  });
  const suites = fileURLToPath(new URL('../workbench/extensionHost/', import.meta.url));
  const files = (await readdir(suites))
    .filter((file) => file.endsWith('.suite.ts'))
    .map((file) => path.join(suites, file));
  const profile = await mkdtemp(path.join(tmpdir(), 'forkpoint-electron-'));
  try {
    const profileArgs = [
      '--user-data-dir',
      path.join(profile, 'data'),
      '--extensions-dir',
      path.join(profile, 'extensions'),
    ];
    const [cli = executable, ...cliArgs] = resolveCliArgsFromVSCodeExecutablePath(executable, {
      reuseMachineInstall: true,
    });
    await execa(cli, [...cliArgs, ...profileArgs, '--no-sandbox', '--install-extension', vsix], {
      // The command line is a batch file there.
      shell: process.platform === 'win32',
      stdio: 'inherit',
    });
    const { passed, failed } = await runSuite({ files, timeoutMs: 300_000 }, (prepared, signal) =>
      runInDesktop(executable, profileArgs, prepared, signal),
    );
    process.stdout.write(`electron suite: ${passed} passed, ${failed} failed\n`);
    return failed === 0 ? 0 : 1;
  } finally {
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

function reasonNotToTry(): string | undefined {
  const hasDisplay =
    process.platform !== 'linux' ||
    process.env['DISPLAY'] !== undefined ||
    process.env['WAYLAND_DISPLAY'] !== undefined;
  return hasDisplay
    ? undefined
    : 'there is no display; with one, or under "xvfb-run -a npm run test:electron", it runs';
}

async function findVsCode(): Promise<string | { missing: string }> {
  const chosen = process.env['VSCODE_PATH'];
  if (chosen !== undefined && chosen !== '') return chosen;
  try {
    return await downloadAndUnzipVSCode({
      version: 'stable',
      cachePath: path.join(cacheDirectory(), 'vscode'),
      timeout: 30_000,
    });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { missing: `VSCODE_PATH names no VS Code, and none could be downloaded (${why})` };
  }
}

async function runInDesktop(
  executable: string,
  profileArgs: readonly string[],
  { developmentPath, testsPath }: PreparedSuite,
  signal: AbortSignal,
): Promise<number> {
  // The library ends VS Code when it is told to stop from the keyboard, and offers no other way.
  const interrupt = () => process.emit('SIGINT');
  signal.addEventListener('abort', interrupt);
  try {
    return await runTests({
      vscodeExecutablePath: executable,
      extensionDevelopmentPath: developmentPath,
      extensionTestsPath: testsPath,
      launchArgs: [...profileArgs],
      reuseMachineInstall: true,
    });
  } catch (error) {
    if (error instanceof TestRunFailedError && error.code !== undefined) return error.code;
    throw error;
  } finally {
    signal.removeEventListener('abort', interrupt);
  }
}

main().then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    process.stderr.write(`electron suite: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  },
);

import * as z from 'zod';
import { compareVersions } from './versions.ts';
import { ForkpointError } from '../../protocol/errors.ts';
import { installProgram } from '../../protocol/install.ts';
import type { Installed } from '../../protocol/install.ts';
import { NotStartedError } from './helperProcess.ts';
import type { HelperProcess, RootCommands } from './helperProcess.ts';
import type { HelperProgram } from './host.ts';
import type { Log } from './log.ts';
import { HostProblemError } from './problems.ts';
import type { Questions } from './questions.ts';

/** Oldest Node.js that runs the helper: that of Debian 12. */
export const MINIMUM_NODE = '18.19.0';

/** Where a distribution puts it, and where an administrator does. */
const NODE_PATHS = ['/usr/bin/node', '/usr/local/bin/node'] as const;

/** Unpacking, and waiting for an older daemon to become idle. */
const INSTALL_TIMEOUT_MS = 120_000;

const InstalledSchema = z.object({ digest: z.string(), version: z.string(), current: z.boolean() });
const AnswerSchema = z.union([InstalledSchema, z.object({ error: z.unknown() })]);

export interface InstallOptions {
  readonly root: RootCommands;
  readonly questions: Questions;
  readonly helper: HelperProgram;
  readonly log: Log;
}

/**
 * Brings the helper onto the host: its bytes go over stdin into a root-owned Node.js, so that neither SFTP nor an
 * executable /tmp is needed (H37). Rejected with a `HostProblemError`.
 */
export async function installHelper({ root, questions, helper, log }: InstallOptions): Promise<Installed> {
  const host = questions.host;
  const node = await findNode(root, host);
  log.info(`installing helper ${helper.version} (${helper.digest.slice(0, 12)}) by ${node}`);
  const started = performance.now();
  let running: HelperProcess;
  try {
    running = await root.start({
      command: () => [node, '-'],
      input: (marker) => installProgram(helper.base64, marker),
    });
  } catch (error) {
    if (!(error instanceof NotStartedError)) throw error;
    throw new HostProblemError(
      'installFailed',
      { host, problem: lastLine(error.stderr) ?? error.message },
      { detail: error.stderr.trim(), cause: error },
    );
  }
  const printed = await questions.patience.within(INSTALL_TIMEOUT_MS, readAll(running), () => {
    running.kill();
    return new HostProblemError('installFailed', { host, problem: 'it took too long' });
  });
  const exit = await running.exit;
  if (exit.problem) throw exit.problem;
  const answer = parseAnswer(printed);
  if (answer === null || 'error' in answer || exit.code !== 0) {
    const failure = answer !== null && 'error' in answer ? ForkpointError.from(answer.error) : null;
    const said = running.saidOnStderr().trim();
    throw new HostProblemError(
      'installFailed',
      { host, problem: failure?.message ?? lastLine(said) ?? `it ended with status ${String(exit.code)}` },
      { detail: failure?.detail ?? (said || printed), ...(failure ? { cause: failure } : {}) },
    );
  }
  const which = answer.current ? 'it is the one in use' : `version ${answer.version} stays in use`;
  log.info(`installed the helper in ${String(Math.round(performance.now() - started))} ms; ${which}`);
  return answer;
}

/** The Node.js to run as root: by absolute path, new enough, and nobody but root can change it (H50). */
async function findNode(root: RootCommands, host: string): Promise<string> {
  let problem = new HostProblemError('nodeMissing', { host, minimum: MINIMUM_NODE });
  for (const node of NODE_PATHS) {
    const realPath = (await root.readAsUser(['realpath', '-e', node]))?.trim().split('\n').at(-1);
    if (realPath === undefined) continue;
    if (!(await isOnlyRoots(root, realPath))) {
      problem = new HostProblemError('nodeUntrusted', { host, path: node });
      continue;
    }
    const version = /^v(\d+\.\d+\.\d+)/m.exec((await root.readAsUser([node, '--version'])) ?? '')?.[1] ?? '';
    if (compareVersions(version, MINIMUM_NODE) >= 0) return node;
    problem = new HostProblemError('nodeTooOld', {
      host,
      version: version || '(unknown)',
      minimum: MINIMUM_NODE,
    });
  }
  throw problem;
}

/** Whether a file and all directories above it belong to root and are writable by nobody else. */
async function isOnlyRoots(root: RootCommands, file: string): Promise<boolean> {
  if (!/^\/[\w./-]+$/.test(file)) return false;
  const paths = [file];
  for (let at = file.lastIndexOf('/'); at > 0; at = file.lastIndexOf('/', at - 1))
    paths.push(file.slice(0, at));
  const listing = await root.readAsUser(['stat', '--format=%u:%a:%n', ...paths]);
  return paths.every((one) => {
    const [, owner, mode] =
      listing
        ?.split('\n')
        .map((line) => /^(\d+):(\d+):(.*)$/.exec(line) ?? [])
        .find((fields) => fields[3] === one) ?? [];
    return owner === '0' && mode !== undefined && (parseInt(mode, 8) & 0o022) === 0;
  });
}

async function readAll(running: HelperProcess): Promise<string> {
  let text = '';
  for await (const chunk of running.output) text += String(chunk);
  return text;
}

/** Reads what the helper's installation printed after its marker; null for anything else. */
export function parseAnswer(printed: string): z.infer<typeof AnswerSchema> | null {
  const line = printed.split('\n').find((one) => one.trim() !== '');
  if (line === undefined) return null;
  try {
    return AnswerSchema.parse(JSON.parse(line));
  } catch {
    // What came is in the failure's detail.
    return null;
  }
}

function lastLine(text: string): string | null {
  return text.trim().split('\n').at(-1)?.trim() || null;
}

import { randomUUID } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { visible } from '../../protocol/visible.ts';
import type { SnapshotName } from '../../protocol/names.ts';
import { ForkpointError } from '../../protocol/errors.ts';
import { ROOTFS } from '../catalogue/layout.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import { Cgroup } from '../engines/cgroup.ts';
import type { ContainerFacts } from '../engines/engine.ts';
import { lastLines } from '../host/run.ts';
import { confinedPath } from '../subvolumes/confinedPath.ts';
import type { Parts } from './parts.ts';
import type { Steps } from './steps.ts';

/** What a user lets run inside: in each fork, to make seeds, tokens and jobs its own; after each restore, as clocks jumped. */
const HOOKS = { fork: '/etc/forkpoint/on-fork', restore: '/etc/forkpoint/on-restore' } as const;

/** How long one may take, in milliseconds. The workspace runs all the while. */
const DEADLINE_MS = 30_000;

/** In the environment of the hook and of what it starts: tells them from all else when they must be ended. */
const MARK = 'FORKPOINT_HOOK';

/** Runs the hook of a fork that was just woken. Answers how it failed; null when it did well or there is none. */
export async function runForkHook(
  parts: Parts,
  workspace: WorkspaceRecord,
  facts: ContainerFacts,
  steps: Steps,
): Promise<string | null> {
  const { origin } = workspace;
  if (origin === null) return null;
  return await runHook(parts, workspace, facts, steps, HOOKS.fork, {
    FORKPOINT_NAME: workspace.name,
    FORKPOINT_INDEX: String(origin.forkIndex),
    FORKPOINT_ORIGIN: origin.name,
  });
}

/** Runs the hook of a workspace that was just restored, as {@link runForkHook} does that of a fork. */
export async function runRestoreHook(
  parts: Parts,
  workspace: WorkspaceRecord,
  facts: ContainerFacts,
  restored: SnapshotName,
  steps: Steps,
): Promise<string | null> {
  return await runHook(parts, workspace, facts, steps, HOOKS.restore, {
    FORKPOINT_NAME: workspace.name,
    FORKPOINT_SNAPSHOT: restored,
  });
}

async function runHook(
  parts: Parts,
  workspace: WorkspaceRecord,
  facts: ContainerFacts,
  steps: Steps,
  hook: string,
  environment: Readonly<Record<string, string>>,
): Promise<string | null> {
  const mark = randomUUID();
  const env = { ...environment, [MARK]: mark };
  try {
    if (!(await isThere(parts, workspace, hook))) return null;
    const options = { isInteractive: false, hasTerminal: false, user: '0', env };
    await steps.run('hook', () => parts.engine.exec(workspace, options, [hook], { timeoutMs: DEADLINE_MS }));
    return null;
  } catch (error) {
    endMarked(facts, mark);
    const failure = ForkpointError.from(error);
    const problem = [String(failure.args['status'] ?? failure.message), failure.detail]
      .filter(Boolean)
      .join(': ');
    parts.log.warn(`${hook} failed in ${workspace.name}: ${visible(problem)}`);
    return visible(lastLines(problem, 4));
  }
}

/** Only whether it is there is asked, and the answer may be out of date: nothing is opened. */
async function isThere(parts: Parts, workspace: WorkspaceRecord, hook: string): Promise<boolean> {
  const file = await confinedPath(parts.layout.livePart(workspace.id, ROOTFS), hook);
  return statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** The end of the engine's program leaves what it started inside alone. */
function endMarked({ pid, id }: ContainerFacts, mark: string): void {
  for (const member of Cgroup.find(pid, id)?.processes() ?? []) {
    try {
      const environment = readFileSync(`/proc/${String(member)}/environ`, 'latin1').split('\0');
      if (environment.includes(`${MARK}=${mark}`)) process.kill(member, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}

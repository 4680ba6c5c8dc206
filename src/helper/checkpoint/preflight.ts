import { readFileSync, readdirSync } from 'node:fs';
import { ForkpointError } from '../../protocol/errors.ts';
import { visible } from '../../protocol/visible.ts';

/**
 * Refuses with `checkpoint.impossible` what CRIU would try for its whole timeout, the workspace frozen: a process that
 * is traced by another, which ptrace(2) lets nobody else seize.
 */
export function requireUntraced(workspace: string, pids: readonly number[]): void {
  for (const pid of pids) {
    for (const status of threadStatuses(pid)) {
      if (!/^TracerPid:\s*[1-9]/m.test(status)) continue;
      const name = visible(/^Name:\s*(.*)$/m.exec(status)?.[1] ?? '');
      throw new ForkpointError('checkpoint.impossible', {
        workspace,
        reason: `a debugger or tracer is attached to a process ("${name}")`,
      });
    }
  }
}

/** The `status` files of all threads (proc_pid_status(5)); none when the process has ended. */
function threadStatuses(pid: number): string[] {
  try {
    const directory = `/proc/${String(pid)}/task`;
    return readdirSync(directory).map((thread) => readFileSync(`${directory}/${thread}/status`, 'utf8'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return [];
    throw error;
  }
}

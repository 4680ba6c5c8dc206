import { hostname, networkInterfaces } from 'node:os';
import type { Workspace } from '../../protocol/workspace.ts';

/**
 * Whether this program runs in the workspace, as it does when the editor's server does: it has the workspace's own
 * address and host name. Such a program goes back with a restore.
 */
export function livesInside(workspace: Pick<Workspace, 'address' | 'hostname'>): boolean {
  if (hostname() !== workspace.hostname) return false;
  return Object.values(networkInterfaces()).some((addresses) =>
    (addresses ?? []).some(({ address }) => address === workspace.address),
  );
}

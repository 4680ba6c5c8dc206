import type { WorkspaceId } from '../../protocol/names.ts';
import type { Workspace } from '../../protocol/workspace.ts';

/** As people count: `try-9` comes before `try-10`. One for all: to make a collator takes as long as to sort a list. */
const byNumbers = new Intl.Collator('en', { numeric: true });

/** The workspaces that stand for themselves: those that are no fork, and forks with a project of their own. */
export function topWorkspaces(workspaces: readonly Workspace[]): readonly Workspace[] {
  const byId = new Map(workspaces.map((workspace) => [workspace.id, workspace]));
  return workspaces.filter((workspace) => parentOf(workspace, byId) === undefined);
}

/** The forks of a workspace that belong below it, oldest first. */
export function nestedForks(origin: WorkspaceId, workspaces: readonly Workspace[]): readonly Workspace[] {
  const byId = new Map(workspaces.map((workspace) => [workspace.id, workspace]));
  return workspaces
    .filter((workspace) => parentOf(workspace, byId)?.id === origin)
    .sort((a, b) => Date.parse(a.createdAt) - Date.parse(b.createdAt) || byNumbers.compare(a.name, b.name));
}

/** The names of the projects, sorted. */
export function projectsOf(workspaces: readonly Workspace[]): readonly string[] {
  const names = workspaces.map(({ project }) => project).filter((project) => project !== null);
  return [...new Set(names)].sort(byNumbers.compare);
}

/** The workspace below whose rows a fork stands; undefined when it is none, or stands for itself. */
function parentOf(workspace: Workspace, byId: ReadonlyMap<WorkspaceId, Workspace>): Workspace | undefined {
  if (workspace.origin === null) return undefined;
  const origin = byId.get(workspace.origin.workspace);
  const isElsewhere = workspace.project !== null && workspace.project !== origin?.project;
  if (origin === undefined || isElsewhere) return undefined;
  // A loop of origins, which only a damaged catalogue can hold, would hide all its members.
  const seen = new Set([workspace.id]);
  let at: Workspace | undefined = origin;
  while (at?.origin != null) {
    if (seen.has(at.id)) return undefined;
    seen.add(at.id);
    at = byId.get(at.origin.workspace);
  }
  return origin;
}

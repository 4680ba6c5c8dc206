import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { newestFirst } from '../../protocol/timelineOrder.ts';
import type { Found } from './finding.ts';
import { changeRecord, type PoolView } from './poolFiles.ts';

/** What is wrong with how the snapshots of one workspace hang together. */
export function examineLineage(
  view: PoolView,
  workspace: WorkspaceRecord,
  snapshots: readonly SnapshotRecord[],
): Found[] {
  const oldestFirst = [...snapshots].sort(newestFirst).reverse();
  const known = new Map(oldestFirst.map((one) => [one.name, one]));
  const found: Found[] = [];
  const about = (one: SnapshotRecord): Pick<Found, 'subject' | 'workspace'> => ({
    subject: `${workspace.name}/${one.name}`,
    workspace: workspace.id,
  });
  const edit = (one: SnapshotRecord, change: Record<string, unknown>) => (): Promise<void> =>
    changeRecord(view.layout.snapshotRecord(workspace.id, one.name), () => change);
  const inCircles = new Set<string>();
  const aliases = new Map<string, SnapshotRecord>();
  for (const one of oldestFirst) {
    if (one.parent !== null && !known.has(one.parent)) {
      found.push({
        kind: 'snapshot.parentMissing',
        ...about(one),
        problem: `there is no snapshot ${one.parent}, from which it is to descend`,
        mend: edit(one, { parent: null }),
      });
    }
    const circle = inCircles.has(one.name) ? [] : circleFrom(one, known);
    if (circle.length > 0) {
      for (const { name } of circle) inCircles.add(name);
      found.push({
        kind: 'snapshot.parentCycle',
        ...about(one),
        problem: `it descends from itself, through ${circle.map(({ name }) => name).join(', ')}`,
        mend: edit(one, { parent: null }),
      });
    }
    const elder = one.alias === null ? undefined : aliases.get(one.alias);
    if (elder !== undefined) {
      found.push({
        kind: 'snapshot.aliasTwice',
        ...about(one),
        problem: `its alias "${String(one.alias)}" belongs to ${elder.name}, too`,
        mend: edit(one, { alias: null }),
      });
    } else if (one.alias !== null) aliases.set(one.alias, one);
  }
  const ofWorkspace = { subject: workspace.name, workspace: workspace.id };
  const record = view.layout.workspaceRecord(workspace.id);
  if (workspace.head !== null && !known.has(workspace.head)) {
    found.push({
      kind: 'workspace.headMissing',
      ...ofWorkspace,
      problem: `there is no snapshot ${workspace.head}, from which it is to descend`,
      mend: () => changeRecord(record, () => ({ head: null })),
    });
  }
  if (workspace.undo !== null && !known.has(workspace.undo.safety)) {
    found.push({
      kind: 'workspace.undoMissing',
      ...ofWorkspace,
      problem: `there is no safety snapshot ${workspace.undo.safety}`,
      mend: () => changeRecord(record, () => ({ undo: null })),
    });
  }
  return found;
}

/** The snapshots through which `start` descends from itself, itself first; empty where it does not. */
function circleFrom(
  start: SnapshotRecord,
  known: ReadonlyMap<string, SnapshotRecord>,
): readonly SnapshotRecord[] {
  const passed: SnapshotRecord[] = [];
  let at: SnapshotRecord | undefined = start;
  while (at !== undefined && !passed.includes(at)) {
    passed.push(at);
    at = at.parent === null ? undefined : known.get(at.parent);
  }
  return at === start ? passed : [];
}

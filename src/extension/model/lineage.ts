import type { SnapshotName } from '../../protocol/names.ts';
import type { SnapshotSummary } from '../../protocol/snapshot.ts';
import { newestFirst } from '../../protocol/timelineOrder.ts';

/** One row of a workspace's timeline. Rows run from the newest to the oldest. */
export type TimelineRow =
  | { readonly kind: 'snapshot'; readonly snapshot: SnapshotSummary; readonly isCurrent: boolean }
  | {
      readonly kind: 'branch';
      /** The newest snapshot of the branch, whose name the row carries. */
      readonly tip: SnapshotSummary;
      /** The oldest one, right after the fork point: it stays the same while the branch grows. */
      readonly first: SnapshotSummary;
      /** How many snapshots the branch and its own branches hold. */
      readonly count: number;
      readonly rows: readonly TimelineRow[];
    };

/** What the views show of a workspace's snapshots. */
export interface Timeline {
  /** All of them, newest first. */
  readonly snapshots: readonly SnapshotSummary[];
  /** The head's line, flat, each side branch standing right before (newer than) the snapshot that it forked from. */
  readonly rows: readonly TimelineRow[];
  /** Safety snapshots, newest first: they are in no row. */
  readonly safety: readonly SnapshotSummary[];
  /**
   * Where "restore" aims: the head, or the nearest ancestor of a head that is a safety snapshot (H31).
   * Null when the workspace has no such snapshot.
   */
  readonly current: SnapshotSummary | null;
  /** The row index of `current` in `rows`; -1 without one. */
  readonly currentIndex: number;
}

/**
 * Shapes the snapshots of one workspace into its timeline. A snapshot whose parent is unknown begins a line of its
 * own; safety snapshots are left out of the lines, and what descends from one joins the nearest ancestor that isn't one.
 * Takes time in proportion to the number of snapshots (apart from sorting), whatever their shape.
 * @param head name of the snapshot that the live workspace descends from
 */
export function shapeTimeline(snapshots: readonly SnapshotSummary[], head: SnapshotName | null): Timeline {
  const byName = new Map(snapshots.map((snapshot) => [snapshot.name, snapshot]));
  const sorted = [...snapshots].sort(newestFirst);
  const ranks: Ranks = new Map(sorted.map((snapshot, rank) => [snapshot.name, rank]));
  const safety = sorted.filter((snapshot) => snapshot.kind === 'safety');
  const shown = sorted.filter((snapshot) => snapshot.kind !== 'safety');

  const parents = breakCycles(shown, byName);
  const children = new Map<SnapshotName | null, SnapshotSummary[]>();
  for (const snapshot of shown) append(children, parents.get(snapshot.name) ?? null, snapshot);
  const subtrees = measureSubtrees(shown, children, ranks);

  const headSnapshot = head === null ? undefined : byName.get(head);
  const current = headSnapshot === undefined ? null : nearestShown(headSnapshot, byName);
  // Without a head (it was deleted as the first of its line) the line leads to the newest snapshot.
  const lineEnd = current ?? shown[0];
  const line: SnapshotSummary[] = [];
  for (let at = lineEnd; at !== undefined; at = parentOf(at)) line.push(at);

  const rows = rowsOfLine(line, true);
  return {
    snapshots: sorted,
    rows,
    safety,
    current,
    currentIndex: rows.findIndex((row) => row.kind === 'snapshot' && row.isCurrent),
  };

  function parentOf(snapshot: SnapshotSummary): SnapshotSummary | undefined {
    const name = parents.get(snapshot.name);
    return name == null ? undefined : byName.get(name);
  }

  /** Rows of a line given newest first; `isWhole` adds the lines that descend from nothing listed, at the end. */
  function rowsOfLine(snapshotsOfLine: readonly SnapshotSummary[], isWhole: boolean): TimelineRow[] {
    const onLine = new Set(snapshotsOfLine.map((snapshot) => snapshot.name));
    const result: TimelineRow[] = [];
    for (const snapshot of snapshotsOfLine) {
      addBranches(result, snapshot.name, onLine);
      result.push({ kind: 'snapshot', snapshot, isCurrent: snapshot === current });
    }
    if (isWhole) addBranches(result, null, onLine);
    return result;
  }

  function addBranches(
    rowsSoFar: TimelineRow[],
    forkPoint: SnapshotName | null,
    onLine: ReadonlySet<SnapshotName>,
  ): void {
    const branches = (children.get(forkPoint) ?? [])
      .filter((child) => !onLine.has(child.name))
      .map((first) => ({ first, subtree: subtrees.get(first.name) ?? { tip: first, count: 1 } }))
      .sort((a, b) => compareRanks(ranks, a.subtree.tip, b.subtree.tip));
    for (const { first, subtree } of branches) {
      const branchLine: SnapshotSummary[] = [];
      for (let at: SnapshotSummary | undefined = subtree.tip; at !== undefined; at = parentOf(at)) {
        branchLine.push(at);
        if (at === first) break;
      }
      rowsSoFar.push({
        kind: 'branch',
        tip: subtree.tip,
        first,
        count: subtree.count,
        rows: rowsOfLine(branchLine, false),
      });
    }
  }
}

/** The snapshot itself, or its nearest ancestor that is not a safety snapshot. */
function nearestShown(
  snapshot: SnapshotSummary,
  byName: ReadonlyMap<SnapshotName, SnapshotSummary>,
): SnapshotSummary | null {
  const seen = new Set<SnapshotName>();
  let at: SnapshotSummary | undefined = snapshot;
  while (at?.kind === 'safety' && !seen.has(at.name)) {
    seen.add(at.name);
    at = at.parent === null ? undefined : byName.get(at.parent);
  }
  return at === undefined || at.kind === 'safety' ? null : at;
}

/**
 * The parent of each shown snapshot among the shown ones. A loop of parents, which only a damaged catalogue can hold,
 * is cut open at its newest member, so that every snapshot is listed once.
 */
function breakCycles(
  shown: readonly SnapshotSummary[],
  byName: ReadonlyMap<SnapshotName, SnapshotSummary>,
): Map<SnapshotName, SnapshotName | null> {
  const parents = new Map<SnapshotName, SnapshotName | null>();
  for (const snapshot of shown) {
    const listed = snapshot.parent === null ? undefined : byName.get(snapshot.parent);
    parents.set(snapshot.name, listed === undefined ? null : (nearestShown(listed, byName)?.name ?? null));
  }
  const leadsToRoot = new Set<SnapshotName>();
  for (const { name } of shown) {
    const path = new Set<SnapshotName>();
    let at: SnapshotName | null = name;
    while (at !== null && !leadsToRoot.has(at)) {
      if (path.has(at)) {
        parents.set(at, null);
        break;
      }
      path.add(at);
      at = parents.get(at) ?? null;
    }
    for (const member of path) leadsToRoot.add(member);
  }
  return parents;
}

interface Subtree {
  readonly tip: SnapshotSummary;
  readonly count: number;
}

/** Newest snapshot and size of what descends from each snapshot, itself included. */
function measureSubtrees(
  shown: readonly SnapshotSummary[],
  children: ReadonlyMap<SnapshotName | null, readonly SnapshotSummary[]>,
  ranks: Ranks,
): Map<SnapshotName, Subtree> {
  // Parents before children, whatever the clocks said.
  const order: SnapshotSummary[] = [...(children.get(null) ?? [])];
  for (let index = 0; index < shown.length; index++) {
    const snapshot = order[index];
    if (snapshot !== undefined) order.push(...(children.get(snapshot.name) ?? []));
  }
  const subtrees = new Map<SnapshotName, Subtree>();
  for (const snapshot of order.reverse()) {
    let tip = snapshot;
    let count = 1;
    for (const child of children.get(snapshot.name) ?? []) {
      const subtree = subtrees.get(child.name);
      if (subtree === undefined) continue;
      count += subtree.count;
      // The tip is the end of a line: a snapshot is older than what descends from it even where the clock jumped.
      if (tip === snapshot || compareRanks(ranks, subtree.tip, tip) < 0) tip = subtree.tip;
    }
    subtrees.set(snapshot.name, { tip, count });
  }
  return subtrees;
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}

/** Place of each snapshot from the newest to the oldest: times are read and compared once. */
type Ranks = ReadonlyMap<SnapshotName, number>;

function compareRanks(ranks: Ranks, a: SnapshotSummary, b: SnapshotSummary): number {
  return (ranks.get(a.name) ?? 0) - (ranks.get(b.name) ?? 0);
}

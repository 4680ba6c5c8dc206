import type { SnapshotSummary } from '../../../protocol/snapshot.ts';
import { formatAge } from './units.ts';

/**
 * Lays a timeline out from its beginning: what follows stands below at the same depth, side branches and the forks that
 * began at a snapshot are set in below it.
 * @param snapshots newest first
 */
export function snapshotTree(snapshots: readonly SnapshotSummary[], now: number): string {
  const names = new Set<string>(snapshots.map(({ name }) => name));
  const children = new Map<string | null, SnapshotSummary[]>();
  for (const snapshot of snapshots) {
    const parent = snapshot.parent !== null && names.has(snapshot.parent) ? snapshot.parent : null;
    children.set(parent, [snapshot, ...(children.get(parent) ?? [])]);
  }
  const lines: string[] = [];
  const branches: { from: SnapshotSummary; depth: number }[] = (children.get(null) ?? [])
    .reverse()
    .map((from) => ({ from, depth: 0 }));
  for (let branch = branches.pop(); branch !== undefined; branch = branches.pop()) {
    const { from, depth } = branch;
    const indent = '│ '.repeat(depth);
    lines.push(`${indent}${describe(from, now)}`);
    for (const fork of from.forks) lines.push(`${indent}├╴fork "${fork.name}", ${fork.state}`);
    const following = children.get(from.name) ?? [];
    // What leads on to the head comes last, at the same depth; else the newest does.
    const main = following.find((one) => leadsToHead(one, children)) ?? following.at(-1);
    if (main !== undefined) branches.push({ from: main, depth });
    for (const one of following.reverse()) if (one !== main) branches.push({ from: one, depth: depth + 1 });
  }
  return lines.join('\n');
}

function describe(snapshot: SnapshotSummary, now: number): string {
  const alias = snapshot.alias === null ? '' : ` (${snapshot.alias})`;
  const kind = snapshot.kind === 'manual' ? '' : `, ${snapshot.kind}`;
  const holds = snapshot.stateful ? 'processes' : 'files';
  return `${snapshot.isHead ? '●' : '○'} ${snapshot.name}${alias}, ${formatAge(snapshot.createdAt, now)}, ${holds}${kind}`;
}

function leadsToHead(
  snapshot: SnapshotSummary,
  children: ReadonlyMap<string | null, readonly SnapshotSummary[]>,
): boolean {
  const pending = [snapshot];
  for (let one = pending.pop(); one !== undefined; one = pending.pop()) {
    if (one.isHead) return true;
    pending.push(...(children.get(one.name) ?? []));
  }
  return false;
}

import type { SnapshotName } from '../../../src/protocol/names.ts';
import type { SnapshotSummary } from '../../../src/protocol/snapshot.ts';
import type { Workspace } from '../../../src/protocol/workspace.ts';
import { SnapshotNameSchema, WorkspaceIdSchema } from '../../../src/protocol/names.ts';

/** The moment that snapshot 0 was taken; each following one is a minute younger. */
const FIRST = Date.UTC(2026, 2, 4, 14, 0, 0);

/** Name of the snapshot with that number. */
export function nameOf(number: number): SnapshotName {
  const at = new Date(FIRST + number * 60_000).toISOString();
  return SnapshotNameSchema.parse(
    `snap-${at.slice(0, 10).replaceAll('-', '')}-${at.slice(11, 19).replaceAll(':', '')}`,
  );
}

/** When the snapshot with that number was taken. */
export function momentOf(number: number): string {
  return new Date(FIRST + number * 60_000).toISOString();
}

/** A stateful snapshot taken by hand, `number` minutes after the first one. */
export function snapshot(
  number: number,
  parent: number | null,
  more: Partial<SnapshotSummary> = {},
): SnapshotSummary {
  return {
    name: nameOf(number),
    alias: null,
    note: null,
    createdAt: momentOf(number),
    expiresAt: null,
    parent: parent === null ? null : nameOf(parent),
    isHead: false,
    protected: false,
    stateful: true,
    statelessReason: null,
    kind: 'manual',
    freezeMs: 120,
    totalMs: 450,
    memoryBytes: 36_000_000,
    exclusiveBytes: null,
    changedFiles: null,
    durable: true,
    forks: [],
    ...more,
  };
}

/** A running workspace called `name` without snapshots. */
export function workspace(name: string, more: Partial<Workspace> = {}): Workspace {
  const id = WorkspaceIdSchema.parse(`ws-${Buffer.from(name.padEnd(6, '_')).toString('hex').slice(0, 12)}`);
  return {
    id,
    name,
    createdAt: momentOf(0),
    state: 'running',
    head: null,
    headAlias: null,
    headCreatedAt: null,
    snapshotCount: 0,
    safetyCount: 0,
    generation: 0,
    engine: { kind: 'podman', container: `forkpoint-${name}`, id: '0123456789abcdef'.repeat(4) },
    address: '10.209.0.16',
    hostname: name,
    command: [],
    published: [],
    volumes: [],
    rootfs: `/var/lib/forkpoint/workspaces/${id}/rootfs`,
    undo: null,
    setback: null,
    project: null,
    origin: null,
    operation: null,
    ...more,
  };
}

/** No port of any workspace is forwarded. */
export const noForwards = { of: () => [] };

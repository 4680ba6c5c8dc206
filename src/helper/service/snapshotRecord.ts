import type { SnapshotName } from '../../protocol/names.ts';
import { SnapshotNameSchema } from '../../protocol/names.ts';
import type {
  Capture,
  ForkReference,
  Snapshot,
  SnapshotKind,
  SnapshotSummary,
} from '../../protocol/snapshot.ts';
import { SCHEMA } from '../catalogue/records.ts';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { hashImages, listImages, protectImages } from '../checkpoint/images.ts';
import { bootId } from '../host/processes.ts';
import { exists } from '../subvolumes/btrfs.ts';
import { partsOf } from './freeze.ts';
import type { Taken } from './freeze.ts';
import type { Parts } from './parts.ts';

/** Milliseconds of a day. */
export const DAY_MS = 86_400_000;

/** Makes the record of what was taken. It is not durable yet, and its images are not hashed: the workspace may stand still. */
export async function describeSnapshot(
  parts: Parts,
  workspace: WorkspaceRecord,
  taken: Taken,
  facts: {
    name: SnapshotName;
    kind: SnapshotKind;
    alias: string | null;
    note: string | null;
    /** Days; null for ever. */
    expiry: number | null;
    createdAt: Date;
    freezeMs: number;
    totalMs: number;
  },
): Promise<SnapshotRecord> {
  const images = taken.isStateful ? await listImages(parts.layout.memory(workspace.id, facts.name)) : [];
  return {
    schema: SCHEMA,
    workspace: workspace.id,
    name: facts.name,
    alias: facts.alias,
    note: facts.note,
    createdAt: facts.createdAt.toISOString(),
    expiresAt:
      facts.expiry === null
        ? null
        : new Date(facts.createdAt.getTime() + facts.expiry * DAY_MS).toISOString(),
    parent: workspace.head,
    protected: false,
    stateful: taken.isStateful,
    statelessReason: taken.statelessReason,
    kind: facts.kind,
    freezeMs: facts.freezeMs,
    totalMs: facts.totalMs,
    memoryBytes: images.reduce((sum, image) => sum + image.bytes, 0),
    exclusiveBytes: null,
    changedFiles: null,
    capture: captureReport(workspace, taken),
    durable: false,
    parts: partsOf(workspace),
    nested: taken.nested,
    images,
    pagesCompared: false,
    imageOrigin: taken.isStateful ? await parts.imageOrigin(workspace.engine.runtime) : null,
    addresses: [...new Set([workspace.spec.address, ...(taken.live?.addresses ?? [])])],
    identity: null,
    bootId: bootId(),
  };
}

/** Lets root alone read the images of a snapshot (H51). Before they are flushed, or a power cut may take it back. */
export async function protectMemory(
  parts: Parts,
  workspace: WorkspaceRecord,
  name: SnapshotName,
  taken: Taken,
): Promise<void> {
  if (taken.isStateful) await protectImages(parts.layout.memory(workspace.id, name));
}

/** The record once all of it is on the disk, with the hashes of its images. */
export async function asDurable(parts: Parts, record: SnapshotRecord): Promise<SnapshotRecord> {
  const images = await hashImages(parts.layout.memory(record.workspace, record.name), record.images);
  return { ...record, images, durable: true };
}

function captureReport(workspace: WorkspaceRecord, taken: Taken): Capture {
  const { live } = taken;
  const noMemory =
    (taken.statelessReason ?? '') === ''
      ? 'the workspace was stopped'
      : `the snapshot holds files alone: ${taken.statelessReason ?? ''}`;
  return {
    kept: taken.isStateful ? (live?.kept ?? []) : [],
    leftOut: [
      ...(taken.isStateful ? [] : (live?.kept ?? []).map((process) => ({ ...process, reason: noMemory }))),
      ...(live?.leftOut ?? []),
    ],
    listeners: live?.listeners ?? [],
    outsideConnections: live?.outsideConnections ?? [],
    volumes: workspace.spec.volumes,
    nestedSubvolumes: taken.nested.map(({ part, path }) => {
      const volume = workspace.spec.volumes.find((one) => part === `volumes/${one.name}`);
      return `${volume?.path ?? ''}/${path}`;
    }),
    // A tmpfs is in the memory images.
    otherMounts: (live?.otherMounts ?? []).filter((mount) => !(taken.isStateful && mount.type === 'tmpfs')),
  };
}

/**
 * A name for a snapshot of that moment that no other of the workspaces has, in the trash either.
 * @param taken further ones that are not free
 */
export async function freeName(
  parts: Parts,
  workspaces: readonly WorkspaceRecord[],
  at: Date,
  taken: readonly SnapshotName[] = [],
): Promise<SnapshotName> {
  const stamp = at.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  for (let number = 1; ; number++) {
    const name = SnapshotNameSchema.parse(number === 1 ? `snap-${stamp}` : `snap-${stamp}-${String(number)}`);
    const places = workspaces.flatMap(({ id }) => [
      parts.layout.snapshot(id, name),
      parts.layout.expiredSnapshot(id, name),
    ]);
    const found = await Promise.all(places.map((place) => exists(place)));
    if (!taken.includes(name) && !found.includes(true)) return name;
  }
}

/** The snapshot as clients see it. */
export function presentSnapshot(workspace: WorkspaceRecord, record: SnapshotRecord): Snapshot {
  const { capture, changedFiles } = record;
  return { ...summaryFields(workspace, record), changedFiles, capture };
}

/** The snapshot as lists have it. */
export function summarizeSnapshot(
  workspace: WorkspaceRecord,
  record: SnapshotRecord,
  forks: ForkReference[],
): SnapshotSummary {
  const { changedFiles } = record;
  return {
    ...summaryFields(workspace, record),
    forks,
    changedFiles: changedFiles && {
      added: changedFiles.added,
      changed: changedFiles.changed,
      deleted: changedFiles.deleted,
    },
  };
}

function summaryFields(
  workspace: WorkspaceRecord,
  record: SnapshotRecord,
): Omit<SnapshotSummary, 'changedFiles' | 'forks'> {
  return {
    name: record.name,
    alias: record.alias,
    note: record.note,
    createdAt: record.createdAt,
    expiresAt: record.expiresAt,
    parent: record.parent,
    isHead: workspace.head === record.name,
    protected: record.protected,
    stateful: record.stateful,
    statelessReason: record.statelessReason,
    kind: record.kind,
    freezeMs: record.freezeMs,
    totalMs: record.totalMs,
    memoryBytes: record.memoryBytes,
    exclusiveBytes: record.exclusiveBytes,
    durable: record.durable,
  };
}

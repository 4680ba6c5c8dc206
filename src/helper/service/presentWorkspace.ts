import type { Workspace } from '../../protocol/workspace.ts';
import type { WorkspaceState } from '../../protocol/workspaceState.ts';
import { ROOTFS, volumePart } from '../catalogue/layout.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import { Cgroup } from '../engines/cgroup.ts';
import type { Parts } from './parts.ts';

/** What the engine says of a container. */
type EngineState = { id: string; state: Exclude<WorkspaceState, 'frozen'>; pid: number } | undefined;

/** The workspace as clients see it; asks the engine for its state where that is not known. */
export async function presentWorkspace(
  parts: Parts,
  record: WorkspaceRecord,
  facts?: EngineState,
): Promise<Workspace> {
  return present(parts, record, facts ?? (await parts.engine.facts(record)));
}

/**
 * Several workspaces, with one question to the engine. What is gone when that is answered is left out: a fork that was not
 * finished would be shown as one that is.
 */
export async function presentWorkspaces(
  parts: Parts,
  records: readonly WorkspaceRecord[],
): Promise<Workspace[]> {
  if (records.length === 0) return [];
  const states = await parts.engine.states();
  return records
    .filter(({ id }) => parts.catalogue.hasWorkspace(id))
    .map((record) => present(parts, record, states.get(record.engine.container)));
}

function present(parts: Parts, record: WorkspaceRecord, engine: EngineState): Workspace {
  const snapshots = parts.catalogue.snapshotsOf(record.id);
  const head = snapshots.find((snapshot) => snapshot.name === record.head);
  return {
    id: record.id,
    name: record.name,
    createdAt: record.createdAt,
    state: stateOf(engine),
    head: record.head,
    headAlias: head?.alias ?? null,
    headCreatedAt: head?.createdAt ?? null,
    snapshotCount: snapshots.length,
    safetyCount: snapshots.filter((snapshot) => snapshot.kind === 'safety').length,
    generation: record.generation,
    engine: { kind: record.engine.kind, container: record.engine.container, id: record.engine.id },
    address: record.spec.address,
    hostname: record.spec.hostname,
    command: record.spec.command,
    published: record.spec.published,
    volumes: record.spec.volumes.map((volume) => ({
      ...volume,
      hostPath: parts.layout.livePart(record.id, volumePart(volume.name)),
    })),
    rootfs: parts.layout.livePart(record.id, ROOTFS),
    undo: record.undo,
    setback: record.setback,
    project: record.project,
    origin: record.origin,
    operation: parts.turns.holder(record.id),
  };
}

function stateOf(engine: EngineState): WorkspaceState {
  if (!engine) return 'missing';
  if (engine.state !== 'running') return engine.state;
  const cgroup = Cgroup.find(engine.pid, engine.id);
  // Without one it has ended between the two looks.
  if (cgroup === null) return 'stopped';
  return cgroup.isFrozen() ? 'frozen' : 'running';
}

import { createHash, randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import { WorkspaceIdSchema } from '../../protocol/names.ts';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { Params, Result } from '../../protocol/operations.ts';
import { ROOTFS, volumePart } from '../catalogue/layout.ts';
import type { JournalEntry } from '../catalogue/journal.ts';
import { SCHEMA } from '../catalogue/records.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import { prepareWork } from '../checkpoint/dump.ts';
import { writeOptionFile } from '../checkpoint/optionFile.ts';
import { readPool } from '../host/pool.ts';
import type { ImageSource } from '../engines/engine.ts';
import { containerPaths } from './container.ts';
import { waitForLazyRestore } from './lazyRestore.ts';
import type { Parts } from './parts.ts';
import { presentWorkspace } from './presentWorkspace.ts';
import type { Call } from './services.ts';
import { clearSetback } from './setback.ts';
import { requireUnpinned } from './snapshots.ts';
import { requireSpace } from './space.ts';
import { Steps, UNATTENDED } from './steps.ts';
import { copySource, finishRootfs } from './workspaceFiles.ts';

/** The turn of everything that looks for free names, addresses and ports. */
export const CREATING = 'creating a workspace';

/** What an image says of how to run it; nothing for a directory or archive. */
type Defaults = Pick<ImageSource, 'command' | 'env' | 'user' | 'workingDirectory'>;
const NO_DEFAULTS: Defaults = { command: [], env: {}, user: '', workingDirectory: '' };

/** Makes a workspace and starts it; undone as a whole when a step fails. */
export function createWorkspace(
  parts: Parts,
  params: Params<'containers/create'>,
  call: Call,
): Promise<Result<'containers/create'>> {
  return parts.turns.take(CREATING, call.signal, async () => {
    requireFreeName(parts, params.name);
    const { rootfs, image } = params;
    if ((rootfs === undefined) === (image === undefined)) {
      throw new ForkpointError('request.invalid', { problem: 'give either a rootfs or an image' });
    }
    const taken = await parts.engine.firstTakenPort(params.publish);
    if (taken) throw new ForkpointError('port.taken', { port: taken.hostPort });
    await requireSpace(parts.layout.root, 0);

    const steps = new Steps('create-workspace', params.name, call, parts.log);
    const id = WorkspaceIdSchema.parse(`ws-${randomBytes(6).toString('hex')}`);
    const entry: JournalEntry = {
      operation: 'create-workspace',
      workspace: id,
      name: params.name,
      startedAt: parts.now().toISOString(),
    };
    await steps.run('journal', () => parts.journal.write(entry));
    try {
      const directory = parts.layout.workspace(id);
      const live = parts.layout.livePart(id, ROOTFS);
      await steps.run('subvolumes', async () => {
        await mkdir(path.join(directory, 'volumes'), { recursive: true, mode: 0o700 });
        await parts.subvolumes.create(live);
        for (const { name } of params.volume)
          await parts.subvolumes.create(parts.layout.livePart(id, volumePart(name)));
      });
      const defaults = await steps.run('files', () =>
        image === undefined
          ? copySource(parts, rootfs ?? '', live, call.signal).then(() => NO_DEFAULTS)
          : parts.engine.withImage(image, async (source) => {
              await copySource(parts, source.directory, live, call.signal);
              return source;
            }),
      );
      const record = await steps.run('describe', () => describeWorkspace(parts, id, params, defaults));
      await steps.run('identity', () => finishRootfs(parts, live, record.spec));
      await writeOptionFile(parts.layout.optionFile(id), {
        kind: 'dump',
        action: await prepareWork(parts.layout.work(id), parts.assets.action),
      });
      const engineId = await steps.run('container', () =>
        parts.engine.create(record, containerPaths(parts, record)),
      );
      const made = { ...record, engine: { ...record.engine, id: engineId } };
      await steps.run('start', () => parts.engine.start(made));
      // With its record it exists: a cancellation between that and the end would be told of a workspace that is there.
      steps.passPointOfNoReturn();
      const saved = await steps.run('record', () => parts.catalogue.saveWorkspace(made));
      await steps.run('close', () => parts.journal.close(entry));
      parts.events.changed({ workspace: null, created: null });
      return { ...(await presentWorkspace(parts, saved)), timing: steps.timing };
    } catch (error) {
      await undoCreateWorkspace(parts, entry);
      const failure = ForkpointError.from(error);
      if (failure.code !== 'command.failed' && failure.code !== 'internal') throw failure;
      throw new ForkpointError(
        'workspace.createFailed',
        { name: params.name },
        { detail: [failure.message, failure.detail].filter(Boolean).join('\n'), cause: error },
      );
    }
  });
}

/** Removes what a failed or interrupted create has made. */
export async function undoCreateWorkspace(
  parts: Parts,
  entry: Extract<JournalEntry, { operation: 'create-workspace' }>,
): Promise<void> {
  const steps = new Steps('undo-create-workspace', entry.name, UNATTENDED, parts.log);
  if (!parts.catalogue.hasWorkspace(entry.workspace)) {
    await steps.run('container', () => parts.engine.remove(containerName(entry.name)));
    await steps.run('files', () =>
      parts.trash.move(parts.layout.workspace(entry.workspace), { nestedMayGo: true }),
    );
  }
  await steps.run('close', () => parts.journal.close(entry));
  parts.trash.emptySoon();
}

/** @throws `workspace.exists` */
export function requireFreeName(parts: Parts, name: string): void {
  if (parts.catalogue.allWorkspaces().some((other) => other.name === name))
    throw new ForkpointError('workspace.exists', { name });
}

/** What the engine calls the container of a workspace. */
export function containerName(name: string): { engine: { container: string } } {
  return { engine: { container: `forkpoint-${name}` } };
}

async function describeWorkspace(
  parts: Parts,
  id: WorkspaceId,
  params: Params<'containers/create'>,
  defaults: Defaults,
): Promise<WorkspaceRecord> {
  return {
    schema: SCHEMA,
    id,
    name: params.name,
    createdAt: parts.now().toISOString(),
    head: null,
    generation: 0,
    undo: null,
    setback: null,
    project: params.project ?? null,
    origin: null,
    lazy: null,
    engine: {
      kind: 'podman',
      ...containerName(params.name).engine,
      id: '',
      runtime: await parts.engine.chooseRuntime(),
    },
    spec: {
      hostname: hostnameOf(params.name),
      address: await parts.engine.freeAddress(takenAddresses(parts)),
      mac: macOf(id),
      command: params.command.length > 0 ? params.command : [...defaults.command],
      env: { ...defaults.env, ...params.env },
      user: defaults.user,
      workingDirectory: defaults.workingDirectory,
      shmBytes: params.shmBytes,
      volumes: params.volume,
      published: params.publish,
    },
  };
}

/**
 * The inner addresses that no new workspace may get: those of workspaces, and those that processes in snapshots are bound
 * to, which stand in the way of reaching another machine of that address where they are woken (H21).
 */
export function takenAddresses(parts: Parts): string[] {
  return parts.catalogue
    .allWorkspaces()
    .flatMap(({ id, spec }) => [
      spec.address,
      ...parts.catalogue.snapshotsOf(id).flatMap(({ addresses }) => addresses),
    ]);
}

/** The name of a workspace as one that a host may have. */
export function hostnameOf(name: string): string {
  return name.replace(/[^A-Za-z0-9-]/g, '-').replace(/^-+|-+$/g, '') || 'workspace';
}

/** A locally administered unicast address, the same for the workspace's whole life (H20). */
export function macOf(id: WorkspaceId): string {
  const bytes = createHash('sha256').update(id).digest().subarray(0, 5);
  return ['02', ...[...bytes].map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

/** All about one workspace. */
export async function showWorkspace(
  parts: Parts,
  params: Params<'containers/show'>,
  call: Call,
): Promise<Result<'containers/show'>> {
  const record = parts.catalogue.workspace(params.container);
  const [presented, pool] = await Promise.all([presentWorkspace(parts, record), readPool(parts.layout.root)]);
  call.partial({ ...presented, diskBytes: null, pool });
  const live = [ROOTFS, ...record.spec.volumes.map(({ name }) => volumePart(name))].map((part) =>
    parts.layout.livePart(record.id, part),
  );
  return { ...presented, pool, diskBytes: await parts.subvolumes.exclusiveBytes(live).catch(() => null) };
}

/** Starts a stopped workspace; its container is made again where the engine has lost it (H16). */
export function startWorkspace(
  parts: Parts,
  params: Params<'containers/start'>,
  call: Call,
): Promise<Result<'containers/start'>> {
  return changeState(parts, params.container, 'start', call, async (record, steps) => {
    const facts = await parts.engine.facts(record);
    if (facts.state === 'running') return record;
    let current = record;
    if (facts.state === 'missing') {
      const engineId = await steps.run('container', () =>
        parts.engine.create(record, containerPaths(parts, record)),
      );
      current = await parts.catalogue.saveWorkspace({
        ...record,
        engine: { ...record.engine, id: engineId },
      });
    }
    // Within the step, before which a cancellation is no failure to start.
    await steps.run('start', () =>
      parts.engine.start(current).catch((cause: unknown) => {
        throw new ForkpointError(
          'workspace.startFailed',
          { workspace: record.name },
          { detail: ForkpointError.from(cause).detail, cause },
        );
      }),
    );
    return clearSetback(parts, record.id);
  });
}

/** Stops a running workspace. */
export function stopWorkspace(
  parts: Parts,
  params: Params<'containers/stop'>,
  call: Call,
): Promise<Result<'containers/stop'>> {
  return changeState(parts, params.container, 'stop', call, async (record, steps) => {
    // A lazy restore that its processes are taken from would look like one that failed (H2).
    await steps.run('wait', () => waitForLazyRestore(parts, record, call.signal));
    const facts = await parts.engine.facts(record);
    if (facts.state !== 'running') return record;
    await steps.run('stop', () =>
      parts.engine.stop(record, params.timeout).catch((cause: unknown) => {
        throw new ForkpointError(
          'workspace.notStopped',
          { workspace: record.name },
          { detail: ForkpointError.from(cause).detail, cause },
        );
      }),
    );
    return clearSetback(parts, record.id);
  });
}

/** Sets or clears the label that groups workspaces. */
export function setProject(
  parts: Parts,
  params: Params<'containers/project'>,
  call: Call,
): Promise<Result<'containers/project'>> {
  return changeState(parts, params.container, 'project', call, (record) =>
    parts.catalogue.saveWorkspace({ ...record, project: params.project }),
  );
}

function changeState(
  parts: Parts,
  reference: string,
  verb: string,
  call: Call,
  work: (record: WorkspaceRecord, steps: Steps) => Promise<WorkspaceRecord>,
): Promise<Result<'containers/start'>> {
  const { id } = parts.catalogue.workspace(reference);
  return parts.turns.take(id, call.signal, async () => {
    const record = parts.catalogue.workspace(id);
    const steps = new Steps(verb, record.name, call, parts.log);
    const changed = await work(record, steps);
    parts.events.changed({ workspace: id, created: null });
    return { ...(await presentWorkspace(parts, changed)), timing: steps.timing };
  });
}

/** Deletes a workspace and, when asked, its snapshots. */
export function deleteWorkspace(
  parts: Parts,
  params: Params<'containers/delete'>,
  call: Call,
): Promise<Result<'containers/delete'>> {
  const { id } = parts.catalogue.workspace(params.container);
  return parts.turns.take(id, call.signal, async () => {
    const record = parts.catalogue.workspace(id);
    const snapshots = parts.catalogue.snapshotsOf(id);
    const guarded = snapshots.find((snapshot) => snapshot.protected);
    if (snapshots.length > 0 && !params.withSnapshots) {
      throw new ForkpointError('workspace.hasSnapshots', { workspace: record.name, count: snapshots.length });
    }
    if (guarded) throw new ForkpointError('snapshot.protected', { name: guarded.alias ?? guarded.name });
    const steps = new Steps('delete-workspace', record.name, call, parts.log);
    await steps.run('wait', () => waitForLazyRestore(parts, record, call.signal));
    requireUnpinned(parts, snapshots);
    const entry: JournalEntry = {
      operation: 'delete-workspace',
      workspace: id,
      startedAt: parts.now().toISOString(),
    };
    await steps.run('journal', () => parts.journal.write(entry));
    await completeDeleteWorkspace(parts, entry, steps);
    const deletedSnapshots = snapshots.map((snapshot) => snapshot.name);
    return { name: record.name, deletedSnapshots, timing: steps.timing };
  });
}

/** The steps of a delete, each of which may have been done before a crash. */
export async function completeDeleteWorkspace(
  parts: Parts,
  entry: Extract<JournalEntry, { operation: 'delete-workspace' }>,
  steps: Steps,
): Promise<void> {
  const id = entry.workspace;
  steps.passPointOfNoReturn();
  if (parts.catalogue.hasWorkspace(id)) {
    const record = parts.catalogue.workspace(id);
    await steps.run('container', () => parts.engine.remove(record));
  }
  await steps.run('snapshots', () => parts.trash.move(parts.layout.snapshotsOf(id), { nestedMayGo: true }));
  await steps.run('expired', () =>
    parts.trash.move(path.join(parts.layout.expired(), id), { nestedMayGo: true }),
  );
  await steps.run('files', () => parts.trash.move(parts.layout.workspace(id), { nestedMayGo: true }));
  parts.catalogue.forgetWorkspace(id);
  await steps.run('close', () => parts.journal.close(entry));
  parts.events.changed({ workspace: null, created: null });
  parts.trash.emptySoon();
}

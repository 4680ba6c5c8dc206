import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import type { Changes, Params, Preview } from '../../protocol/operations.ts';
import type { FileChanges, Process } from '../../protocol/snapshot.ts';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { HELD } from '../catalogue/trash.ts';
import { readProcesses } from '../checkpoint/capture.ts';
import { readSockets } from '../checkpoint/sockets.ts';
import { Cgroup } from '../engines/cgroup.ts';
import { failureText } from '../host/failureText.ts';
import { compareSubvolumes, mergeChanges } from '../subvolumes/sendStream.ts';
import { filesOf } from './background.ts';
import { dumpSize } from './freeze.ts';
import type { Parts } from './parts.ts';
import { SAFETY_LIMIT_BYTES } from './restore.ts';
import type { Call } from './services.ts';

/** What a restore would throw away. What is quick to know is sent first, as a part of the result. */
export async function previewRestore(
  parts: Parts,
  params: Params<'snapshots/preview'>,
  call: Call,
): Promise<Preview> {
  const workspace = parts.catalogue.workspace(params.container);
  const snapshot = parts.catalogue.snapshot(workspace, params.name);
  if (snapshot.stateful) parts.engine.expectRestore();
  let preview: Preview = {
    snapshot: snapshot.name,
    files: null,
    started: null,
    ended: null,
    outsideConnections: null,
    safety: null,
  };
  const tell = (known: Partial<Preview>): void => {
    preview = { ...preview, ...known };
    call.partial(preview);
  };
  await Promise.all([
    previewProcesses(parts, workspace, snapshot, call).then(tell),
    changesSince(parts, workspace, snapshot, call.signal).then(
      (files) => tell({ files }),
      (error: unknown) => {
        if (call.signal.aborted) throw error;
        // Of files that lie deeper than a path may be long, for one, btrfs can't tell; the rest is still worth knowing.
        parts.log.warn(`preview of ${workspace.name}: ${failureText(error)}`);
      },
    ),
  ]);
  return preview;
}

/** What became of a fork since the snapshot that it began as. */
export async function showChanges(
  parts: Parts,
  params: Params<'containers/changes'>,
  call: Call,
): Promise<Changes> {
  const workspace = parts.catalogue.workspace(params.container);
  const { origin } = workspace;
  if (origin === null) {
    throw new ForkpointError('request.invalid', { problem: `"${workspace.name}" is no fork` });
  }
  const snapshot = parts.catalogue.snapshotsOf(origin.workspace).find(({ name }) => name === origin.snapshot);
  if (snapshot === undefined)
    throw new ForkpointError('snapshot.notFound', { workspace: origin.name, name: origin.snapshot });
  const [{ started, ended }, files] = await Promise.all([
    previewProcesses(parts, workspace, snapshot, call),
    changesSince(parts, workspace, snapshot, call.signal),
  ]);
  return {
    since: snapshot.name,
    files: withoutIdentity(files),
    started: started ?? [],
    ended: ended ?? [],
  };
}

/** What each fork is given of its own at its beginning (`identity.ts`), which nobody did in it. */
const IDENTITY_FILES =
  /^\/(?:etc\/(?:hostname|hosts|machine-id|ssh\/ssh_host_[^/]+)|var\/lib\/dbus\/machine-id)$/;

/** Changes but those of the identity, as far as they are named. */
function withoutIdentity(changes: FileChanges): FileChanges {
  const result = { ...changes, first: changes.first.filter(({ path: file }) => !IDENTITY_FILES.test(file)) };
  for (const { path: file, change } of changes.first) if (IDENTITY_FILES.test(file)) result[change] -= 1;
  return result;
}

async function previewProcesses(
  parts: Parts,
  workspace: WorkspaceRecord,
  snapshot: SnapshotRecord,
  call: Call,
): Promise<Pick<Preview, 'started' | 'ended' | 'outsideConnections' | 'safety'>> {
  const facts = await parts.engine.factsQuickly(workspace);
  call.signal.throwIfAborted();
  const before = snapshot.capture.kept;
  // It may have ended just now: nobody has to wait for a look.
  const cgroup = facts.state === 'running' ? Cgroup.find(facts.pid, facts.id) : null;
  if (cgroup === null) {
    return {
      started: [],
      ended: before,
      outsideConnections: [],
      safety: { choice: 'stateless', reason: null, memoryBytes: 0 },
    };
  }
  const { kept, leftOut } = readProcesses(cgroup, facts.pid);
  const now = [...kept, ...leftOut.map(({ pid, name, memoryBytes }) => ({ pid, name, memoryBytes }))];
  const [memory, sockets] = await Promise.all([cgroup.memory(), readSockets(facts.pid)]);
  const memoryBytes = dumpSize(memory);
  const isLarge = memoryBytes >= SAFETY_LIMIT_BYTES;
  return {
    started: now.filter((process) => !before.some((one) => isSame(one, process))),
    ended: before.filter((process) => !now.some((one) => isSame(one, process))),
    outsideConnections: sockets.connections,
    safety: {
      choice: isLarge ? 'ask' : 'stateful',
      reason: isLarge ? 'the processes hold more than 2 GiB of memory' : null,
      memoryBytes,
    },
  };
}

/** The live files against the snapshot, read from a temporary read-only snapshot: what runs can't change it under us. */
async function changesSince(
  parts: Parts,
  workspace: WorkspaceRecord,
  snapshot: SnapshotRecord,
  signal: AbortSignal,
): Promise<FileChanges> {
  const directory = await parts.trash.bin(`${HELD}preview-${randomBytes(6).toString('hex')}`, {
    nestedMayGo: true,
  });
  try {
    const changes: FileChanges[] = [];
    for (const [index, { directory: before, base }] of filesOf(parts, workspace, snapshot).entries()) {
      // Nested subvolumes are compared where they still are.
      const part = snapshot.parts[index];
      if (part === undefined) break;
      signal.throwIfAborted();
      const now = path.join(directory, part);
      await mkdir(path.dirname(now), { recursive: true, mode: 0o700 });
      await parts.subvolumes.snapshot(parts.layout.livePart(workspace.id, part), now, { isReadOnly: true });
      changes.push(await compareSubvolumes(before, now, base, signal));
    }
    return mergeChanges(changes);
  } finally {
    await parts.trash.release(directory);
    parts.trash.emptySoon();
  }
}

function isSame(a: Process, b: Process): boolean {
  return a.pid === b.pid && a.name === b.name;
}

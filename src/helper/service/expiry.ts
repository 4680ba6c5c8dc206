import { mkdir, readFile, readdir, rename } from 'node:fs/promises';
import * as path from 'node:path';
import * as z from 'zod';
import { ForkpointError } from '../../protocol/errors.ts';
import { SnapshotNameSchema, WorkspaceIdSchema } from '../../protocol/names.ts';
import type { Params, Result } from '../../protocol/operations.ts';
import { syncDirectory, writeJsonDurably } from '../catalogue/durableFile.ts';
import { parseJson } from '../catalogue/journal.ts';
import { ExpiredNoteSchema, SnapshotRecordSchema } from '../catalogue/records.ts';
import type { SnapshotRecord, WorkspaceRecord } from '../catalogue/records.ts';
import { readPool } from '../host/pool.ts';
import { bootId, bootTimeMs } from '../host/processes.ts';
import { exists, nullIfMissing } from '../subvolumes/btrfs.ts';
import type { Parts } from './parts.ts';
import type { Call } from './services.ts';
import { DAY_MS, presentSnapshot } from './snapshotRecord.ts';
import { leaveLineage, readerOf } from './snapshots.ts';
import { Steps, UNATTENDED } from './steps.ts';

/** Kept of each workspace's safety snapshots, whatever their age. */
const SAFETY_KEPT = 3;
/** Safety snapshots younger than that are kept, in milliseconds. */
const SAFETY_AGE_MS = DAY_MS;
/** An expired snapshot can be taken back for that long, in milliseconds of uptime (H17). */
const TRASH_UPTIME_MS = DAY_MS;
/** The wall clock may differ from the time since boot by that much before nobody believes it, in milliseconds (H17). */
const CLOCK_TOLERANCE_MS = 600_000;
/** How long a clock that jumped is distrusted, and how long one is that nobody vouches for after a boot, in milliseconds of uptime. */
const DISTRUST_MS = DAY_MS;
const AFTER_BOOT_MS = 600_000;

/** `clock.json`: what the clocks said when last seen. */
const ClockSchema = z.object({
  wallMs: z.number(),
  bootMs: z.number(),
  bootId: z.string(),
  /** How long hosts have been up since the pool was made. */
  uptimeMs: z.number(),
  /** Uptime until which the wall clock is not believed. */
  distrustedUntilMs: z.number(),
});
type Clock = z.infer<typeof ClockSchema>;

/**
 * Compares the wall clock with the time since boot, and counts uptime. A jump by more than ten minutes, or a boot after which
 * nobody vouches for the time, makes the wall clock distrusted for a while.
 */
export function advanceClock(
  last: Clock | null,
  now: { wallMs: number; bootMs: number; bootId: string; isSynchronised: boolean | null },
): Clock {
  const seen = { wallMs: now.wallMs, bootMs: now.bootMs, bootId: now.bootId };
  if (last === null) return { ...seen, uptimeMs: 0, distrustedUntilMs: 0 };
  if (last.bootId !== now.bootId) {
    const uptimeMs = last.uptimeMs + now.bootMs;
    const wentBack = now.wallMs < last.wallMs - CLOCK_TOLERANCE_MS;
    const distrust =
      wentBack || now.isSynchronised === false
        ? DISTRUST_MS
        : now.isSynchronised === null
          ? AFTER_BOOT_MS
          : 0;
    return {
      ...seen,
      uptimeMs,
      distrustedUntilMs: Math.max(last.distrustedUntilMs, distrust === 0 ? 0 : uptimeMs + distrust),
    };
  }
  const elapsed = now.bootMs - last.bootMs;
  const jump = Math.abs(now.wallMs - last.wallMs - elapsed);
  const uptimeMs = last.uptimeMs + elapsed;
  return {
    ...seen,
    uptimeMs,
    distrustedUntilMs: jump > CLOCK_TOLERANCE_MS ? uptimeMs + DISTRUST_MS : last.distrustedUntilMs,
  };
}

/** Moves what has expired to where it can be taken back, deletes what was there for a day, and keeps the pool from filling up. */
export class Expiry {
  constructor(private readonly parts: Parts) {}

  /** One round; called every minute. */
  async round(): Promise<void> {
    const clock = await this.tick();
    const isTrusted = clock.uptimeMs >= clock.distrustedUntilMs;
    await this.makeRoom(clock);
    if (isTrusted) await this.expireDue(clock);
    else if (this.isAnyDue()) {
      this.parts.log.warn(
        'the wall clock has jumped or is not vouched for; nothing expires until it has been steady for a while',
      );
    }
    await this.purge(clock);
    this.parts.trash.emptySoon();
  }

  /** Whether a snapshot waits for its expiry, or an expired one for its end. */
  async hasWork(): Promise<boolean> {
    const { catalogue, layout } = this.parts;
    if (
      catalogue
        .allWorkspaces()
        .some(({ id }) =>
          catalogue.snapshotsOf(id).some((one) => one.expiresAt !== null || one.kind === 'safety'),
        )
    )
      return true;
    for (const id of await readdir(layout.expired())) {
      if ((await readdir(path.join(layout.expired(), id))).length > 0) return true;
    }
    return false;
  }

  /** The expired snapshots that can be taken back. */
  async list(): Promise<Result<'host/trash'>> {
    const found: Result<'host/trash'> = [];
    for (const { record, expiredAt } of await this.expired()) {
      const workspace = this.parts.catalogue.allWorkspaces().find((one) => one.id === record.workspace);
      found.push({
        workspace: workspace?.name ?? record.workspace,
        name: record.name,
        alias: record.alias,
        expiredAt,
      });
    }
    return found;
  }

  /** Takes an expired snapshot back into its timeline; it does not expire again by itself. */
  async recover(params: Params<'snapshots/recover'>, call: Call): Promise<Result<'snapshots/recover'>> {
    const { catalogue, layout, turns, events, log } = this.parts;
    const { id } = catalogue.workspace(params.container);
    return turns.take(id, call.signal, async () => {
      const workspace = catalogue.workspace(id);
      const all = await this.expired();
      const entry = all.find(
        ({ record }) =>
          record.workspace === id && (record.name === params.name || record.alias === params.name),
      );
      if (!entry)
        throw new ForkpointError('snapshot.notFound', { workspace: workspace.name, name: params.name });
      const { record } = entry;
      const live = catalogue.snapshotsOf(id);
      const isAliasFree = !live.some((one) => one.alias !== null && one.alias === record.alias);
      const isParentThere = live.some((one) => one.name === record.parent);
      const recovered = {
        ...record,
        expiresAt: null,
        alias: isAliasFree ? record.alias : null,
        parent: isParentThere ? record.parent : null,
      };
      const from = layout.expiredSnapshot(id, record.name);
      const steps = new Steps('recover-expired', workspace.name, call, log);
      // First, so that it fits into the timeline from the moment on when it is there, whenever this is cut off.
      await steps.run('record', () => writeJsonDurably(path.join(from, 'snapshot.json'), recovered));
      steps.passPointOfNoReturn();
      await steps.run('move', async () => {
        await mkdir(layout.snapshotsOf(id), { recursive: true, mode: 0o700 });
        await rename(from, layout.snapshot(id, record.name));
        await syncDirectory(layout.snapshotsOf(id));
      });
      const saved = await catalogue.saveSnapshot(recovered);
      events.changed({ workspace: id, created: record.name });
      return { ...presentSnapshot(workspace, saved), timing: steps.timing };
    });
  }

  private isAnyDue(): boolean {
    const { catalogue } = this.parts;
    const now = this.parts.now().getTime();
    return catalogue
      .allWorkspaces()
      .some((workspace) => catalogue.snapshotsOf(workspace.id).some((one) => isDue(one, now)));
  }

  private async expireDue(clock: Clock): Promise<void> {
    const { catalogue } = this.parts;
    const now = this.parts.now().getTime();
    for (const workspace of catalogue.allWorkspaces()) {
      const snapshots = catalogue.snapshotsOf(workspace.id);
      const due = snapshots.filter((one) => isDue(one, now));
      const newest = snapshots.filter((one) => one.kind === 'safety').slice(0, SAFETY_KEPT);
      const old = dispensable(workspace, snapshots).filter(
        (one) => !newest.includes(one) && now - Date.parse(one.createdAt) > SAFETY_AGE_MS,
      );
      for (const { name } of new Set([...due, ...old])) await this.expire(workspace, name, clock);
    }
  }

  /** A pool that fills up takes safety snapshots first, whatever the clock says: all but those that Undo needs. */
  private async makeRoom(clock: Clock): Promise<void> {
    const { catalogue, layout, log } = this.parts;
    const { isLow, freeBytes, totalBytes } = await readPool(layout.root);
    if (!isLow) return;
    log.warn(`the pool is low: ${freeBytes} of ${totalBytes} bytes are free`);
    for (const workspace of catalogue.allWorkspaces()) {
      for (const { name } of dispensable(workspace, catalogue.snapshotsOf(workspace.id)))
        await this.expire(workspace, name, clock);
    }
  }

  private async expire(
    workspace: WorkspaceRecord,
    name: SnapshotRecord['name'],
    clock: Clock,
  ): Promise<void> {
    const { catalogue, layout, turns, events, log } = this.parts;
    await turns.take(workspace.id, new AbortController().signal, async () => {
      const record = catalogue.snapshotsOf(workspace.id).find((one) => one.name === name);
      if (!record || record.protected || readerOf(this.parts, record)) return;
      const steps = new Steps('expire', workspace.name, UNATTENDED, log);
      await steps.run('lineage', () => leaveLineage(this.parts, workspace.id, name));
      const source = layout.snapshot(workspace.id, name);
      const target = layout.expiredSnapshot(workspace.id, name);
      const note = { expiredAt: this.parts.now().toISOString(), uptimeMs: clock.uptimeMs } satisfies z.infer<
        typeof ExpiredNoteSchema
      >;
      await steps.run('note', () => writeJsonDurably(path.join(source, 'expired.json'), note));
      await steps.run('move', async () => {
        await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
        await rename(source, target);
        await syncDirectory(path.dirname(target));
      });
      catalogue.forgetSnapshot(workspace.id, name);
      log.info(
        `snapshot ${record.alias ?? name} of ${workspace.name} has expired; it can be taken back for a day`,
      );
    });
    events.changed({ workspace: workspace.id, created: null });
  }

  /** Deletes what expired a day of uptime ago, or at once when the pool is low. */
  private async purge(clock: Clock): Promise<void> {
    const { layout, trash, log } = this.parts;
    const { isLow } = await readPool(layout.root);
    for (const { record, uptimeMs } of await this.expired()) {
      if (clock.uptimeMs - uptimeMs < TRASH_UPTIME_MS && !(isLow && record.kind === 'safety')) continue;
      log.info(`deleting snapshot ${record.alias ?? record.name}, which expired a day ago`);
      await trash.move(layout.expiredSnapshot(record.workspace, record.name), { nestedMayGo: true });
    }
  }

  private async expired(): Promise<{ record: SnapshotRecord; expiredAt: string; uptimeMs: number }[]> {
    const { layout } = this.parts;
    const found: { record: SnapshotRecord; expiredAt: string; uptimeMs: number }[] = [];
    for (const entry of await readdir(layout.expired())) {
      const id = WorkspaceIdSchema.safeParse(entry);
      if (!id.success) continue;
      for (const one of await readdir(path.join(layout.expired(), entry))) {
        const name = SnapshotNameSchema.safeParse(one);
        if (!name.success) continue;
        const directory = layout.expiredSnapshot(id.data, name.data);
        const record = SnapshotRecordSchema.safeParse(await readJson(path.join(directory, 'snapshot.json')));
        const note = ExpiredNoteSchema.safeParse(await readJson(path.join(directory, 'expired.json')));
        if (record.success && note.success) found.push({ record: record.data, ...note.data });
      }
    }
    return found;
  }

  private async tick(): Promise<Clock> {
    const file = this.parts.layout.clock();
    const last = ClockSchema.safeParse(await readJson(file));
    const clock = advanceClock(last.success ? last.data : null, {
      wallMs: this.parts.now().getTime(),
      bootMs: bootTimeMs(),
      bootId: bootId(),
      isSynchronised: await isSynchronised(),
    });
    await writeJsonDurably(file, clock);
    return clock;
  }
}

/** The safety snapshots that may go when they are old or in the way. */
function dispensable(workspace: WorkspaceRecord, snapshots: readonly SnapshotRecord[]): SnapshotRecord[] {
  return snapshots.filter(
    (one) => one.kind === 'safety' && !one.protected && one.name !== workspace.undo?.safety,
  );
}

function isDue(snapshot: SnapshotRecord, now: number): boolean {
  return !snapshot.protected && snapshot.expiresAt !== null && Date.parse(snapshot.expiresAt) <= now;
}

/** Whether systemd-timesyncd has set the clock; null where it does not run and nobody can say. */
async function isSynchronised(): Promise<boolean | null> {
  if (await exists('/run/systemd/timesync/synchronized')) return true;
  return (await exists('/run/systemd/timesync')) ? false : null;
}

async function readJson(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch(nullIfMissing);
  return text === null ? undefined : parseJson(text);
}

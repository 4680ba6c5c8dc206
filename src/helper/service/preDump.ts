import { mkdir, rm } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';
import type { Layout } from '../catalogue/layout.ts';
import type { WorkspaceRecord } from '../catalogue/records.ts';
import { preDump } from '../checkpoint/dump.ts';
import { listImages } from '../checkpoint/images.ts';
import { joinImages } from '../checkpoint/joinImages.ts';
import type { Parts } from './parts.ts';
import { hasSpace } from './space.ts';

/** Less than that is copied in the time that it would take to look through it twice, in bytes. */
const COPIED_AHEAD_FROM_BYTES = 128 * 2 ** 20;

/** When so little was left, another round would gain nothing, in bytes. */
const LITTLE_BYTES = 16 * 2 ** 20;

/** A process that changes its memory as fast as it is copied would keep this going for ever. */
const MOST_ROUNDS = 4;

/** Whether a freeze gets shorter by what {@link copyMemoryAhead} does, when a dump would hold so many bytes. */
export async function canCopyMemoryAhead(parts: Parts, bytes: number): Promise<boolean> {
  if (bytes < COPIED_AHEAD_FROM_BYTES || !(await parts.tracksMemory())) return false;
  // Until they are joined, a page may be in the pre-dumps and in the dump.
  return hasSpace(parts.layout.root, 2 * bytes);
}

/**
 * Copies the memory of a running workspace into pre-dumps beside those of the snapshot, and then what was changed meanwhile,
 * until little is left for the dump to copy while it stands still.
 * @param options `flush`: writes what the first round has copied to the disk, so that nothing in the freeze waits for that
 * @returns the images for the dump to build upon; null where it has to copy all by itself, for one reason or another
 */
export async function copyMemoryAhead(
  parts: Pick<Parts, 'layout' | 'run' | 'log' | 'criuLog'>,
  record: Pick<WorkspaceRecord, 'id' | 'name' | 'engine'>,
  options: {
    name: SnapshotName;
    containerId: string;
    deadlineMs: number;
    flush: () => Promise<void>;
  },
): Promise<string | null> {
  const { layout, log } = parts;
  const until = performance.now() + options.deadlineMs / 2;
  let last: string | null = null;
  let left = Infinity;
  try {
    for (let number = 1; number <= MOST_ROUNDS; number++) {
      const images = path.join(layout.preDumps(record.id, options.name), String(number));
      await mkdir(images, { recursive: true, mode: 0o700 });
      await preDump(parts.run, {
        runtime: record.engine.runtime,
        containerId: options.containerId,
        images,
        work: layout.work(record.id),
        optionFile: layout.optionFile(record.id),
        log: parts.criuLog(record.id),
        parent: last,
        deadlineMs: options.deadlineMs,
      });
      last = images;
      if (number === 1) await options.flush();
      const copied = await pageBytesIn(images);
      log.debug(`round ${String(number)} has copied ${String(copied)} bytes of ${record.name}`);
      if (copied < LITTLE_BYTES || copied > left / 2 || performance.now() > until) break;
      left = copied;
    }
    return last;
  } catch (error) {
    // What the kernel has noted since may be for the round that failed: nothing can be built upon those before it.
    const { message, detail } = ForkpointError.from(error);
    log.warn(`the memory of ${record.name} can't be copied ahead: ${message}\n${detail ?? ''}`);
    await forgetPreDumps(layout, record.id, options.name);
    return null;
  }
}

/** Puts what the pre-dumps hold into the images of the snapshot, which stand alone from then on. */
export async function joinPreDumps(
  parts: Parts,
  record: WorkspaceRecord,
  name: SnapshotName,
  isStateful: boolean,
): Promise<void> {
  const { layout, assets } = parts;
  if (isStateful) await joinImages(parts.run, assets.clonePages, layout.memory(record.id, name));
  await forgetPreDumps(layout, record.id, name);
}

async function forgetPreDumps(layout: Layout, id: WorkspaceId, name: SnapshotName): Promise<void> {
  await rm(layout.preDumps(id, name), { recursive: true, force: true });
}

/** Size of all pages, in bytes. */
async function pageBytesIn(images: string): Promise<number> {
  const pages = (await listImages(images)).filter(({ name }) => name.startsWith('pages-'));
  return pages.reduce((sum, { bytes }) => sum + bytes, 0);
}

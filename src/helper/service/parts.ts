import type { WorkspaceId } from '../../protocol/names.ts';
import type { Changed, Restored } from '../../protocol/session.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { Journal } from '../catalogue/journal.ts';
import type { Layout } from '../catalogue/layout.ts';
import type { Turns } from '../catalogue/turns.ts';
import type { Trash } from '../catalogue/trash.ts';
import type { Assets } from '../checkpoint/assets.ts';
import type { LazyPages } from '../checkpoint/lazyPages.ts';
import type { PageSharing } from '../checkpoint/pageSharing.ts';
import type { Staging } from '../checkpoint/staging.ts';
import type { Engine } from '../engines/engine.ts';
import type { GracePeriods } from '../host/gracePeriods.ts';
import type { Log } from '../host/log.ts';
import type { Run } from '../host/run.ts';
import type { HostKeys } from './hostKeys.ts';
import type { Subvolumes } from '../subvolumes/btrfs.ts';
import type { ImageOrigin } from '../catalogue/records.ts';

/** Tells all clients what happened. */
export interface Events {
  changed(event: Changed): void;
  restored(event: Restored): void;
}

/** All that the services work with; built once, in createServices.ts. */
export interface Parts {
  readonly log: Log;
  readonly run: Run;
  readonly events: Events;
  readonly layout: Layout;
  readonly catalogue: Catalogue;
  readonly journal: Journal;
  readonly turns: Turns;
  readonly trash: Trash;
  readonly subvolumes: Subvolumes;
  readonly engine: Engine;
  readonly gracePeriods: GracePeriods;
  readonly assets: Assets;
  readonly hostKeys: HostKeys;
  readonly lazyPages: LazyPages;
  readonly pageSharing: PageSharing;
  readonly staging: Staging;
  /** The terminals that are attached through a stream, by their mark, and whether each was hung up for a snapshot or restore. */
  readonly attached: Map<string, { isHungUp: boolean }>;
  /** Whether the kernel can tell what memory was changed, and a pre-dump so be of use; found out once. */
  tracksMemory(): Promise<boolean>;
  /** What the images made on this host depend on; read once for each runtime. */
  imageOrigin(runtime: 'runc' | 'crun'): Promise<ImageOrigin>;
  /** Where CRIU writes its log while it works on a workspace. */
  criuLog(id: WorkspaceId): string;
  /** Starts work that goes on beside all requests. */
  meanwhile(title: string, work: () => Promise<void>): void;
  /** Queues work for when nobody waits, one after another: counts and sizes. */
  later(title: string, work: () => Promise<void>): void;
  /**
   * Queues long work of little haste, which waits by itself until nothing else is under way; one after another, beside what
   * {@link later} queues. `signal` aborts when the daemon ends; it is to be queued again after the next start.
   */
  eventually(title: string, work: (signal: AbortSignal) => Promise<void>): void;
  now(): Date;
}

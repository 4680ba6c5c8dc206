import { chmod, chown, lstat } from 'node:fs/promises';
import * as path from 'node:path';
import { isReachable } from '../engines/podmanDatabase.ts';
import type { Paths } from '../host/paths.ts';
import { RIGHTS_OF_OTHERS } from '../host/rights.ts';
import type { Found } from './finding.ts';
import { namesIn, workspaceIn, type PoolView } from './poolFiles.ts';

/** How deep below the pool our own files lie: `snapshots/ID/NAME/memory/FILE`. */
const DEPTH = 5;

/** Directories of the pool that are ours. The rest belongs to whoever put it there. */
const OURS = ['workspaces', 'snapshots', 'journal', 'trash', 'expired', 'assets', 'api', 'lost+found'];

/** A place that others than its owner can reach. */
interface OpenPlace {
  readonly place: string;
  readonly problem: string;
  readonly mode: number;
}

/** Files and directories of the pool that others than root may read. What workspaces hold, in subvolumes, is their own. */
export async function examineModes(view: PoolView): Promise<Found[]> {
  const open: OpenPlace[] = [];
  const visit = async (place: string, depth: number): Promise<void> => {
    const stats = await lstat(place).catch(() => null);
    if (stats === null || stats.isSymbolicLink()) return;
    if (stats.isDirectory() && (await view.isSubvolume(place)) && place !== view.layout.root) return;
    note(view, open, place, stats);
    // Of a dump under way the runtime's scratch is as its umask made it, in a directory that nobody may enter.
    if (!stats.isDirectory() || depth === 0 || path.basename(place) === 'work') return;
    for (const name of await namesIn(place)) await visit(path.join(place, name), depth - 1);
  };
  for (const name of OURS) await visit(path.join(view.layout.root, name), DEPTH - 1);
  await visit(view.layout.clock(), 0);
  await visit(view.layout.ballast(), 0);
  await visit(view.layout.root, 0);
  return asFound(view, open);
}

/**
 * The same of the helper's files outside the pool, and of the engine's database.
 * @param database null where it is not known
 */
export async function examineHostModes(
  view: PoolView,
  paths: Paths,
  database: string | null,
): Promise<Found[]> {
  const open: OpenPlace[] = [];
  const logs = (await namesIn(paths.logDirectory)).map((name) => path.join(paths.logDirectory, name));
  const places = [
    paths.runDirectory,
    paths.socket,
    paths.lock,
    paths.answers,
    paths.hostFile,
    paths.logDirectory,
    ...logs,
    ...(database !== null && (await isReachable(database)) ? [database] : []),
  ];
  for (const place of places) {
    const stats = await lstat(place).catch(() => null);
    if (stats !== null && !stats.isSymbolicLink()) note(view, open, place, stats);
  }
  return asFound(view, open);
}

function note(
  view: PoolView,
  open: OpenPlace[],
  place: string,
  stats: { readonly mode: number; readonly uid: number },
): void {
  const mode = stats.mode & 0o7777;
  const isOpen = (mode & RIGHTS_OF_OTHERS) !== 0;
  if (stats.uid === view.owner && !isOpen) return;
  const seen = [
    ...(stats.uid === view.owner ? [] : [`it belongs to user ${String(stats.uid)}`]),
    ...(isOpen ? [`its mode is ${mode.toString(8).padStart(4, '0')}`] : []),
  ];
  open.push({ place, mode, problem: seen.join(' and ') });
}

/** What is the same about several in one directory, memory images mostly, is told once. */
function asFound(view: PoolView, open: readonly OpenPlace[]): Found[] {
  const groups = new Map<string, OpenPlace[]>();
  for (const one of open) {
    const key = `${path.dirname(one.place)}\n${one.problem}`;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const others = group.length - 1;
    return {
      kind: 'mode.open' as const,
      subject: first.place,
      problem:
        others === 0 ? first.problem : `${first.problem}, and so is that of ${String(others)} beside it`,
      workspace: workspaceIn(`${first.place}/`),
      mend: async () => {
        for (const { place, mode } of group) {
          await chown(place, view.owner, -1);
          await chmod(place, mode & ~RIGHTS_OF_OTHERS);
        }
      },
    };
  });
}

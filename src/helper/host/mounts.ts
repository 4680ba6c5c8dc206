import { readFileSync } from 'node:fs';

/** A mount as /proc/self/mountinfo shows it (proc_pid_mountinfo(5)). */
export interface Mount {
  /** Unique while it is mounted. */
  readonly id: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** The mount that is visible at `directory` itself; null when nothing is mounted there. */
export function mountAt(
  directory: string,
  mountinfo = readFileSync('/proc/self/mountinfo', 'utf8'),
): Mount | null {
  let found: Mount | null = null;
  for (const line of mountinfo.split('\n')) {
    const [id, , device, , mountPoint, options] = line.split(' ');
    if (mountPoint === undefined || unescapeMount(mountPoint) !== directory) continue;
    const [type = '', source = ''] = line.slice(line.indexOf(' - ') + 3).split(' ');
    // Of several on one directory the last one is on top.
    found = {
      id: `${String(id)} ${String(device)}`,
      type,
      source: unescapeMount(source),
      options: (options ?? '').split(','),
    };
  }
  return found;
}

/** Where something is mounted below `directory`, that itself not included. */
export function mountPointsBelow(directory: string, mountinfo: string): string[] {
  const points = mountinfo.split('\n').map((line) => unescapeMount(line.split(' ')[4] ?? ''));
  return [...new Set(points.filter((point) => point.startsWith(`${directory}/`)))].sort();
}

/** The mount that holds `file`, and which directory of its file system is mounted there. */
export function mountHolding(
  file: string,
  mountinfo = readFileSync('/proc/self/mountinfo', 'utf8'),
): { mountPoint: string; root: string } {
  let found = { mountPoint: '/', root: '/' };
  for (const line of mountinfo.split('\n')) {
    const [, , , root, escaped] = line.split(' ');
    if (root === undefined || escaped === undefined) continue;
    const mountPoint = unescapeMount(escaped);
    const holds = mountPoint === '/' || file === mountPoint || file.startsWith(`${mountPoint}/`);
    if (holds && mountPoint.length >= found.mountPoint.length)
      found = { mountPoint, root: unescapeMount(root) };
  }
  return found;
}

/** Blanks, tabs, newlines and backslashes are three octal digits in mountinfo. */
export function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
}

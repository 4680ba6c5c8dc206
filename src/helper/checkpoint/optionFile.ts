import { mkdir } from 'node:fs/promises';
import * as path from 'node:path';
import { replaceFile } from '../host/replaceFile.ts';

/** Unlinked open files up to this size are kept in the images, in bytes; CRIU's own limit is 1 MiB (H11). */
const GHOST_LIMIT = 1024 * 1024 * 1024;

/** What CRIU is told for a dump and for a restore alike (criu(8)). */
const COMMON = [
  'tcp-established',
  'file-locks',
  'ext-unix-sk',
  'link-remap',
  'skip-in-flight',
  `ghost-limit ${String(GHOST_LIMIT)}`,
];

/**
 * How long CRIU may take to seize the processes of a dump, in seconds. They are frozen already, so it takes
 * milliseconds, unless somebody has thawed them; its own limit is 10 s.
 */
const SEIZE_SECONDS = 5;

/** The same for a pre-dump, whose processes run: one that waits for a child of vfork(2) would keep all the others waiting. */
const PRE_DUMP_SEIZE_SECONDS = 1;

/**
 * What the next call of CRIU does. `action`: the script it runs at its steps. `log`: where it writes its log, see criuLog.ts;
 * not given while no call is due.
 */
export type OptionTemplate =
  | { kind: 'pre-dump'; log: string }
  | { kind: 'dump'; action: string; log?: string }
  | { kind: 'restore'; action: string; isLazy: boolean; log: string };

/**
 * Writes the option file that the container's annotation names, as a whole, from one of the templates. It is written
 * right before every call of CRIU: a `lazy-pages` left from a restore would make a dump hang, frozen (H3).
 * The network lock is nftables': faster than iptables', and unlike none at all it holds back loopback too (H23).
 */
export async function writeOptionFile(file: string, template: OptionTemplate): Promise<void> {
  const lines = [...COMMON, 'network-lock nftables'];
  if (template.kind === 'pre-dump') lines.push(`timeout ${String(PRE_DUMP_SEIZE_SECONDS)}`);
  else lines.push(`action-script "${template.action}"`);
  if (template.kind === 'dump') lines.push(`timeout ${String(SEIZE_SECONDS)}`);
  if (template.kind === 'restore' && template.isLazy) lines.push('lazy-pages');
  if (template.log !== undefined) {
    await mkdir(path.dirname(template.log), { recursive: true, mode: 0o700 });
    lines.push(`log-file "${template.log}"`);
  }
  await replaceFile(file, `${lines.join('\n')}\n`, 0o600);
}

import { visible } from '../../../protocol/names.ts';
import type { Finding, Report } from '../../fsck/fsck.ts';
import { table } from './table.ts';

/** A report of fsck for people. */
export function renderReport(report: Report): string {
  const { repaired, problems, busy, lostAndFound } = report;
  const blocks: string[] = [];
  if (repaired.length > 0) blocks.push(`Repaired:\n${findings(repaired)}`);
  if (problems.length > 0) {
    blocks.push(`${repaired.length > 0 ? 'Still there:\n' : ''}${findings(problems)}`, meanings(problems));
  }
  const lines: string[] = [];
  if (problems.length === 0) lines.push(`No problems: ${lookedAt(report)}.`);
  else {
    const mendable = problems.filter(({ repair, failure }) => repair !== null && failure === null).length;
    const which = mendable === problems.length ? '' : `${String(mendable)} of `;
    const hint = mendable > 0 ? `; "forkpoint fsck --repair" mends ${which}them` : '';
    lines.push(`${count(problems.length, 'problem')}: ${lookedAt(report)}${hint}.`);
  }
  if (busy.length > 0) lines.push(`Not judged, because an operation is under way: ${busy.join(', ')}.`);
  if (lostAndFound !== null)
    lines.push(`${lostAndFound} holds what was put aside; nothing deletes it but you.`);
  return `${[...blocks, lines.join('\n')].join('\n\n')}\n`;
}

function findings(some: readonly Finding[]): string {
  return table(
    ['WHAT', 'PROBLEM', 'KIND'],
    some.map(({ subject, problem, kind, failure }) => [
      visible(subject),
      visible(failure === null ? problem : `${problem}; the repair failed: ${failure}`),
      kind,
    ]),
  );
}

/** Each kind once: what it means, and what becomes of it. */
function meanings(some: readonly Finding[]): string {
  const kinds = new Map(some.map((one) => [one.kind, one]));
  return [...kinds.values()]
    .map(({ kind, means, repair, advice }) => {
      const next = repair === null ? `By hand: ${advice}` : `--repair: ${repair}.`;
      return `${kind}\n  ${means}\n  ${next}`;
    })
    .join('\n');
}

function lookedAt({ workspaces, snapshots }: Report): string {
  return `${count(workspaces, 'workspace')} and ${count(snapshots, 'snapshot')} looked at`;
}

function count(number: number, noun: string): string {
  return `${String(number)} ${noun}${number === 1 ? '' : 's'}`;
}

import type { FileChanges, Snapshot, SnapshotSummary } from '../../protocol/snapshot.ts';
import { visible } from '../../protocol/visible.ts';
import { ageText, counted, elapsedText, sizeText, untilText } from './measures.ts';
import type { Translator } from './translator.ts';

/** An expiry nearer than this is worth a place in the row. */
const EXPIRES_SOON_MS = 24 * 60 * 60 * 1000;
/** Longer lists in a tooltip end with how many more there are. */
const LISTED = 8;

/** What a snapshot is called where there is room for one name. */
export function snapshotLabel(snapshot: Pick<SnapshotSummary, 'name' | 'alias'>): string {
  return snapshot.alias ?? snapshot.name;
}

/** The words beside a snapshot's name: "current · 3 minutes ago · 47 files". */
export function snapshotDescription(
  l10n: Translator,
  snapshot: SnapshotSummary,
  isCurrent: boolean,
  now: number,
): string {
  const parts: string[] = [];
  // First, where a narrow view doesn't cut it off.
  if (isCurrent) parts.push(l10n.t('current'));
  parts.push(ageText(l10n, snapshot.createdAt, now));
  const { expiresAt } = snapshot;
  if (!snapshot.protected && expiresAt !== null && Date.parse(expiresAt) - now < EXPIRES_SOON_MS)
    parts.push(l10n.t('expires {0}', untilText(l10n, expiresAt, now)));
  // That nothing changed is not worth the room: the tooltip says it.
  const changed = snapshot.changedFiles === null ? 0 : totalOf(snapshot.changedFiles);
  if (changed > 0) parts.push(filesText(l10n, changed));
  if (!snapshot.stateful) parts.push(l10n.t('files only'));
  if (snapshot.protected) parts.push(l10n.t('protected'));
  return parts.join(' · ');
}

/** What a screen reader says of a row: what the icon and colour tell others comes in words. */
export function snapshotSpokenText(
  l10n: Translator,
  snapshot: SnapshotSummary,
  isCurrent: boolean,
  now: number,
): string {
  return [
    snapshotLabel(snapshot),
    kindText(l10n, snapshot),
    snapshot.stateful ? l10n.t('with processes') : '',
    snapshotDescription(l10n, snapshot, isCurrent, now).replaceAll(' · ', ', '),
  ]
    .filter((part) => part !== '')
    .join(', ');
}

/** What kind of snapshot it is, in a few words. */
export function kindText(l10n: Translator, snapshot: Pick<SnapshotSummary, 'kind'>): string {
  switch (snapshot.kind) {
    case 'manual':
      return l10n.t('snapshot');
    case 'before-ai':
      return l10n.t('snapshot before an AI edit');
    case 'safety':
      return l10n.t('safety snapshot, taken by a restore');
    case 'scheduled':
      return l10n.t('scheduled snapshot');
  }
}

/** "47 files". */
export function filesText(l10n: Translator, count: number): string {
  return counted(count, l10n.t('1 file'), (n) => l10n.t('{0} files', n));
}

/** How many files differ. */
export function totalOf(changes: Pick<FileChanges, 'added' | 'changed' | 'deleted'>): number {
  return changes.added + changes.changed + changes.deleted;
}

/**
 * All facts of a snapshot and its capture report, as Markdown. Whatever people or containers named is escaped text:
 * it makes no link, image, heading or line of its own.
 * @param snapshot with the capture report, or without it while that isn't known
 * @param locale how moments are written, as in `toLocaleString`
 */
export function snapshotTooltip(
  l10n: Translator,
  snapshot: SnapshotSummary | Snapshot,
  isCurrent: boolean,
  now: number,
  locale: string,
): string {
  const moment = (at: string) =>
    escapeMarkdown(new Date(at).toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'medium' }));
  const heading = `**${escapeMarkdown(snapshotLabel(snapshot))}**`;
  const facts: [string, string][] = [];
  const fact = (name: string, value: string) => facts.push([name, value]);

  if (snapshot.alias !== null) fact(l10n.t('Name'), escapeMarkdown(snapshot.name));
  fact(
    l10n.t('Kind'),
    escapeMarkdown(isCurrent ? l10n.t('{0}, current', kindText(l10n, snapshot)) : kindText(l10n, snapshot)),
  );
  fact(
    l10n.t('Taken'),
    `${moment(snapshot.createdAt)} (${escapeMarkdown(ageText(l10n, snapshot.createdAt, now))})`,
  );
  fact(
    l10n.t('Holds'),
    escapeMarkdown(
      snapshot.stateful
        ? l10n.t('files, processes and their memory ({0})', sizeText(snapshot.memoryBytes))
        : snapshot.statelessReason === null
          ? l10n.t('files; the workspace was stopped')
          : l10n.t('files only: {0}', visible(snapshot.statelessReason)),
    ),
  );
  if (snapshot.changedFiles !== null) {
    const { added, changed, deleted } = snapshot.changedFiles;
    fact(
      l10n.t('Changed'),
      escapeMarkdown(l10n.t('{0} added, {1} changed, {2} deleted', added, changed, deleted)),
    );
  }
  fact(
    l10n.t('Expires'),
    snapshot.protected
      ? escapeMarkdown(l10n.t('never: it is protected'))
      : snapshot.expiresAt === null
        ? escapeMarkdown(l10n.t('never'))
        : `${moment(snapshot.expiresAt)} (${escapeMarkdown(untilText(l10n, snapshot.expiresAt, now))})`,
  );
  if (snapshot.exclusiveBytes !== null) {
    fact(l10n.t('Deleting it frees'), escapeMarkdown(l10n.t('about {0}', sizeText(snapshot.exclusiveBytes))));
  }
  fact(
    l10n.t('Took'),
    escapeMarkdown(
      snapshot.freezeMs > 0
        ? l10n.t(
            '{0}, of which the workspace stood still for {1}',
            elapsedText(snapshot.totalMs),
            elapsedText(snapshot.freezeMs),
          )
        : elapsedText(snapshot.totalMs),
    ),
  );
  if (!snapshot.durable) fact(l10n.t('Stored'), escapeMarkdown(l10n.t('still being written to disk')));

  const parts = [heading];
  if (snapshot.note !== null && snapshot.note !== '') parts.push(quote(snapshot.note));
  parts.push(
    `| | |\n|:--|:--|\n${facts.map(([name, value]) => `| ${escapeMarkdown(name)} | ${value} |`).join('\n')}`,
  );
  if ('capture' in snapshot) parts.push(...captureSections(l10n, snapshot));
  return parts.join('\n\n');
}

function captureSections(l10n: Translator, snapshot: Snapshot): string[] {
  const { capture, changedFiles } = snapshot;
  const signs = { added: '+', changed: '~', deleted: '-' } as const;
  const sections: string[] = [];
  const section = (title: string, lines: readonly string[], total = lines.length) => {
    if (lines.length === 0) return;
    const shown = lines.slice(0, LISTED).map((line) => `- ${escapeMarkdown(visible(line))}`);
    if (total > LISTED) shown.push(`- ${escapeMarkdown(l10n.t('and {0} more', total - LISTED))}`);
    sections.push(`**${escapeMarkdown(title)}**\n${shown.join('\n')}`);
  };
  section(
    l10n.t('Processes kept'),
    capture.kept.map(
      (process) => `${process.name} (${String(process.pid)}, ${sizeText(process.memoryBytes)})`,
    ),
  );
  section(
    l10n.t('Processes left out'),
    capture.leftOut.map((process) => `${process.name} (${String(process.pid)}): ${process.reason}`),
  );
  section(
    l10n.t('Listening'),
    capture.listeners.map((listener) => `${listener.protocol} ${listener.address}`),
  );
  section(
    l10n.t('Connections that a restore closes'),
    capture.outsideConnections.map((connection) => connection.peer),
  );
  section(l10n.t('Volumes and nested subvolumes included'), [
    ...capture.volumes.map((volume) => `${volume.name}: ${volume.path}`),
    ...capture.nestedSubvolumes,
  ]);
  section(
    l10n.t('Mounts not included'),
    capture.otherMounts.map((mount) => `${mount.path} (${mount.type}): ${mount.reason}`),
  );
  if (changedFiles !== null) {
    section(
      l10n.t('Changed files'),
      changedFiles.first.map((file) => `${signs[file.change]} ${file.path}`),
      totalOf(changedFiles),
    );
  }
  return sections;
}

/**
 * Text as Markdown that shows exactly that text: every ASCII punctuation mark may be escaped by a backslash
 * (CommonMark, section 2.4), so no mark-up, table cell, HTML or bare address is left in it.
 */
export function escapeMarkdown(text: string): string {
  return text.replace(/[!-/:-@[-`{-~]/g, '\\$&').replace(/\r?\n/g, ' ');
}

function quote(text: string): string {
  return text
    .split(/\r?\n/)
    .map((line) => `> ${escapeMarkdown(visible(line))}  `)
    .join('\n');
}

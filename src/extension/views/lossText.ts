import type { Changes, Preview } from '../../protocol/operations.ts';
import type { Process, SnapshotSummary } from '../../protocol/snapshot.ts';
import type { Workspace } from '../../protocol/workspace.ts';
import { visible } from '../../protocol/visible.ts';
import { ageText, counted, sizeText } from './measures.ts';
import { snapshotLabel, totalOf } from './snapshotText.ts';
import type { Translator } from './translator.ts';

/** How many names stand for a list. */
const NAMED = 3;

/** A modal question: its first line and what stands below. */
export interface Question {
  readonly message: string;
  readonly detail: string;
}

/**
 * What a restore asks before it begins: what will be lost, as far as it is counted, and what is kept of it.
 * @param preview what is known so far; null when the host has not answered yet
 * @param snapshot the one to go back to
 */
export function restoreQuestion(
  l10n: Translator,
  workspace: Pick<Workspace, 'name' | 'undo'>,
  snapshot: SnapshotSummary,
  preview: Preview | null,
  now: number,
): Question {
  const age = ageText(l10n, snapshot.createdAt, now);
  const message =
    workspace.undo?.safety === snapshot.name
      ? l10n.t('Undo the restore of "{0}", made {1}?', workspace.name, age)
      : l10n.t('Restore "{0}" to "{1}", taken {2}?', workspace.name, snapshotLabel(snapshot), age);
  return { message, detail: [...losses(l10n, preview), '', ...kept(l10n, snapshot, preview)].join('\n') };
}

/**
 * What a promotion asks before it begins.
 * @param preview of the original against the snapshot that the fork began as: what it did since is what it loses
 */
export function promoteQuestion(
  l10n: Translator,
  fork: string,
  original: string,
  preview: Preview | null,
): Question {
  return {
    message: l10n.t('Let the fork "{0}" take the place of "{1}"?', fork, original),
    detail: [
      l10n.t(
        '"{1}" goes on in the state of the fork, under its own name and ports, and the fork is no workspace of its own any more. Its snapshots join the timeline of "{1}".',
        fork,
        original,
      ),
      '',
      l10n.t('In "{0}", since the fork began:', original),
      ...losses(l10n, preview),
      '',
      ...keptOfNow(l10n, preview),
    ].join('\n'),
  };
}

/** What is thrown away with a fork. @param changes null when that can't be counted */
export function dropQuestion(
  l10n: Translator,
  fork: Pick<Workspace, 'name' | 'snapshotCount' | 'origin'>,
  changes: Changes | null,
): Question {
  const lines: string[] = [];
  if (changes !== null && totalOf(changes.files) > 0) {
    lines.push(
      withNames(
        l10n,
        counted(totalOf(changes.files), l10n.t('1 file changed in it'), (n) =>
          l10n.t('{0} files changed in it', n),
        ),
        changes.files.first.map((file) => file.path),
        totalOf(changes.files),
      ),
    );
  }
  if (changes !== null && changes.started.length > 0) {
    lines.push(
      withNames(
        l10n,
        counted(changes.started.length, l10n.t('1 process started in it'), (n) =>
          l10n.t('{0} processes started in it', n),
        ),
        namesOf(changes.started),
      ),
    );
  }
  if (fork.snapshotCount > 0) {
    lines.push(counted(fork.snapshotCount, l10n.t('its snapshot'), (n) => l10n.t('its {0} snapshots', n)));
  }
  return {
    message: l10n.t('Drop the fork "{0}"?', fork.name),
    detail: [
      ...(lines.length === 0
        ? [
            changes === null
              ? l10n.t('All that was done in it is thrown away.')
              : l10n.t('Nothing has changed in it.'),
          ]
        : [l10n.t('This is thrown away:'), ...lines.map((line) => `•  ${line}`)]),
      '',
      l10n.t('This can\'t be undone. "{0}" and its snapshots stay as they are.', fork.origin?.name ?? ''),
    ].join('\n'),
  };
}

/**
 * What the second question of a restore says, when the processes running now can't be kept without a choice.
 * @param canKeepProcesses false: no choice keeps them
 */
export function safetyQuestion(
  l10n: Translator,
  workspace: string,
  reason: string,
  canKeepProcesses: boolean,
): Question {
  return {
    message: l10n.t('What should be kept of "{0}" as it is now?', workspace),
    detail: [
      canKeepProcesses
        ? l10n.t(
            'A restore can be undone from the safety snapshot that it takes first. The processes are kept in it only if you choose so: {0}.',
            visible(reason),
          )
        : l10n.t(
            "A restore can be undone from the safety snapshot that it takes first. The processes can't be kept in it: {0}.",
            visible(reason),
          ),
      l10n.t(
        "With the files alone, an undo brings the files back, but the processes that run now can't be brought back.",
      ),
    ].join('\n\n'),
  };
}

function losses(l10n: Translator, preview: Preview | null): string[] {
  if (preview === null)
    return [
      l10n.t('What has changed since is still being counted. All of it will be lost from the workspace.'),
    ];
  const { files, started, ended, outsideConnections } = preview;
  const lines: string[] = [];
  if (files !== null && totalOf(files) > 0) {
    lines.push(
      withNames(
        l10n,
        counted(totalOf(files), l10n.t('1 file changed since'), (n) => l10n.t('{0} files changed since', n)),
        files.first.map((file) => file.path),
        totalOf(files),
      ),
    );
  }
  if (started !== null && started.length > 0) {
    lines.push(
      withNames(
        l10n,
        counted(started.length, l10n.t('1 process started since, which will end'), (n) =>
          l10n.t('{0} processes started since, which will end', n),
        ),
        namesOf(started),
      ),
    );
  }
  if (ended !== null && ended.length > 0) {
    lines.push(
      withNames(
        l10n,
        counted(ended.length, l10n.t('1 process ended since, which will run again'), (n) =>
          l10n.t('{0} processes ended since, which will run again', n),
        ),
        namesOf(ended),
      ),
    );
  }
  if (outsideConnections !== null && outsideConnections.length > 0) {
    lines.push(
      withNames(
        l10n,
        counted(outsideConnections.length, l10n.t('1 connection to the outside will close'), (n) =>
          l10n.t('{0} connections to the outside will close', n),
        ),
        outsideConnections.map((connection) => connection.peer),
      ),
    );
  }
  const uncounted = [
    files === null ? l10n.t('files') : null,
    started === null || ended === null ? l10n.t('processes') : null,
    outsideConnections === null ? l10n.t('connections') : null,
  ].filter((part) => part !== null);
  if (lines.length === 0 && uncounted.length === 0) return [l10n.t('Nothing has changed since.')];
  if (lines.length === 0)
    return [l10n.t('Still counting what has changed since: {0}.', uncounted.join(', '))];
  return [
    l10n.t('This will be lost:'),
    ...lines.map((line) => `•  ${line}`),
    ...(uncounted.length === 0 ? [] : [`•  ${l10n.t('Still counting: {0}', uncounted.join(', '))}`]),
  ];
}

function kept(l10n: Translator, snapshot: SnapshotSummary, preview: Preview | null): string[] {
  return [
    ...(snapshot.stateful
      ? []
      : [l10n.t('This snapshot holds files only: the workspace starts anew from them.')]),
    ...keptOfNow(l10n, preview),
  ];
}

function keptOfNow(l10n: Translator, preview: Preview | null): string[] {
  const lines: string[] = [];
  const safety = preview?.safety ?? null;
  if (safety === null) {
    lines.push(l10n.t('The state of now is kept in a safety snapshot first, so that you can undo this.'));
  } else if (safety.choice === 'stateful') {
    lines.push(
      l10n.t(
        'The state of now is kept in a safety snapshot first, with its processes ({0}), so that you can undo this.',
        sizeText(safety.memoryBytes),
      ),
    );
  } else if (safety.choice === 'stateless') {
    lines.push(l10n.t('The files of now are kept in a safety snapshot first, so that you can undo this.'));
  } else {
    lines.push(l10n.t('You are asked next what to keep of the state of now.'));
  }
  return lines;
}

function namesOf(processes: readonly Process[]): string[] {
  return [...new Set(processes.map((process) => process.name))];
}

function withNames(l10n: Translator, text: string, names: readonly string[], total = names.length): string {
  if (names.length === 0) return text;
  const shown = names.slice(0, NAMED).map(visible).join(', ');
  const isShortened = names.length > NAMED || total > names.length;
  return isShortened ? l10n.t('{0}: {1}, …', text, shown) : l10n.t('{0}: {1}', text, shown);
}

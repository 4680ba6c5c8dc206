import { commands, l10n, window } from 'vscode';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { CommandId } from '../commands/registry.ts';
import type { Pointer } from '../commands/target.ts';
import type { Memory } from '../model/currentChoice.ts';
import { elapsedText } from './measures.ts';

/** What a restore did, for as long as the user was not shown it. */
export interface RestoreResult {
  readonly host: string;
  readonly workspace: WorkspaceId;
  readonly workspaceName: string;
  readonly generation: number;
  /** What was restored, by alias or name; of a promotion, the fork. */
  readonly label: string;
  /** A fork took the workspace's place. */
  readonly isPromotion?: boolean;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** How long it took and stood still; null when another window or client restored. */
  readonly times: { readonly downMs: number; readonly totalMs: number } | null;
  /** Its processes go on from the snapshot. */
  readonly isStateful: boolean;
  readonly canUndo: boolean;
}

const KEY = 'restoreResult';
/** A result older than this is no news any more. */
const NEWS_MS = 10 * 60_000;

/** Shows what a restore did, with "Undo"; kept until it was answered, so that it outlives a reload of the window (H32). */
export class RestoreNotice {
  constructor(private readonly memory: Memory) {}

  /** Keeps the result without showing it: the window is about to load again. */
  async keep(result: RestoreResult): Promise<void> {
    await this.memory.update(KEY, result);
  }

  /** Keeps and shows the result. Resolves when it is kept. */
  async announce(result: RestoreResult): Promise<void> {
    await this.keep(result);
    void this.show(result);
  }

  /** Shows what was kept before the window loaded again. */
  resume(now: number): void {
    const result = this.memory.get(KEY);
    if (!isResult(result)) return;
    if (now - result.at > NEWS_MS) void this.memory.update(KEY, undefined);
    else void this.show(result);
  }

  private async show(result: RestoreResult): Promise<void> {
    const undo = l10n.t('Undo');
    const answer = await window.showInformationMessage(text(result), ...(result.canUndo ? [undo] : []));
    const kept = this.memory.get(KEY);
    if (isResult(kept) && kept.generation === result.generation) await this.memory.update(KEY, undefined);
    if (answer !== undo) return;
    await commands.executeCommand(
      'forkpoint.undoRestore' satisfies CommandId,
      {
        pointsTo: { host: result.host, workspace: result.workspace },
      } satisfies Pointer,
    );
  }
}

function text({ workspaceName, label, times, isStateful, isPromotion }: RestoreResult): string {
  if (isPromotion === true && times !== null) {
    return l10n.t(
      'The fork "{0}" took the place of "{1}". It took {2}, {3} of them without an answer from the workspace.',
      label,
      workspaceName,
      elapsedText(times.totalMs),
      elapsedText(times.downMs),
    );
  }
  if (times === null) return l10n.t('"{0}" was restored to "{1}".', workspaceName, label);
  return isStateful
    ? l10n.t(
        '"{0}" is back at "{1}", processes included. It took {2}, {3} of them without an answer from the workspace.',
        workspaceName,
        label,
        elapsedText(times.totalMs),
        elapsedText(times.downMs),
      )
    : l10n.t(
        '"{0}" is back at "{1}", started from its files. It took {2}.',
        workspaceName,
        label,
        elapsedText(times.totalMs),
      );
}

function isResult(value: unknown): value is RestoreResult {
  return (
    typeof value === 'object' &&
    value !== null &&
    'generation' in value &&
    'workspaceName' in value &&
    'label' in value &&
    'at' in value
  );
}

import type * as vscode from 'vscode';

/** Every command, in the order of the manifest; a test keeps the two equal. */
export const commandIds = [
  'forkpoint.snapshotWorkspace',
  'forkpoint.snapshotBeforeAiEdit',
  'forkpoint.restore',
  'forkpoint.restoreLast',
  'forkpoint.undoRestore',
  'forkpoint.fork',
  'forkpoint.promoteFork',
  'forkpoint.dropFork',
  'forkpoint.setProject',
  'forkpoint.deleteSnapshots',
  'forkpoint.renameAlias',
  'forkpoint.editNote',
  'forkpoint.setExpiry',
  'forkpoint.protect',
  'forkpoint.unprotect',
  'forkpoint.copyName',
  'forkpoint.openRow',
  'forkpoint.showOlder',
  'forkpoint.startWorkspace',
  'forkpoint.stopWorkspace',
  'forkpoint.newWorkspace',
  'forkpoint.openTerminal',
  'forkpoint.forwardPort',
  'forkpoint.openPort',
  'forkpoint.stopForwarding',
  'forkpoint.openInNewWindow',
  'forkpoint.copySshCommand',
  'forkpoint.selectWorkspace',
  'forkpoint.addHost',
  'forkpoint.removeHost',
  'forkpoint.connect',
  'forkpoint.disconnect',
  'forkpoint.setUpHost',
  'forkpoint.refresh',
  'forkpoint.showLog',
] as const;

export type CommandId = (typeof commandIds)[number];

/**
 * What a command does. The arguments are what the editor or another part of the extension passes: the row of the view
 * it was called on and all selected ones, a {@link Pointer}, or nothing.
 */
export type CommandHandler = (target?: unknown, selection?: unknown) => Promise<void>;

/** One handler for each command: the compiler misses none. */
export type CommandHandlers = Readonly<Record<CommandId, CommandHandler>>;

/**
 * The commands of rows that stand in the view's title, too, where the editor passes nothing when no row has the focus.
 * A test compares with the manifest.
 */
export const titleCommandIds: ReadonlySet<CommandId> = new Set([
  'forkpoint.snapshotBeforeAiEdit',
  'forkpoint.newWorkspace',
  'forkpoint.selectWorkspace',
  'forkpoint.fork',
  'forkpoint.restoreLast',
  'forkpoint.undoRestore',
]);

/** What the commands need to know of the view that they are called from, and what they tell. */
export interface CommandSurroundings {
  /** Whether the editor may have forgotten rows that the user still sees, see {@link SnapshotTree.isRedrawing}. */
  isRedrawing(): boolean;
  /** Told of a call on a row that the editor has forgotten: nothing was done. */
  onForgottenRow(): void;
  /** Told what a handler let through, which is a mistake of ours. */
  onError(id: CommandId, error: unknown): void;
}

/** Registers all commands; nothing else registers any. */
export function registerCommands(
  commands: Pick<typeof vscode.commands, 'registerCommand'>,
  handlers: CommandHandlers,
  surroundings: CommandSurroundings,
): vscode.Disposable[] {
  return commandIds.map((id) =>
    commands.registerCommand(id, async (...args: readonly unknown[]) => {
      if (isOnForgottenRow(args) && (!titleCommandIds.has(id) || surroundings.isRedrawing())) {
        surroundings.onForgottenRow();
        return;
      }
      try {
        await handlers[id](args[0], args[1]);
      } catch (error) {
        surroundings.onError(id, error);
      }
    }),
  );
}

/**
 * Whether a menu or button of the view called on a row, and the editor no longer knew which: it forgets the rows below
 * one that is drawn anew, until the window has asked for them again (`_addChildrenToClear` in its extHostTreeViews.ts).
 * Menus of a view pass two arguments, the palette none. Taken for a call on no row, it would meet another workspace.
 */
function isOnForgottenRow(args: readonly unknown[]): boolean {
  const [target, selection] = args;
  return (
    args.length > 1 && (target === undefined || (Array.isArray(selection) && selection.includes(undefined)))
  );
}

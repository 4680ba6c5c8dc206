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
 * Registers all commands; nothing else registers any.
 * @param onError told what a handler let through, which is a mistake of ours
 */
export function registerCommands(
  commands: Pick<typeof vscode.commands, 'registerCommand'>,
  handlers: CommandHandlers,
  onError: (id: CommandId, error: unknown) => void,
): vscode.Disposable[] {
  return commandIds.map((id) =>
    commands.registerCommand(id, async (target?: unknown, selection?: unknown) => {
      try {
        await handlers[id](target, selection);
      } catch (error) {
        onError(id, error);
      }
    }),
  );
}

import { commands, l10n, window } from 'vscode';
import type { LogOutputChannel } from 'vscode';
import { ForkpointError } from '../../protocol/errors.ts';
import type { CommandId } from '../commands/registry.ts';
import type { Pointer } from '../commands/target.ts';
import { HostProblemError } from '../hosts/problems.ts';
import type { HostProblem } from '../hosts/problems.ts';
import { connectionFailureText, operationFailureText } from './errorTexts.ts';
import type { FailureText, Fix } from './errorTexts.ts';

/** What a failed operation worked on, so that a fix can go on there. */
export type FailedTarget = Pointer['pointsTo'];

/** The text of a failure, whichever kind it is: where the connection was in the way, that is what counts. */
export function failureText(error: ForkpointError | HostProblem): FailureText {
  if (!(error instanceof ForkpointError)) return connectionFailureText(l10n, error.code, error.args);
  const { cause } = error;
  return cause instanceof HostProblemError
    ? connectionFailureText(l10n, cause.code, cause.args)
    : operationFailureText(l10n, error.code, error.args);
}

/** The command behind a fix, and what its button says. */
export function fixCommand(fix: Fix): { readonly command: CommandId; readonly label: string } {
  switch (fix) {
    case 'setUpHost':
      return { command: 'forkpoint.setUpHost', label: l10n.t('Set Up Host') };
    case 'connect':
      return { command: 'forkpoint.connect', label: l10n.t('Connect') };
    case 'showLog':
      return { command: 'forkpoint.showLog', label: l10n.t('Show Log') };
    case 'deleteSnapshots':
      return { command: 'forkpoint.deleteSnapshots', label: l10n.t('Delete Snapshots…') };
    case 'unprotect':
      return { command: 'forkpoint.unprotect', label: l10n.t('Unprotect') };
    case 'startWorkspace':
      return { command: 'forkpoint.startWorkspace', label: l10n.t('Start Workspace') };
    case 'undoRestore':
      return { command: 'forkpoint.undoRestore', label: l10n.t('Undo Restore') };
  }
}

/** Shows what failed, what that means and what to do next, with the fix as a button. Resolves at once. */
export function showFailure(error: ForkpointError | HostProblemError, target: FailedTarget | null): void {
  const { message, next, fix } = failureText(error);
  const offered = fix === 'showLog' ? [fixCommand(fix)] : [fixCommand(fix), fixCommand('showLog')];
  const text = next === '' ? message : `${message} ${next}`;
  // That the user refused it is no error.
  const isRefusal = error instanceof HostProblemError && error.code === 'helperNotInstalled';
  const show = isRefusal ? window.showInformationMessage : window.showErrorMessage;
  void show(text, ...offered.map(({ label }) => label)).then((answer) => {
    const chosen = offered.find(({ label }) => label === answer);
    if (chosen === undefined) return;
    return commands.executeCommand(
      chosen.command,
      target === null ? undefined : ({ pointsTo: target } satisfies Pointer),
    );
  });
}

/** Tells that a command was called on a row that the editor no longer knew. */
export function showForgottenRow(): void {
  void window.showInformationMessage(l10n.t('Nothing was done: the row was being redrawn. Try again.'));
}

/** Shows a mistake of ours: it is in the log with its stack. */
export function showMistake(log: LogOutputChannel, where: string, error: unknown): void {
  log.error(error instanceof Error ? error : String(error), where);
  showFailure(ForkpointError.from(error), null);
}

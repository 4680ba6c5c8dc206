import { commands, extensions } from 'vscode';
import type { Disposable } from 'vscode';

/** Commands by which an extension for remote windows over SSH is known: Remote - SSH, Open Remote - SSH. */
const signs = ['opensshremotes.openEmptyWindow', 'openremotessh.openEmptyWindow'];

/** Whether windows on SSH hosts can be opened. Other extensions may be out of our sight, their commands are not (H35). */
export async function hasRemoteSsh(): Promise<boolean> {
  const known = await commands.getCommands(true);
  return signs.some((sign) => known.includes(sign));
}

/** Keeps the context key by which the manifest shows "Open in New Window". */
export function watchRemoteSsh(): Disposable[] {
  const look = (): void => {
    void hasRemoteSsh().then((isThere) =>
      commands.executeCommand('setContext', 'forkpoint.hasRemoteSsh', isThere),
    );
  };
  look();
  return [extensions.onDidChange(look)];
}

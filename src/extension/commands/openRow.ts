import { commands } from 'vscode';
import { showForgottenRow } from '../views/failures.ts';
import { actionOf } from '../views/rows.ts';
import type { Parts } from './parts.ts';
import type { CommandHandler } from './registry.ts';

/** Open Row: what a click on a row does that stands for something to do, like "Connect". */
export function openRow({ tree }: Parts): CommandHandler {
  return async () => {
    const row = await tree.opened.find();
    if (row === 'forgotten') showForgottenRow();
    if (typeof row === 'string') return;
    // It may have become "Connecting…" meanwhile, which does nothing.
    const action = actionOf(row);
    if (action !== null) await commands.executeCommand(action, row);
  };
}

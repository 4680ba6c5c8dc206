import { l10n } from 'vscode';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Open Terminal: a shell in a workspace, which its snapshots keep. */
export function openTerminal(parts: Parts): CommandHandler {
  return async (target) => {
    const at = await currentWorkspace(parts, target, l10n.t('Open Terminal'));
    if (at !== undefined) parts.terminals.create(at.host, at.workspace);
  };
}

import { env, l10n, window } from 'vscode';
import type { Parts } from './parts.ts';
import { pickSnapshots } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Copy Name: the names by which the command line knows the snapshots, one a line. */
export function copyName(parts: Parts): CommandHandler {
  return async (target, selection) => {
    const picked = await pickSnapshots(parts, target, selection, {
      title: l10n.t('Copy Name'),
      placeholder: l10n.t('Choose the snapshots'),
    });
    if (picked.length === 0) return;
    const names = picked.map(({ snapshot }) => snapshot.name);
    await env.clipboard.writeText(names.join('\n'));
    window.setStatusBarMessage(l10n.t('$(check) Copied {0}', names.join(', ')), 4000);
  };
}

import { l10n } from 'vscode';
import { ensureConnected } from './connecting.ts';
import type { Parts } from './parts.ts';
import { pickHost } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Connect: to a host that isn't connected, asking what has to be asked. */
export function connect(parts: Parts): CommandHandler {
  return async (target) => {
    const host = await pickHost(parts, target, l10n.t('Connect'), ({ state }) => state.kind !== 'connected');
    if (host !== undefined) await ensureConnected(parts, host);
  };
}

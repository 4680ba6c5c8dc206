import { l10n } from 'vscode';
import type { Parts } from './parts.ts';
import { pickHost } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Disconnect: ends the connection; what runs on the host runs on. */
export function disconnect(parts: Parts): CommandHandler {
  return async (target) => {
    const host = await pickHost(
      parts,
      target,
      l10n.t('Disconnect'),
      ({ state }) => state.kind !== 'disconnected',
    );
    host?.connection.disconnect();
  };
}

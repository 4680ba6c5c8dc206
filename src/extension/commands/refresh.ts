import { l10n } from 'vscode';
import { showFailure } from '../views/failures.ts';
import type { Parts } from './parts.ts';
import type { CommandHandler } from './registry.ts';
import { hostOf } from './target.ts';

/** Refresh: reads everything in sight again from the connected hosts. */
export function refresh(parts: Parts): CommandHandler {
  return async (target) => {
    const host = hostOf(parts.fleet, target);
    const hosts = host === undefined ? parts.fleet.hosts : [host];
    const outcome = await parts.operations.run(l10n.t('Refreshing'), async () => {
      await Promise.all(hosts.map((each) => each.refresh()));
    });
    if (outcome.kind === 'failed') showFailure(outcome.error, null);
  };
}

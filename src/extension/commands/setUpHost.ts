import { l10n, window } from 'vscode';
import type { Host } from '../model/host.ts';
import { showFailure } from '../views/failures.ts';
import { sizeText } from '../views/measures.ts';
import { ensureConnected } from './connecting.ts';
import type { Parts } from './parts.ts';
import { pickHost } from './pick.ts';
import type { CommandHandler } from './registry.ts';

const GIB = 1024 ** 3;
/** The smallest pool that a host makes. */
const SMALLEST_GIB = 2;

/** Set Up Host: installs or updates the helper and makes the snapshot pool, each where it is missing. */
export function setUpHost(parts: Parts): CommandHandler {
  return async (target) => {
    const host = await pickHost(parts, target, l10n.t('Set Up Host'));
    if (host === undefined || !(await installHelper(parts, host)) || !(await ensureConnected(parts, host)))
      return;
    await host.refresh();
    if (host.needsPool) await makePool(parts, host);
    else if (host.info?.pool != null) {
      void window.showInformationMessage(
        l10n.t(
          '"{0}" is set up: {1} of {2} are free in its pool.',
          host.id,
          sizeText(host.info.pool.freeBytes),
          sizeText(host.info.pool.totalBytes),
        ),
      );
    }
  };
}

async function installHelper(parts: Parts, host: Host): Promise<boolean> {
  const isNeeded =
    host.state.kind === 'needsSetup' || (host.state.kind === 'connected' && host.state.isHelperOlder);
  if (!isNeeded) return true;
  const outcome = await parts.operations.run(
    l10n.t('Installing the helper on "{0}"', host.id),
    ({ signal }) => host.connection.installHelper({ signal }),
  );
  if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id });
  return outcome.kind === 'done';
}

async function makePool(parts: Parts, host: Host): Promise<void> {
  const text = await window.showInputBox({
    title: l10n.t('Set Up "{0}"', host.id),
    prompt: l10n.t('Size of the snapshot pool in GB. Leave it empty for a quarter of the free space.'),
    ignoreFocusOut: true,
    validateInput: (input) =>
      input.trim() === '' || Number(input) >= SMALLEST_GIB
        ? undefined
        : l10n.t('A pool has at least {0} GB.', SMALLEST_GIB),
  });
  if (text === undefined) return;
  const size = text.trim() === '' ? {} : { size: Math.round(Number(text) * GIB) };
  const outcome = await parts.operations.run(
    l10n.t('Making the snapshot pool of "{0}"', host.id),
    (context) => host.connection.request('host/setup', size, context),
  );
  if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id });
  if (outcome.kind === 'done') await host.refresh();
}

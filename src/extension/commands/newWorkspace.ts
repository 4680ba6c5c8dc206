import { l10n, window } from 'vscode';
import type { ParamsInput } from '../../protocol/operations.ts';
import { parsePorts } from '../model/ports.ts';
import { showFailure } from '../views/failures.ts';
import { askForName } from './asking.ts';
import { ensureConnected } from './connecting.ts';
import type { Parts } from './parts.ts';
import { pickHost } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** New Workspace…: asks for host, name, source and ports, and creates it. */
export function newWorkspace(parts: Parts): CommandHandler {
  return async (target) => {
    const host = await pickHost(parts, target, l10n.t('New Workspace'));
    if (host === undefined || !(await ensureConnected(parts, host))) return;
    const title = l10n.t('New Workspace on "{0}"', host.id);
    const name = await askForName({ title, prompt: l10n.t('Name of the workspace'), mayBeEmpty: false });
    if (name === undefined) return;
    const source = await askForSource(title);
    if (source === undefined) return;
    const ports = await window.showInputBox({
      title,
      prompt: l10n.t(
        'Ports to publish on the host, as HOST:CONTAINER, separated by spaces. Leave it empty for none.',
      ),
      placeHolder: '8080:80 5432:5432',
      ignoreFocusOut: true,
      validateInput: (text) =>
        parsePorts(text) === null ? l10n.t('Write each port as HOST:CONTAINER, like 8080:80.') : undefined,
    });
    if (ports === undefined) return;
    const outcome = await parts.operations.run(l10n.t('Creating "{0}"', name), (context) =>
      host.connection.request(
        'containers/create',
        { name, ...source, publish: [...(parsePorts(ports) ?? [])] },
        context,
      ),
    );
    if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id });
  };
}

type Source = Pick<ParamsInput<'containers/create'>, 'rootfs' | 'image'>;

async function askForSource(title: string): Promise<Source | undefined> {
  const image = {
    label: l10n.t("From an image in Podman's local storage"),
    detail: l10n.t('"podman images" on the host lists them.'),
  };
  const rootfs = {
    label: l10n.t('From a directory or tar archive on the host'),
    detail: l10n.t('It is copied.'),
  };
  const chosen = await window.showQuickPick([image, rootfs], {
    title,
    placeHolder: l10n.t('Where do its files come from?'),
  });
  if (chosen === undefined) return undefined;
  const text = await window.showInputBox({
    title,
    prompt: chosen === image ? l10n.t('Name of the image') : l10n.t('Absolute path on the host'),
    placeHolder: chosen === image ? 'localhost/debian:latest' : '/srv/images/debian.tar',
    ignoreFocusOut: true,
    validateInput: (input) =>
      input.trim() === '' || (chosen === rootfs && !input.startsWith('/'))
        ? chosen === image
          ? l10n.t('Give the name of an image.')
          : l10n.t('Give an absolute path.')
        : undefined,
  });
  if (text === undefined) return undefined;
  return chosen === image ? { image: text.trim() } : { rootfs: text.trim() };
}

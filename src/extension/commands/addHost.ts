import { l10n, ThemeIcon, window } from 'vscode';
import type { QuickPickItem } from 'vscode';
import { ensureConnected } from './connecting.ts';
import type { Parts } from './parts.ts';
import type { CommandHandler } from './registry.ts';

/** Add Host…: an alias of the user's SSH configuration, or an address that is typed; then connects to it. */
export function addHost(parts: Parts): CommandHandler {
  return async () => {
    const name = await askForHost(parts);
    if (name === undefined) return;
    const { hosts } = parts.settings;
    if (!hosts.includes(name)) await parts.settings.setHosts([...hosts, name]);
    // The change of the settings may still be on its way.
    parts.fleet.setHosts([...parts.fleet.hosts.map((host) => host.id), name]);
    const host = parts.fleet.host(name);
    if (host !== undefined) await ensureConnected(parts, host);
  };
}

/** What may be a host: no blanks, no leading dash (an option to ssh), nothing a shell would read. */
const HOST_PATTERN = /^(?![-])[A-Za-z0-9_.@:[\]%+-]+$/;

async function askForHost(parts: Parts): Promise<string | undefined> {
  const known = new Set(parts.settings.hosts);
  const aliases = (await parts.listAliases()).filter((alias) => !known.has(alias));
  const found: QuickPickItem[] = aliases.map((alias) => ({
    label: alias,
    iconPath: new ThemeIcon('vm'),
    description: l10n.t('SSH configuration'),
  }));
  const pick = window.createQuickPick();
  pick.title = l10n.t('Add Host');
  pick.placeholder = l10n.t('Choose a host of your SSH configuration, or type user@host:port');
  pick.items = found;
  pick.onDidChangeValue((value) => {
    const typed = value.trim();
    const isNew = typed !== '' && !aliases.includes(typed);
    const isUsable = HOST_PATTERN.test(typed);
    pick.items = isNew
      ? [
          ...found,
          {
            label: typed,
            alwaysShow: true,
            iconPath: new ThemeIcon(isUsable ? 'add' : 'error'),
            description: isUsable ? l10n.t('add this host') : l10n.t('this is no name of a host'),
          },
        ]
      : found;
  });
  try {
    return await new Promise((resolve) => {
      pick.onDidAccept(() => {
        const label = pick.selectedItems[0]?.label;
        if (label !== undefined && HOST_PATTERN.test(label)) resolve(label);
      });
      pick.onDidHide(() => resolve(undefined));
      pick.show();
    });
  } finally {
    pick.dispose();
  }
}

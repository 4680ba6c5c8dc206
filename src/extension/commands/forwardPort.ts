import { env, l10n, ThemeIcon, Uri, window } from 'vscode';
import type { WorkspacePort } from '../../protocol/reach.ts';
import { hostText } from '../hosts/hostText.ts';
import type { Forward } from '../ports/forwards.ts';
import { showFailure } from '../views/failures.ts';
import type { Node } from '../views/nodes.ts';
import type { Parts } from './parts.ts';
import { currentWorkspace } from './pick.ts';
import type { CommandHandler } from './registry.ts';

/** Forward Port…: leads a port of this machine to one that a program of the workspace listens on. */
export function forwardPort(parts: Parts): CommandHandler {
  return async (target) => {
    const title = l10n.t('Forward Port');
    const at = await currentWorkspace(parts, target, title);
    if (at === undefined) return;
    const { host, workspace } = at;
    const listed = await parts.operations.run(
      l10n.t('Listing the ports of "{0}"', workspace.name),
      (context) => host.connection.request('ports/list', { container: workspace.id }, context),
    );
    if (listed.kind === 'failed') showFailure(listed.error, { host: host.id, workspace: workspace.id });
    if (listed.kind !== 'done') return;
    const other = { label: l10n.t('Another port…'), iconPath: new ThemeIcon('edit'), port: null };
    const items = listed.value.map((port) => ({
      label: String(port.port),
      description: describePort(port),
      iconPath: new ThemeIcon('plug'),
      port: port.port,
    }));
    const picked = await window.showQuickPick([...items, other], {
      title,
      placeHolder: l10n.t('Choose a port of "{0}"', workspace.name),
      matchOnDescription: true,
    });
    if (picked === undefined) return;
    const port = picked.port ?? (await askForPort(title));
    if (port === undefined) return;
    const outcome = await parts.operations.run(
      l10n.t('Forwarding port {0} of "{1}"', port, workspace.name),
      () => parts.forwards.open(host, workspace.id, port),
    );
    if (outcome.kind === 'failed') showFailure(outcome.error, { host: host.id, workspace: workspace.id });
    if (outcome.kind !== 'done') return;
    const forward = outcome.value;
    const open = l10n.t('Open in Browser');
    const answer = await window.showInformationMessage(
      l10n.t('Port {0} of "{1}" is localhost:{2} here.', port, workspace.name, forward.localPort),
      open,
    );
    if (answer === open) await openInBrowser(forward);
  };
}

/** Open in Browser: shows what a forwarded port serves. */
export function openPort(parts: Parts): CommandHandler {
  return async (target) => {
    const forward = await pickForward(parts, target, l10n.t('Open in Browser'));
    if (forward !== undefined) await openInBrowser(forward);
  };
}

/** Stop Forwarding Port: the workspace's own port stays as it is. */
export function stopForwarding(parts: Parts): CommandHandler {
  return async (target) => {
    const forward = await pickForward(parts, target, l10n.t('Stop Forwarding Port'));
    if (forward !== undefined) parts.forwards.close(forward);
  };
}

/** A window on another machine, or in a browser, reaches this machine's ports by an address of its own. */
async function openInBrowser({ localPort }: Forward): Promise<void> {
  const here = Uri.parse(`http://localhost:${String(localPort)}/`);
  await env.openExternal(await env.asExternalUri(here));
}

async function pickForward(parts: Parts, target: unknown, title: string): Promise<Forward | undefined> {
  if (isForwardNode(target)) return target.forward;
  const items = parts.fleet.hosts.flatMap((host) =>
    (host.workspaces.kind === 'ready' ? host.workspaces.value : []).flatMap((workspace) =>
      parts.forwards.of(host.id, workspace.id).map((forward) => ({
        label: l10n.t('Port {0}', forward.port),
        description: `${workspace.name} · localhost:${String(forward.localPort)}`,
        iconPath: new ThemeIcon('plug'),
        forward,
      })),
    ),
  );
  if (items.length === 0) {
    void window.showInformationMessage(l10n.t('No port is forwarded.'));
    return undefined;
  }
  const [only] = items;
  if (items.length === 1) return only?.forward;
  return (await window.showQuickPick(items, { title, placeHolder: l10n.t('Choose a port') }))?.forward;
}

async function askForPort(title: string): Promise<number | undefined> {
  const text = await window.showInputBox({
    title,
    prompt: l10n.t('Port of the workspace'),
    validateInput: (input) => (isPort(Number(input)) ? undefined : l10n.t('Give a number from 1 to 65535.')),
  });
  return text === undefined ? undefined : Number(text);
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535;
}

function describePort({ process, addresses, published }: WorkspacePort): string {
  const by = process === null ? '' : `${hostText(process.name)} (${String(process.pid)})`;
  const at = published.length === 0 ? '' : l10n.t('published as {0}', hostText(published.join(', ')));
  return [by, hostText(addresses.join(', ')), at].filter((part) => part !== '').join(' · ');
}

function isForwardNode(value: unknown): value is Extract<Node, { kind: 'forward' }> {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'forward';
}

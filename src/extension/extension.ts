import { commands, window } from 'vscode';
import type { ExtensionContext } from 'vscode';
import { createHandlers } from './commands/handlers.ts';
import { registerCommands } from './commands/registry.ts';
import { createConnections } from './model/connections.ts';
import { CurrentChoice } from './model/currentChoice.ts';
import { ownHostOf } from './model/currentWorkspace.ts';
import { DeferredConnection } from './model/deferredConnection.ts';
import { Fleet } from './model/fleet.ts';
import { Settings } from './model/settings.ts';
import { SetUpHosts } from './model/setUpHosts.ts';
import { readWindowFolder } from './model/windowFolder.ts';
import { Forwards } from './ports/forwards.ts';
import { watchRemoteSsh } from './ssh/remoteSsh.ts';
import { SshAccessFiles } from './ssh/sshAccess.ts';
import { Terminals } from './terminals/terminals.ts';
import { Activity } from './views/activity.ts';
import { showForgottenRow, showMistake } from './views/failures.ts';
import { Operations } from './views/operations.ts';
import { RestoredWindow } from './views/restoredWindow.ts';
import { RestoreNotice } from './views/restoreNotice.ts';
import { SetbackNotice } from './views/setbackNotice.ts';
import { SnapshotTree } from './views/snapshotTree.ts';
import { StatusBar } from './views/statusBar.ts';

/** Builds the parts and hands them to each other. What connects to hosts is loaded with the first connection. */
export function activate(context: ExtensionContext): void {
  const startedAt = performance.now();
  const log = window.createOutputChannel('Forkpoint', { log: true });
  const settings = new Settings();
  const folder = readWindowFolder();
  const memory = context.workspaceState;

  const createConnection = createConnections(context, log, settings);
  const fleet = new Fleet((id) => new DeferredConnection(id, createConnection));
  // Before what shows it: all hear of a change in this order.
  const setUpHosts = new SetUpHosts(fleet, context.globalState);
  const current = new CurrentChoice(fleet, memory, folder);
  const activity = new Activity();
  const operations = new Operations(log, activity);
  const notice = new RestoreNotice(memory);
  const restoredWindow = new RestoredWindow(fleet, current, notice, memory, log);
  const setbackNotice = new SetbackNotice(fleet, current, memory);
  const forwards = new Forwards(fleet, memory, log);
  const terminals = new Terminals(fleet, memory);
  const sshAccess = new SshAccessFiles(fleet, settings, context, log);
  const tree = new SnapshotTree(fleet, forwards);
  const statusBar = new StatusBar(fleet, current, activity, setUpHosts);

  // A Remote - SSH window has its own host without being told.
  const ownHost = ownHostOf(folder.place);
  const listHosts = () =>
    fleet.setHosts(ownHost === null ? settings.hosts : withHost(settings.hosts, ownHost));
  listHosts();

  const handlers = createHandlers({
    fleet,
    current,
    settings,
    operations,
    tree,
    notice,
    restoredWindow,
    terminals,
    forwards,
    sshAccess,
    log,
    listAliases: async () => (await import('./hosts/aliases.ts')).listAliases(settings.sshConfigFile),
  });
  context.subscriptions.push(
    ...registerCommands(commands, handlers, {
      isRedrawing: () => tree.isRedrawing,
      onForgottenRow: showForgottenRow,
      onError: (id, error) => showMistake(log, id, error),
    }),
    settings.onDidChange(listHosts),
    ...watchRemoteSsh(),
    ...[
      statusBar,
      setUpHosts,
      tree,
      forwards,
      terminals,
      sshAccess,
      restoredWindow,
      setbackNotice,
      activity,
      current,
      fleet,
      log,
    ],
  );
  notice.resume(Date.now());
  terminals.resume();
  forwards.resume().catch((error: unknown) => showMistake(log, 'forwards', error));
  log.info(`Started in ${(performance.now() - startedAt).toFixed(1)} ms`);
  void connectAtStart(fleet, current, log);
}

/** At start only this window's own host is connected, and only if that needs no question (H36). */
async function connectAtStart(
  fleet: Fleet,
  current: CurrentChoice,
  log: { info(line: string): void },
): Promise<void> {
  const found = current.current;
  const hostId = found.kind === 'known' ? found.choice.host : found.kind === 'onHost' ? found.host : null;
  const host = hostId === null ? undefined : fleet.host(hostId);
  try {
    await host?.connection.connect({ interactive: false });
  } catch (error) {
    // The views show the state and what to do.
    log.info(`Not connected at start: ${String(error)}`);
  }
}

function withHost(hosts: readonly string[], own: string): readonly string[] {
  return hosts.includes(own) ? hosts : [own, ...hosts];
}

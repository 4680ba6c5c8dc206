import { l10n, MarkdownString, StatusBarAlignment, ThemeColor, window } from 'vscode';
import type { Disposable, StatusBarItem } from 'vscode';
import type { CommandId } from '../commands/registry.ts';
import type { Pointer } from '../commands/target.ts';
import type { CurrentChoice } from '../model/currentChoice.ts';
import type { Fleet } from '../model/fleet.ts';
import type { Host } from '../model/host.ts';
import type { SetUpHosts } from '../model/setUpHosts.ts';
import type { SnapshotSummary } from '../../protocol/snapshot.ts';
import type { Activity } from './activity.ts';
import { failureText } from './failures.ts';
import { ageText } from './measures.ts';
import { escapeMarkdown, snapshotLabel } from './snapshotText.ts';

const AGE_REFRESH_MS = 30_000;

/** The one status bar item: where the current workspace can go back to, what runs, or what is in the way. */
export class StatusBar implements Disposable {
  private readonly item: StatusBarItem;
  private readonly subscriptions: { dispose(): unknown }[];
  private readonly ages: NodeJS.Timeout;

  constructor(
    private readonly fleet: Fleet,
    private readonly current: CurrentChoice,
    private readonly activity: Activity,
    private readonly setUpHosts: SetUpHosts,
  ) {
    this.item = window.createStatusBarItem('forkpoint.current', StatusBarAlignment.Left, 40);
    this.item.name = l10n.t('Forkpoint: current snapshot');
    this.subscriptions = [
      this.item,
      current.onDidChange(() => this.draw()),
      activity.onDidChange(() => this.draw()),
    ];
    this.ages = setInterval(() => this.draw(), AGE_REFRESH_MS);
    this.draw();
  }

  dispose(): void {
    clearInterval(this.ages);
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  private draw(): void {
    const drawing = this.describe();
    if (drawing === null) {
      this.item.hide();
      return;
    }
    this.item.text = drawing.text;
    this.item.accessibilityInformation = { label: drawing.text.replace(/\$\([^)]*\) ?/g, '') };
    const tooltip = new MarkdownString(drawing.tooltip.map(escapeMarkdown).join('\n\n'));
    this.item.tooltip = tooltip;
    this.item.backgroundColor = drawing.background === null ? undefined : new ThemeColor(drawing.background);
    this.item.command = {
      command: drawing.command,
      title: drawing.text,
      arguments: drawing.pointer === null ? [] : [drawing.pointer],
    };
    this.item.show();
  }

  /** Null: there is nothing to say before a host is set up (H36). */
  private describe(): Drawing | null {
    const found = this.current.current;
    const running = this.activity.title;
    if (running !== null) {
      return {
        text: `$(loading~spin) ${running}`,
        tooltip: [running, l10n.t('Select to show the log.')],
        command: 'forkpoint.showLog',
        pointer: null,
        background: null,
      };
    }
    const hostId = found.kind === 'known' ? found.choice.host : found.kind === 'onHost' ? found.host : null;
    const host = hostId === null ? undefined : this.fleet.host(hostId);
    const isInUse =
      host === undefined
        ? this.fleet.hosts.some(({ id }) => this.setUpHosts.has(id))
        : this.setUpHosts.has(host.id);
    if (!isInUse) return null;
    if (host === undefined) {
      return {
        text: `$(history) ${l10n.t('Choose a workspace')}`,
        tooltip: [
          l10n.t('Forkpoint does not know which workspace this window works on. Select to choose one.'),
        ],
        command: 'forkpoint.selectWorkspace',
        pointer: null,
        background: null,
      };
    }
    const name = found.kind === 'known' ? found.choice.name : host.id;
    if (host.state.kind !== 'connected') return describeConnection(host, name);
    if (host.needsPool) {
      return {
        text: `$(tools) ${name}`,
        tooltip: [l10n.t('"{0}" has no snapshot pool yet. Select to set it up.', host.id)],
        command: 'forkpoint.setUpHost',
        pointer: { pointsTo: { host: host.id } },
        background: 'statusBarItem.warningBackground',
      };
    }
    if (found.kind !== 'known') {
      return {
        text: `$(history) ${l10n.t('Choose a workspace')}`,
        tooltip: [l10n.t('"{0}" has several workspaces. Select to choose that of this window.', host.id)],
        command: 'forkpoint.selectWorkspace',
        pointer: { pointsTo: { host: host.id } },
        background: null,
      };
    }
    return this.describeWorkspace(host, found.choice);
  }

  private describeWorkspace(
    host: Host,
    choice: { readonly workspace: Parameters<Host['workspace']>[0]; readonly name: string },
  ): Drawing {
    const pointer: Pointer = { pointsTo: { host: host.id, workspace: choice.workspace } };
    const target = currentOf(host, choice.workspace);
    if (target === null) {
      return {
        text: `$(history) ${l10n.t('{0}: no snapshot', choice.name)}`,
        tooltip: [
          l10n.t('Workspace "{0}" on "{1}" has no snapshot yet. Select to take one.', choice.name, host.id),
        ],
        command: 'forkpoint.snapshotWorkspace',
        pointer,
        background: null,
      };
    }
    const age = ageText(l10n, target.createdAt, Date.now());
    return {
      text: `$(history) ${target.label} · ${age}`,
      tooltip: [
        l10n.t('Workspace "{0}" on "{1}"', choice.name, host.id),
        l10n.t('Current snapshot: {0}, {1}', target.label, age),
        l10n.t('Select to restore it. You are asked before anything is lost.'),
      ],
      command: 'forkpoint.restoreLast',
      pointer,
      background: null,
    };
  }
}

interface Drawing {
  readonly text: string;
  /** Plain paragraphs. */
  readonly tooltip: readonly string[];
  readonly command: CommandId;
  readonly pointer: Pointer | null;
  readonly background: string | null;
}

/**
 * The snapshot that the workspace would go back to. The workspace names its head, which a restore may have left on a
 * safety snapshot: then the list of snapshots, which knows the ancestors, decides (H31).
 */
function currentOf(
  host: Host,
  id: Parameters<Host['workspace']>[0],
): { readonly label: string; readonly createdAt: string } | null {
  const workspace = host.workspace(id);
  const timeline = host.timeline(id);
  if (timeline.kind === 'ready') {
    const current: SnapshotSummary | null = timeline.value.current;
    if (current !== null) return { label: snapshotLabel(current), createdAt: current.createdAt };
  }
  if (timeline.kind !== 'loading' || workspace?.head == null || workspace.headCreatedAt === null) return null;
  return { label: workspace.headAlias ?? workspace.head, createdAt: workspace.headCreatedAt };
}

function describeConnection(host: Host, name: string): Drawing {
  const pointer: Pointer = { pointsTo: { host: host.id } };
  switch (host.state.kind) {
    case 'connecting':
      return {
        text: `$(loading~spin) ${name}`,
        tooltip: [l10n.t('Connecting to "{0}"', host.id)],
        command: 'forkpoint.showLog',
        pointer: null,
        background: null,
      };
    case 'needsSetup':
      return {
        text: `$(tools) ${name}`,
        tooltip: [failureText(host.state.problem).message, l10n.t('Select to set the host up.')],
        command: 'forkpoint.setUpHost',
        pointer,
        background: 'statusBarItem.warningBackground',
      };
    case 'failed': {
      const text = failureText(host.state.problem);
      return {
        text: `$(error) ${l10n.t('{0}: not connected', name)}`,
        tooltip: [text.message, text.next, l10n.t('Select to connect.')].filter((line) => line !== ''),
        command: 'forkpoint.connect',
        pointer,
        background: 'statusBarItem.errorBackground',
      };
    }
    default:
      return {
        text: `$(debug-disconnect) ${l10n.t('{0}: not connected', name)}`,
        tooltip: [l10n.t('Select to connect to "{0}".', host.id)],
        command: 'forkpoint.connect',
        pointer,
        background: null,
      };
  }
}

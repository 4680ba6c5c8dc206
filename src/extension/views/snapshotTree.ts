import { env, EventEmitter, l10n, MarkdownString, window } from 'vscode';
import type { CancellationToken, Disposable, TreeDataProvider, TreeItem, TreeView } from 'vscode';
import type { SnapshotName, WorkspaceId } from '../../protocol/names.ts';
import type { Fleet } from '../model/fleet.ts';
import type { FleetChange } from '../model/fleet.ts';
import type { Host } from '../model/host.ts';
import type { Forwards } from '../ports/forwards.ts';
import { Nodes } from './nodes.ts';
import type { Node } from './nodes.ts';
import { OpenedRow } from './openedRow.ts';
import { drawRow } from './rows.ts';
import { ShownRows } from './shownRows.ts';
import { SnapshotDragAndDrop } from './snapshotDragAndDrop.ts';
import { snapshotTooltip } from './snapshotText.ts';

/** Ages in sight are drawn again that often; the host is not asked. */
const AGE_REFRESH_MS = 60_000;

/** The Snapshots view: hosts, their workspaces, and the timeline of each. */
export class SnapshotTree implements TreeDataProvider<Node>, Disposable {
  private readonly nodes: Nodes;
  private readonly rows: ShownRows;
  private readonly changeEmitter = new EventEmitter<Node | undefined>();
  private readonly view: TreeView<Node>;
  private readonly subscriptions: { dispose(): unknown }[];
  private readonly ages: NodeJS.Timeout;
  /** Rows that the user has folded: what happens on a host doesn't unfold them. */
  private readonly folded = new Set<string>();
  private drawing: NodeJS.Immediate | undefined;

  readonly opened = new OpenedRow(() => this.view.selection);
  readonly onDidChangeTreeData = this.changeEmitter.event;

  constructor(fleet: Fleet, forwards: Forwards) {
    this.nodes = new Nodes(fleet, forwards);
    this.rows = new ShownRows(
      this.nodes,
      (node) => JSON.stringify(drawRow(node, Date.now())),
      (id) => this.folded.has(id),
    );
    this.view = window.createTreeView('forkpoint.snapshots', {
      treeDataProvider: this,
      canSelectMany: true,
      showCollapseAll: true,
      dragAndDropController: new SnapshotDragAndDrop(),
    });
    this.subscriptions = [
      this.view,
      this.changeEmitter,
      fleet.onDidChange((change) => this.changed(change)),
      forwards.onDidChange(() => this.draw()),
      this.view.onDidChangeVisibility(({ visible }) => fleet.setShown(visible)),
      this.view.onDidCollapseElement(({ element }) => this.folded.add(element.id)),
      this.view.onDidExpandElement(({ element }) => this.folded.delete(element.id)),
    ];
    this.ages = setInterval(() => {
      if (this.view.visible) this.draw();
    }, AGE_REFRESH_MS);
    fleet.setShown(this.view.visible);
  }

  /** What is selected; commands from the keyboard start from it. */
  get selection(): readonly Node[] {
    return this.view.selection;
  }

  /** Whether a row may be in sight that the editor has forgotten: a command called on it is told of none. */
  get isRedrawing(): boolean {
    return this.rows.isAwaited;
  }

  getChildren(node?: Node): Node[] {
    return this.rows.children(node);
  }

  getParent(node: Node): Node | null {
    return node.parent;
  }

  getTreeItem(node: Node): TreeItem {
    return drawRow(node, Date.now());
  }

  /** The tooltip of a snapshot holds its capture report, which the host is asked for when it is wanted. */
  async resolveTreeItem(item: TreeItem, node: Node, token: CancellationToken): Promise<TreeItem> {
    if (node.kind !== 'snapshot') return item;
    const cancellation = new AbortController();
    const subscription = token.onCancellationRequested(() => cancellation.abort());
    try {
      const snapshot =
        node.host.state.kind === 'connected'
          ? await node.host.connection.request(
              'snapshots/show',
              { container: node.workspace.id, name: node.snapshot.name },
              { signal: cancellation.signal },
            )
          : node.snapshot;
      item.tooltip = this.tooltip(snapshot, node.isCurrent);
    } catch {
      // The row's own facts are true all the same; the report is told of by commands that fail.
      item.tooltip = this.tooltip(node.snapshot, node.isCurrent);
    } finally {
      subscription.dispose();
    }
    return item;
  }

  /** Shows more rows of a workspace. */
  showOlder(host: Host, workspace: WorkspaceId): void {
    this.nodes.showOlder(host, workspace);
    this.draw();
  }

  /** Scrolls to a snapshot, when the view is in sight; it isn't brought up for that. */
  async reveal(host: Host, workspace: WorkspaceId, name: SnapshotName): Promise<void> {
    if (!this.view.visible) return;
    const node = this.nodes.find(host, workspace, name);
    // What a restore took by itself is folded away, and stays so.
    if (node === undefined || node.parent.kind === 'safety' || this.isFolded(node)) return;
    // What is selected is what the next key meets: a snapshot that a schedule takes must not come in its place.
    await this.view.reveal(node, { select: false, focus: false });
  }

  /** Scrolls to a workspace and selects it, when the view is in sight. */
  async revealWorkspace(host: Host, workspace: WorkspaceId): Promise<void> {
    if (!this.view.visible) return;
    const node = this.nodes.findWorkspace(host, workspace);
    if (node !== undefined) await this.view.reveal(node, { select: true, focus: false });
  }

  dispose(): void {
    clearInterval(this.ages);
    clearImmediate(this.drawing);
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  private isFolded(node: Node): boolean {
    for (let at = node.parent; at !== null; at = at.parent) if (this.folded.has(at.id)) return true;
    return false;
  }

  private changed(change: FleetChange): void {
    this.draw();
    if (change.host === null || change.workspace === null || change.created === null) return;
    const { host, workspace, created } = change;
    // A row can't be revealed before the view has been told that it is there.
    setImmediate(() => void this.reveal(host, workspace, created).then(undefined, () => undefined));
  }

  /** Draws the rows again that look different, once for all changes of one turn. */
  private draw(): void {
    this.drawing ??= setImmediate(() => {
      this.drawing = undefined;
      for (const node of this.rows.takeChanged()) this.changeEmitter.fire(node);
    });
  }

  private tooltip(snapshot: Parameters<typeof snapshotTooltip>[1], isCurrent: boolean): MarkdownString {
    const markdown = new MarkdownString(snapshotTooltip(l10n, snapshot, isCurrent, Date.now(), env.language));
    markdown.isTrusted = false;
    markdown.supportHtml = false;
    return markdown;
  }
}

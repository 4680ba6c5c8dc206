import { commands, DataTransferItem, l10n, window } from 'vscode';
import type { DataTransfer, TreeDragAndDropController } from 'vscode';
import type { CommandId } from '../commands/registry.ts';
import type { Pointer } from '../commands/target.ts';
import type { Node, SnapshotNode } from './nodes.ts';
import { snapshotLabel } from './snapshotText.ts';

/** How a tree names what is dragged from it (`vscode.d.ts`, TreeDragAndDropController). */
const MIME_TYPE = 'application/vnd.code.tree.forkpoint.snapshots';

/**
 * A snapshot dropped onto its workspace is restored there; onto a project or host it is forked into that. The commands
 * behind both ask before they do anything.
 */
export class SnapshotDragAndDrop implements TreeDragAndDropController<Node> {
  readonly dragMimeTypes = [MIME_TYPE];
  readonly dropMimeTypes = [MIME_TYPE];

  handleDrag(source: readonly Node[], transfer: DataTransfer): void {
    const [node] = source;
    if (source.length === 1 && node?.kind === 'snapshot') transfer.set(MIME_TYPE, new DataTransferItem(node));
  }

  async handleDrop(target: Node | undefined, transfer: DataTransfer): Promise<void> {
    const source = sourceOf(transfer);
    if (source === undefined || target === undefined) return;
    if (target.host !== source.host) {
      void window.showInformationMessage(
        l10n.t(
          'A snapshot stays on its host: "{0}" is on "{1}".',
          snapshotLabel(source.snapshot),
          source.host.id,
        ),
      );
      return;
    }
    if (target.kind === 'project')
      await run('forkpoint.fork', { ...pointerTo(source), project: target.project });
    else if (target.kind === 'host') await run('forkpoint.fork', pointerTo(source));
    else if ('workspace' in target && target.workspace.id === source.workspace.id)
      await run('forkpoint.restore', pointerTo(source));
    else if ('workspace' in target) await offerFork(source, target.workspace.name);
  }
}

/** What is in another workspace is not replaced by a snapshot of this one. */
async function offerFork(source: SnapshotNode, other: string): Promise<void> {
  const fork = l10n.t('Fork…');
  const answer = await window.showInformationMessage(
    l10n.t(
      'Snapshot "{0}" is one of "{1}" and can\'t be restored into "{2}". A fork of it would be a workspace beside them.',
      snapshotLabel(source.snapshot),
      source.workspace.name,
      other,
    ),
    fork,
  );
  if (answer === fork) await run('forkpoint.fork', pointerTo(source));
}

function sourceOf(transfer: DataTransfer): SnapshotNode | undefined {
  // The editor hands over the very object, since drag and drop happen in one extension host.
  const value: unknown = transfer.get(MIME_TYPE)?.value;
  return isSnapshotNode(value) ? value : undefined;
}

function isSnapshotNode(value: unknown): value is SnapshotNode {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'snapshot';
}

function pointerTo({ host, workspace, snapshot }: SnapshotNode): Pointer {
  return { pointsTo: { host: host.id, workspace: workspace.id, snapshot: snapshot.name } };
}

async function run(command: CommandId, pointer: Pointer): Promise<void> {
  await commands.executeCommand(command, pointer);
}

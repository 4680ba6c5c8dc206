import { commands, l10n, window } from 'vscode';
import type { LogOutputChannel } from 'vscode';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { CurrentChoice, Memory } from '../model/currentChoice.ts';
import type { Disposable } from '../model/emitter.ts';
import type { Fleet } from '../model/fleet.ts';
import type { Host, WorkspaceRestored } from '../model/host.ts';
import { keepCopies, relateWindow, revertEditors, unsavedDocuments } from './editors.ts';
import type { RestoreNotice } from './restoreNotice.ts';

/** How long a window waits for the result of its own restore before it loads again without it. */
const RESULT_WAIT_MS = 5000;

const generationKey = (workspace: WorkspaceId) => `generation/${workspace}`;

/**
 * Brings this window in line with a restored workspace, whoever restored it: editors read their files again, or the
 * window loads again when its own remote side went back in time (H30).
 */
export class RestoredWindow implements Disposable {
  private readonly subscriptions: Disposable[];
  /** Restores that this window asked for and whose result isn't there yet. */
  private readonly ownRestores = new Map<WorkspaceId, Promise<void>>();

  constructor(
    fleet: Fleet,
    private readonly current: CurrentChoice,
    private readonly notice: RestoreNotice,
    private readonly memory: Memory,
    private readonly log: LogOutputChannel,
  ) {
    this.subscriptions = [
      fleet.onDidRestore((restored) => void this.follow(restored)),
      fleet.onDidChange((change) => {
        if (change.host !== null && change.workspace === null) this.compareGenerations(change.host);
      }),
    ];
  }

  /** Says that this window restores a workspace and tells of the result itself; `settled` must not reject. */
  expect(workspace: WorkspaceId, settled: Promise<void>): void {
    this.ownRestores.set(workspace, settled);
    void settled.then(() => this.ownRestores.delete(workspace));
  }

  dispose(): void {
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  /** What happened before this window was opened again shows in the count that it remembers. */
  private compareGenerations(host: Host): void {
    if (host.workspaces.kind !== 'ready') return;
    for (const workspace of host.workspaces.value) {
      const key = generationKey(workspace.id);
      const seen = this.memory.get(key);
      if (seen === workspace.generation) continue;
      if (typeof seen === 'number' && seen < workspace.generation) {
        void this.follow({ host, workspace: workspace.id, generation: workspace.generation });
      } else {
        void this.memory.update(key, workspace.generation);
      }
    }
  }

  private async follow({ host, workspace: id, generation }: WorkspaceRestored): Promise<void> {
    const seen = this.memory.get(generationKey(id));
    if (typeof seen === 'number' && seen >= generation) return;
    // Noted before the window loads again, so that it does so once.
    await this.memory.update(generationKey(id), generation);
    const workspace =
      host.workspace(id) ?? (await host.readyWorkspaces()).find((candidate) => candidate.id === id);
    if (workspace === undefined) return;
    const relation = relateWindow(this.current, host.id, workspace);
    const own = this.ownRestores.get(id);
    if (relation === null) return;
    this.log.info(
      `"${workspace.name}" on "${host.id}" was restored (generation ${String(generation)}): this window ${relation === 'inside' ? 'loads again' : 'reverts its editors'}`,
    );

    if (relation === 'files') {
      const unsaved = unsavedDocuments(this.current, host.id, workspace);
      await keepCopies(unsaved);
      await revertEditors(this.current, host.id, workspace);
      if (unsaved.length > 0) {
        void window.showWarningMessage(
          l10n.t(
            '"{0}" was restored while files had unsaved changes here. The files were read again; the unsaved text is in untitled editors.',
            workspace.name,
          ),
        );
      }
    }
    if (own === undefined) await this.tell(host, id, generation, relation === 'inside');
    else if (relation === 'inside')
      await Promise.race([own, new Promise((resolve) => setTimeout(resolve, RESULT_WAIT_MS))]);
    if (relation === 'inside') await commands.executeCommand('workbench.action.reloadWindow');
  }

  /** Tells of a restore that another client asked for. */
  private async tell(host: Host, id: WorkspaceId, generation: number, isKeptOnly: boolean): Promise<void> {
    await host.refresh();
    const workspace = host.workspace(id);
    if (workspace === undefined) return;
    const label = workspace.undo?.restored ?? workspace.headAlias ?? workspace.head;
    if (label === null) return;
    const result = {
      host: host.id,
      workspace: id,
      workspaceName: workspace.name,
      generation,
      label: label === workspace.head ? (workspace.headAlias ?? label) : label,
      at: Date.now(),
      times: null,
      isStateful: true,
      canUndo: workspace.undo !== null,
    };
    await (isKeptOnly ? this.notice.keep(result) : this.notice.announce(result));
  }
}

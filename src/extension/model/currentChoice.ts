import { findCurrentWorkspace } from './currentWorkspace.ts';
import type { CurrentWorkspace, KnownHost, WindowFolder, WorkspaceChoice } from './currentWorkspace.ts';
import { Emitter } from './emitter.ts';
import type { Disposable } from './emitter.ts';
import type { Fleet } from './fleet.ts';

/** Where a window keeps what it remembers; a `vscode.Memento` is one. */
export interface Memory {
  get(key: string): unknown;
  update(key: string, value: unknown): PromiseLike<void>;
}

const KEY = 'currentWorkspace';

/** The current workspace of this window: found without asking where that is possible, remembered when chosen. */
export class CurrentChoice implements Disposable {
  private readonly emitter = new Emitter<void>();
  private readonly subscription: Disposable;

  /** The current workspace, or what is known of it, may have changed. */
  readonly onDidChange = this.emitter.event;

  /**
   * @param memory that of the window's folder, never a setting: a repository must not choose the workspace (H33)
   */
  constructor(
    private readonly fleet: Fleet,
    private readonly memory: Memory,
    readonly folder: WindowFolder,
  ) {
    this.subscription = fleet.onDidChange(() => this.emitter.fire());
  }

  get current(): CurrentWorkspace {
    const hosts = this.fleet.hosts.map((host): KnownHost => ({
      id: host.id,
      workspaces: host.workspaces.kind === 'ready' ? host.workspaces.value : null,
    }));
    return findCurrentWorkspace(this.chosen, this.folder, hosts);
  }

  /** What the user chose for this window, if anything. */
  get chosen(): WorkspaceChoice | null {
    const value = this.memory.get(KEY);
    return isChoice(value) ? value : null;
  }

  async choose(choice: WorkspaceChoice): Promise<void> {
    await this.memory.update(KEY, choice);
    this.emitter.fire();
  }

  dispose(): void {
    this.subscription.dispose();
    this.emitter.dispose();
  }
}

function isChoice(value: unknown): value is WorkspaceChoice {
  return (
    typeof value === 'object' &&
    value !== null &&
    'host' in value &&
    typeof value.host === 'string' &&
    'workspace' in value &&
    typeof value.workspace === 'string' &&
    'name' in value &&
    typeof value.name === 'string'
  );
}

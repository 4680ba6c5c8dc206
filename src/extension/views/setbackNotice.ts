import type { WorkspaceId } from '../../protocol/names.ts';
import { ForkpointError } from '../../protocol/errors.ts';
import type { CurrentChoice, Memory } from '../model/currentChoice.ts';
import type { Disposable } from '../model/emitter.ts';
import type { Fleet } from '../model/fleet.ts';
import type { Host } from '../model/host.ts';
import { showFailure } from './failures.ts';

const toldKey = (workspace: WorkspaceId) => `setback/${workspace}`;

/** Tells once, in each window whose current workspace it is, what went wrong with it while nobody waited for an answer. */
export class SetbackNotice implements Disposable {
  private readonly subscription: Disposable;

  constructor(
    fleet: Fleet,
    private readonly current: CurrentChoice,
    private readonly memory: Memory,
  ) {
    this.subscription = fleet.onDidChange((change) => {
      if (change.host !== null && change.workspace === null) this.tell(change.host);
    });
  }

  dispose(): void {
    this.subscription.dispose();
  }

  private tell(host: Host): void {
    const { current } = this.current;
    if (current.kind !== 'known' || current.choice.host !== host.id) return;
    const { workspace } = current.choice;
    const setback = host.workspace(workspace)?.setback ?? null;
    if (setback === null || this.memory.get(toldKey(workspace)) === setback.at) return;
    void this.memory.update(toldKey(workspace), setback.at);
    showFailure(ForkpointError.from(setback), { host: host.id, workspace });
  }
}

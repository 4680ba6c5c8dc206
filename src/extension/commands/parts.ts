import type { LogOutputChannel } from 'vscode';
import type { CurrentChoice } from '../model/currentChoice.ts';
import type { Fleet } from '../model/fleet.ts';
import type { Settings } from '../model/settings.ts';
import type { Forwards } from '../ports/forwards.ts';
import type { SshAccessFiles } from '../ssh/sshAccess.ts';
import type { Terminals } from '../terminals/terminals.ts';
import type { Operations } from '../views/operations.ts';
import type { RestoredWindow } from '../views/restoredWindow.ts';
import type { RestoreNotice } from '../views/restoreNotice.ts';
import type { SnapshotTree } from '../views/snapshotTree.ts';

/** What commands are built from. */
export interface Parts {
  readonly fleet: Fleet;
  readonly current: CurrentChoice;
  readonly settings: Settings;
  readonly operations: Operations;
  readonly tree: SnapshotTree;
  readonly notice: RestoreNotice;
  readonly restoredWindow: RestoredWindow;
  readonly terminals: Terminals;
  readonly forwards: Forwards;
  readonly sshAccess: SshAccessFiles;
  readonly log: LogOutputChannel;
  /** Names of hosts in the user's SSH configuration. */
  readonly listAliases: () => Promise<readonly string[]>;
}

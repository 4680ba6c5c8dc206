import { showForgottenRow } from '../views/failures.ts';
import { addHost } from './addHost.ts';
import { connect } from './connect.ts';
import { copyName } from './copyName.ts';
import { copySshCommand } from './copySshCommand.ts';
import { deleteSnapshots } from './deleteSnapshots.ts';
import { disconnect } from './disconnect.ts';
import { dropFork } from './dropFork.ts';
import { editNote } from './editNote.ts';
import { fork } from './fork.ts';
import { newWorkspace } from './newWorkspace.ts';
import { forwardPort, openPort, stopForwarding } from './forwardPort.ts';
import { openInNewWindow } from './openInNewWindow.ts';
import { openRow } from './openRow.ts';
import { openTerminal } from './openTerminal.ts';
import type { Parts } from './parts.ts';
import { promoteFork } from './promoteFork.ts';
import { protect } from './protect.ts';
import { refresh } from './refresh.ts';
import type { CommandHandler, CommandHandlers } from './registry.ts';
import { removeHost } from './removeHost.ts';
import { renameAlias } from './renameAlias.ts';
import { restore } from './restore.ts';
import { restoreLast } from './restoreLast.ts';
import { selectWorkspace } from './selectWorkspace.ts';
import { setExpiry } from './setExpiry.ts';
import { setProject } from './setProject.ts';
import { setUpHost } from './setUpHost.ts';
import { showLog } from './showLog.ts';
import { showOlder } from './showOlder.ts';
import { snapshotBeforeAiEdit } from './snapshotBeforeAiEdit.ts';
import { snapshotWorkspace } from './snapshotWorkspace.ts';
import { startWorkspace } from './startWorkspace.ts';
import { stopWorkspace } from './stopWorkspace.ts';
import { undoRestore } from './undoRestore.ts';
import { isForkRow } from './target.ts';
import { unprotect } from './unprotect.ts';

/** What each command does. */
export function createHandlers(parts: Parts): CommandHandlers {
  return {
    'forkpoint.snapshotWorkspace': snapshotWorkspace(parts),
    'forkpoint.snapshotBeforeAiEdit': snapshotBeforeAiEdit(parts),
    'forkpoint.restore': restore(parts),
    'forkpoint.restoreLast': restoreLast(parts),
    'forkpoint.undoRestore': undoRestore(parts),
    'forkpoint.fork': fork(parts),
    'forkpoint.promoteFork': promoteFork(parts),
    'forkpoint.dropFork': dropFork(parts),
    'forkpoint.setProject': setProject(parts),
    'forkpoint.deleteSnapshots': onSelection(parts, deleteSelected(parts)),
    'forkpoint.renameAlias': onSelection(parts, renameAlias(parts)),
    'forkpoint.editNote': editNote(parts),
    'forkpoint.setExpiry': setExpiry(parts),
    'forkpoint.protect': protect(parts),
    'forkpoint.unprotect': unprotect(parts),
    'forkpoint.copyName': copyName(parts),
    'forkpoint.openRow': openRow(parts),
    'forkpoint.showOlder': showOlder(parts),
    'forkpoint.startWorkspace': startWorkspace(parts),
    'forkpoint.stopWorkspace': stopWorkspace(parts),
    'forkpoint.newWorkspace': newWorkspace(parts),
    'forkpoint.openTerminal': openTerminal(parts),
    'forkpoint.forwardPort': forwardPort(parts),
    'forkpoint.openPort': openPort(parts),
    'forkpoint.stopForwarding': stopForwarding(parts),
    'forkpoint.openInNewWindow': openInNewWindow(parts),
    'forkpoint.copySshCommand': copySshCommand(parts),
    'forkpoint.selectWorkspace': selectWorkspace(parts),
    'forkpoint.addHost': addHost(parts),
    'forkpoint.removeHost': removeHost(parts),
    'forkpoint.connect': connect(parts),
    'forkpoint.disconnect': disconnect(parts),
    'forkpoint.setUpHost': setUpHost(parts),
    'forkpoint.refresh': refresh(parts),
    'forkpoint.showLog': showLog(parts),
  };
}

/** The key that deletes drops a fork where one is selected. */
function deleteSelected(parts: Parts): CommandHandler {
  const [drop, deletes] = [dropFork(parts), deleteSnapshots(parts)];
  return (target, selection) => (isForkRow(target) ? drop(target) : deletes(target, selection));
}

/** A key in the view passes no row: what is selected there is meant. The manifest says so with the key's arguments. */
function onSelection({ tree }: Parts, handler: CommandHandler): CommandHandler {
  return async (target, selection) => {
    const isKey = typeof target === 'object' && target !== null && 'fromSelection' in target;
    if (!isKey) await handler(target, selection);
    // Rows that the editor has forgotten are missing in the selection.
    else if (tree.isRedrawing) showForgottenRow();
    else await handler(tree.selection[0], tree.selection);
  };
}

import type { ErrorArguments, ErrorCode } from '../../protocol/errors.ts';
import { hostText } from '../hosts/hostText.ts';
import type { HostProblemCode } from '../hosts/problems.ts';
import { sizeText } from './measures.ts';
import type { Translator } from './translator.ts';

/** What can be done about a failure with one button. */
export type Fix =
  'setUpHost' | 'connect' | 'showLog' | 'deleteSnapshots' | 'unprotect' | 'startWorkspace' | 'undoRestore';

/** A failure as the user reads it. */
export interface FailureText {
  /** What happened, and what that means for the user's data. */
  readonly message: string;
  /** What to do next; may be empty. */
  readonly next: string;
  /** The fix that is offered as a button; "Show Log" is offered always. */
  readonly fix: Fix;
}

type Texts<Code extends string> = Record<
  Code,
  (l10n: Translator, args: Record<string, string>) => FailureText
>;

/** The editor's text of each failure of an operation. */
const operationTexts: Texts<ErrorCode> = {
  'request.invalid': (l10n, args) => ({
    message: l10n.t("The request can't be understood: {problem}. Nothing was changed.", args),
    next: l10n.t('The log tells which request it was.'),
    fix: 'showLog',
  }),
  'request.keyReused': (l10n, args) => ({
    message: l10n.t('The idempotency key belongs to another request. Nothing was changed.', args),
    next: l10n.t('Try again.'),
    fix: 'showLog',
  }),
  'name.invalid': (l10n, args) => ({
    message: l10n.t('"{name}" can\'t be used as a name. Nothing was changed.', args),
    next: l10n.t('Use 1 to 64 letters, digits, ".", "_" or "-", and don\'t begin with "-" or ".".'),
    fix: 'showLog',
  }),
  'workspace.notFound': (l10n, args) => ({
    message: l10n.t('There is no workspace "{workspace}" on this host.', args),
    next: l10n.t('It may have been deleted elsewhere: refresh the Snapshots view.'),
    fix: 'showLog',
  }),
  'workspace.exists': (l10n, args) => ({
    message: l10n.t('A workspace called "{name}" exists already. Nothing was changed.', args),
    next: l10n.t('Choose another name.'),
    fix: 'showLog',
  }),
  'workspace.hasSnapshots': (l10n, args) => ({
    message: l10n.t(
      'Workspace "{workspace}" has {count} snapshots, which would be deleted with it. Nothing was deleted.',
      args,
    ),
    next: l10n.t('Delete its snapshots first.'),
    fix: 'deleteSnapshots',
  }),
  'workspace.notStopped': (l10n, args) => ({
    message: l10n.t(
      'Workspace "{workspace}" could not be stopped. Its files and snapshots are as they were.',
      args,
    ),
    next: l10n.t('The log shows what the container engine said.'),
    fix: 'showLog',
  }),
  'workspace.startFailed': (l10n, args) => ({
    message: l10n.t(
      'Workspace "{workspace}" could not be started. Its files and snapshots are as they were.',
      args,
    ),
    next: l10n.t('The log shows what the container engine said.'),
    fix: 'showLog',
  }),
  'workspace.notRunning': (l10n, args) => ({
    message: l10n.t('Workspace "{workspace}" is not running.', args),
    next: l10n.t('Start it first.'),
    fix: 'startWorkspace',
  }),
  'workspace.isRestoredAgain': (l10n, args) => ({
    message: l10n.t(
      'The memory of workspace "{workspace}" could not be read in full after its last restore, so that is being made again. Nothing else was changed.',
      args,
    ),
    next: l10n.t('Try again in a moment.'),
    fix: 'showLog',
  }),
  'port.unreachable': (l10n, args) => ({
    message: l10n.t('Nothing takes connections on port {port} of workspace "{workspace}" ({reason}).', args),
    next: l10n.t('Start the program that should listen there.'),
    fix: 'showLog',
  }),
  'terminal.failed': (l10n, args) => ({
    message: l10n.t('No terminal could be opened in workspace "{workspace}".', args),
    next: l10n.t('The log says why. A workspace needs a shell, /bin/sh at least.'),
    fix: 'showLog',
  }),
  'ssh.serverMissing': (l10n, args) => ({
    message: l10n.t('Workspace "{workspace}" has no SSH server. Nothing was changed.', args),
    next: l10n.t('Install one inside: {install}.', args),
    fix: 'showLog',
  }),
  'ssh.failed': (l10n, args) => ({
    message: l10n.t('The SSH server of workspace "{workspace}" could not be started.', args),
    next: l10n.t('The log says why.'),
    fix: 'showLog',
  }),
  'workspace.createFailed': (l10n, args) => ({
    message: l10n.t('Workspace "{name}" could not be created; what had been made of it was removed.', args),
    next: l10n.t('The log shows which step failed.'),
    fix: 'showLog',
  }),
  'workspace.forkFailed': (l10n, args) => ({
    message: l10n.t(
      'The fork "{name}" of "{workspace}" could not be made; what had been made of it was removed. The original was not touched.',
      args,
    ),
    next: l10n.t('The log tells which step failed. A cold fork begins from the files alone.'),
    fix: 'showLog',
  }),
  'workspace.isNoFork': (l10n, args) => ({
    message: l10n.t(
      '"{workspace}" can\'t take the place of another workspace: {problem}. Nothing was changed.',
      args,
    ),
    next: l10n.t('Choose a fork whose original is still there.'),
    fix: 'showLog',
  }),
  'source.invalid': (l10n, args) => ({
    message: l10n.t('"{source}" can\'t be the files of a workspace: {problem}. Nothing was created.', args),
    next: l10n.t("Give a directory or tar archive of the host, or an image in Podman's local storage."),
    fix: 'showLog',
  }),
  'port.taken': (l10n, args) => ({
    message: l10n.t('Port {port} is in use on this host. Nothing was created.', args),
    next: l10n.t('Publish another host port.'),
    fix: 'showLog',
  }),
  'snapshot.notFound': (l10n, args) => ({
    message: l10n.t('Workspace "{workspace}" has no snapshot "{name}".', args),
    next: l10n.t('It may have expired or been deleted elsewhere: refresh the Snapshots view.'),
    fix: 'showLog',
  }),
  'snapshot.protected': (l10n, args) => ({
    message: l10n.t('Snapshot "{name}" is protected. It was not deleted.', args),
    next: l10n.t('Remove the protection first.'),
    fix: 'unprotect',
  }),
  'snapshot.damaged': (l10n, args) => ({
    message: l10n.t('Snapshot "{name}" is damaged: {problem}. The workspace was not touched.', args),
    next: l10n.t('Choose another snapshot.'),
    fix: 'showLog',
  }),
  'snapshot.memoryDamaged': (l10n, args) => ({
    message: l10n.t(
      'The memory of snapshot "{name}" is damaged: {problem}. The workspace was not touched.',
      args,
    ),
    next: l10n.t('Its files are kept apart: the workspace can be started from them.'),
    fix: 'showLog',
  }),
  'fsck.busy': (l10n, args) => ({
    message: l10n.t('The helper is at work: {reason}. Nothing was repaired.', args),
    next: l10n.t('Try again when that has ended.'),
    fix: 'showLog',
  }),
  'snapshot.incompatible': (l10n, args) => ({
    message: l10n.t(
      'The processes of snapshot "{name}" can\'t be woken on this host: {problem}. The workspace was not touched.',
      args,
    ),
    next: l10n.t('Its files are whole: the workspace can be started from them.'),
    fix: 'showLog',
  }),
  'snapshot.inUse': (l10n, args) => ({
    message: l10n.t('Snapshot "{name}" is in use: {reason}. It was not deleted.', args),
    next: l10n.t('Try again in a moment.'),
    fix: 'showLog',
  }),
  'alias.taken': (l10n, args) => ({
    message: l10n.t('The alias "{alias}" belongs to snapshot "{name}" already. Nothing was changed.', args),
    next: l10n.t('Choose another alias, or clear that one first.'),
    fix: 'showLog',
  }),
  'checkpoint.impossible': (l10n, args) => ({
    message: l10n.t(
      'The processes of "{workspace}" can\'t be kept: {reason}. No snapshot was taken; the workspace was left as it is.',
      args,
    ),
    next: l10n.t('Keep the files alone, or end the process that is in the way.'),
    fix: 'showLog',
  }),
  'checkpoint.torn': (l10n, args) => ({
    message: l10n.t(
      'The snapshot of "{workspace}" was given up: {reason}. It was discarded; the workspace runs on.',
      args,
    ),
    next: l10n.t('Try again; the log tells more.'),
    fix: 'showLog',
  }),
  'safety.choiceNeeded': (l10n, args) => ({
    message: l10n.t(
      'Before restoring, the processes of "{workspace}" would not be kept: {reason}. Nothing was touched.',
      args,
    ),
    next: l10n.t('Restore again and choose what to keep.'),
    fix: 'showLog',
  }),
  'restore.rolledBack': (l10n, args) => ({
    message: l10n.t(
      'Restoring "{workspace}" to "{name}" failed at the step "{step}". The workspace was put back to where it was before.',
      args,
    ),
    next: l10n.t('The log shows what failed.'),
    fix: 'showLog',
  }),
  'restore.stopped': (l10n, args) => ({
    message: l10n.t(
      'Restoring "{workspace}" to "{name}" failed at the step "{step}", and its processes could not be brought back. Its files are as before the restore. Safety snapshot: {safety}.',
      args,
    ),
    next: l10n.t('Start the workspace, or restore the safety snapshot.'),
    fix: 'startWorkspace',
  }),
  'restore.halfway': (l10n, args) => ({
    message: l10n.t(
      'Restoring "{workspace}" to "{name}" failed at the step "{step}", and so did the way back: its files may be those of "{name}", in part or all of them. The state before is kept: {kept}.',
      args,
    ),
    next: l10n.t(
      'Stop the workspace, mend what the log names, and restore the state before; what is in lost+found can be copied back.',
    ),
    fix: 'showLog',
  }),
  'restore.memoryLost': (l10n, args) => ({
    message: l10n.t(
      'The memory of snapshot "{name}" could not be read in full after "{workspace}" had been woken from it, so its processes were ended, and restoring it once more failed, too. Its files are as the processes left them. Safety snapshot: {safety}.',
      args,
    ),
    ...(args['safety'] === 'none'
      ? {
          next: l10n.t('Start the workspace unless it runs, or restore the files of the snapshot alone.'),
          fix: 'startWorkspace',
        }
      : {
          next: l10n.t(
            'Undo the restore, restore the files of the snapshot alone, or start the workspace unless it runs.',
          ),
          fix: 'undoRestore',
        }),
  }),
  'undo.nothing': (l10n, args) => ({
    message: l10n.t('There is no restore of "{workspace}" to undo.', args),
    next: l10n.t('Only the last restore can be undone, while its safety snapshot exists.'),
    fix: 'showLog',
  }),
  'pool.full': (l10n, args) => ({
    message: l10n.t(
      'The pool has {freeBytes} free and {neededBytes} are needed. Nothing was frozen or changed.',
      args,
    ),
    next: l10n.t('Delete snapshots, or let older ones expire sooner.'),
    fix: 'deleteSnapshots',
  }),
  'pool.missing': (l10n, args) => ({
    message: l10n.t('The snapshot pool is not mounted at {path}. Nothing was changed.', args),
    next: l10n.t('Set the host up, or mount the pool.'),
    fix: 'setUpHost',
  }),
  'pool.foreign': (l10n, args) => ({
    message: l10n.t(
      'The file system at {path} is not the pool that this host was set up with. Nothing was changed.',
      args,
    ),
    next: l10n.t('Mount the right one; its UUID is {uuid}.', args),
    fix: 'showLog',
  }),
  'pool.exists': (l10n, args) => ({
    message: l10n.t('This host has a pool at {path} already. Nothing was changed.', args),
    next: l10n.t('Use it as it is.'),
    fix: 'showLog',
  }),
  'disk.full': (l10n, args) => ({
    message: l10n.t(
      'There are {freeBytes} free for "{path}" and {neededBytes} are needed. Nothing was changed.',
      args,
    ),
    next: l10n.t('Free some space, or choose a smaller size.'),
    fix: 'setUpHost',
  }),
  'api.notListening': (l10n, args) => ({
    message: l10n.t('The HTTP API can\'t be served at "{listen}": {problem}. Nothing was changed.', args),
    next: l10n.t('Choose a loopback address or a unix socket; another address needs a certificate.'),
    fix: 'showLog',
  }),
  'api.unauthorized': (l10n, args) => ({
    message: l10n.t(
      'There is no valid token with the request: it is missing, unknown, revoked or expired. Nothing was changed.',
      args,
    ),
    next: l10n.t('Make another token on the host.'),
    fix: 'showLog',
  }),
  'api.forbidden': (l10n, args) => ({
    message: l10n.t('The token does not allow this: {problem}. Nothing was changed.', args),
    next: l10n.t('Make another token on the host.'),
    fix: 'showLog',
  }),
  'api.tooManyRequests': (l10n, args) => ({
    message: l10n.t('Too many requests. Nothing was changed.', args),
    next: l10n.t('Try again in {seconds} s.', args),
    fix: 'showLog',
  }),
  'api.jobNotFound': (l10n, args) => ({
    message: l10n.t('There is no job "{job}" of this token.', args),
    next: l10n.t('Jobs are kept for an hour after their end.'),
    fix: 'showLog',
  }),
  'api.tokenNotFound': (l10n, args) => ({
    message: l10n.t('There is no token "{token}". Nothing was changed.', args),
    next: l10n.t('It may have been revoked elsewhere.'),
    fix: 'showLog',
  }),
  'host.nodeUnfit': (l10n, args) => ({
    message: l10n.t(
      'The helper can\'t be run by the Node.js at "{path}": {problem}. Nothing was installed.',
      args,
    ),
    next: l10n.t('Install Node.js 18.19 or later for the whole host: sudo apt-get install nodejs'),
    fix: 'setUpHost',
  }),
  'host.needsRoot': (l10n) => ({
    message: l10n.t('The helper on the host does not run as root. Nothing was changed.'),
    next: l10n.t('Set the host up again.'),
    fix: 'setUpHost',
  }),
  'host.toolMissing': (l10n, args) => ({
    message: l10n.t('"{tool}" is missing on this host. Nothing was changed.', args),
    next: l10n.t('Install it on the host: {install}.', args),
    fix: 'showLog',
  }),
  'command.failed': (l10n, args) => ({
    message: l10n.t('The command "{command}" failed on the host ({status}).', args),
    next: l10n.t('The log shows its last lines.'),
    fix: 'showLog',
  }),
  'operation.cancelled': (l10n) => ({
    message: l10n.t('Cancelled. Everything is as it was before.'),
    next: '',
    fix: 'showLog',
  }),
  'operation.timedOut': (l10n, args) => ({
    message: l10n.t('"{operation}" was ended after {minutes} minutes. Everything is as it was before.', args),
    next: l10n.t('The log shows what it was waiting for.'),
    fix: 'showLog',
  }),
  'operation.interrupted': (l10n, args) => ({
    message: l10n.t(
      'The helper on the host ended during "{operation}". On its next start it finishes or undoes what was under way.',
      args,
    ),
    next: l10n.t('Connect again and look at the workspace.'),
    fix: 'connect',
  }),
  'daemon.unreachable': (l10n, args) => ({
    message: l10n.t('The helper on the host does not answer: {problem}.', args),
    next: l10n.t('What was under way on the host goes on there. Connect again.'),
    fix: 'connect',
  }),
  'daemon.incompatible': (l10n, args) => ({
    message: l10n.t(
      'The helper on the host speaks protocol {theirs}, this version of Forkpoint speaks {ours}. Nothing was changed.',
      args,
    ),
    next: l10n.t('Update the older of the two.'),
    fix: 'setUpHost',
  }),
  internal: (l10n, args) => ({
    message: l10n.t('Something went wrong inside Forkpoint: {problem}.', args),
    next: l10n.t('Please report it with the end of the log.'),
    fix: 'showLog',
  }),
};

/** The editor's text of each failure to connect. */
const connectionTexts: Texts<HostProblemCode> = {
  cancelled: (l10n, args) => ({
    message: l10n.t('Connecting to "{host}" was cancelled.', args),
    next: '',
    fix: 'connect',
  }),
  needsGesture: (l10n, args) => ({
    message: l10n.t('Connecting to "{host}" needs an answer from you: {need}.', args),
    next: l10n.t('Connect the host; you are asked then.'),
    fix: 'connect',
  }),
  configurationInvalid: (l10n, args) => ({
    message: l10n.t('The SSH configuration of "{host}" can\'t be used: {problem}.', args),
    next: l10n.t('Check the name of the host, and that "ssh -G {host}" works in a terminal.', args),
    fix: 'showLog',
  }),
  sshClientMissing: (l10n, args) => ({
    message: l10n.t(
      'The configuration of "{host}" needs the OpenSSH client ({reason}), which was not found.',
      args,
    ),
    next: l10n.t('Install OpenSSH, so that "ssh -V" works in a terminal.'),
    fix: 'showLog',
  }),
  unreachable: (l10n, args) => ({
    message: l10n.t('"{host}" can\'t be reached: {problem}.', args),
    next: l10n.t('Check the network, and that "ssh {host}" works in a terminal.', args),
    fix: 'connect',
  }),
  connectionLost: (l10n, args) => ({
    message: l10n.t('The connection to "{host}" was lost: {problem}.', args),
    next: l10n.t('It is tried again by itself. What was under way on the host goes on there.'),
    fix: 'connect',
  }),
  hostKeyChanged: (l10n, args) => ({
    message: l10n.t(
      'The host key of "{host}" is not the one that is on record, so nothing was sent to it. Either the machine was set up anew, or someone is in between.',
      args,
    ),
    next: l10n.t(
      'Ask who runs the machine whether {keyType} {fingerprint} is its key. If so, remove the old one with: ssh-keygen -R {knownAs} -f {file}',
      args,
    ),
    fix: 'showLog',
  }),
  hostKeyRevoked: (l10n, args) => ({
    message: l10n.t('The host key of "{host}" is marked as revoked, so nothing was sent to it.', args),
    next: l10n.t('Ask who runs the machine. The mark is in {file}.', args),
    fix: 'showLog',
  }),
  hostKeyRefused: (l10n, args) => ({
    message: l10n.t(
      'The host key of "{host}" ({keyType} {fingerprint}) is unknown and was not accepted.',
      args,
    ),
    next: l10n.t("Compare it with the machine's own and connect again."),
    fix: 'connect',
  }),
  authenticationFailed: (l10n, args) => ({
    message: l10n.t('"{host}" let nobody in as "{user}". Tried: {tried}.', args),
    next: l10n.t('Check the user name and the keys, and that "ssh {host}" works in a terminal.', args),
    fix: 'connect',
  }),
  sudoMissing: (l10n, args) => ({
    message: l10n.t('There is no sudo on "{host}", and "{user}" is not root.', args),
    next: l10n.t('Install it as root (apt-get install sudo), or connect as root.'),
    fix: 'showLog',
  }),
  sudoDenied: (l10n, args) => ({
    message: l10n.t('sudo on "{host}" does not let "{user}" run the helper.', args),
    next: l10n.t(
      'The helper works as root. Ask who runs the machine for a sudo rule for /usr/local/bin/forkpoint.',
    ),
    fix: 'showLog',
  }),
  sudoPasswordWrong: (l10n, args) => ({
    message: l10n.t('sudo on "{host}" refused the password of "{user}".', args),
    next: l10n.t('Connect again and give the password that sudo takes in a terminal.'),
    fix: 'connect',
  }),
  nodeMissing: (l10n, args) => ({
    message: l10n.t('"{host}" has no Node.js, which the helper needs.', args),
    next: l10n.t(
      'Install version {minimum} or newer on the host, on Debian and Ubuntu with: sudo apt-get install nodejs',
      args,
    ),
    fix: 'connect',
  }),
  nodeTooOld: (l10n, args) => ({
    message: l10n.t('"{host}" has Node.js {version}; the helper needs {minimum} or newer.', args),
    next: l10n.t('Install a newer one on the host, as /usr/bin/node or /usr/local/bin/node.'),
    fix: 'connect',
  }),
  nodeUntrusted: (l10n, args) => ({
    message: l10n.t('{path} on "{host}" can be changed by others than root, so it is not run as root.', args),
    next: l10n.t(
      'Install Node.js from the distribution (apt-get install nodejs), or give the file and its directory to root.',
    ),
    fix: 'connect',
  }),
  helperNotInstalled: (l10n, args) => ({
    message: l10n.t('The helper is not installed on "{host}".', args),
    next: l10n.t('Set the host up to install it.'),
    fix: 'setUpHost',
  }),
  helperOlder: (l10n, args) => ({
    message: l10n.t('The helper on "{host}" is too old for this version of Forkpoint.', args),
    next: l10n.t('Set the host up to update it.'),
    fix: 'setUpHost',
  }),
  helperFailed: (l10n, args) => ({
    message: l10n.t('The helper on "{host}" did not start: {problem}.', args),
    next: l10n.t('The log shows what it said. "sudo forkpoint logs" on the host shows its last words.'),
    fix: 'setUpHost',
  }),
  installFailed: (l10n, args) => ({
    message: l10n.t('The helper could not be installed on "{host}": {problem}.', args),
    next: l10n.t('The log shows what the host said.'),
    fix: 'setUpHost',
  }),
  incompatible: (l10n, args) => ({
    message: l10n.t(
      'The helper on "{host}" speaks protocol {theirs}, this version of Forkpoint speaks {ours}.',
      args,
    ),
    next: l10n.t('Update Forkpoint.'),
    fix: 'showLog',
  }),
};

/** The text of a failed operation. Arguments may come from a host or container. */
export function operationFailureText(l10n: Translator, code: ErrorCode, args: ErrorArguments): FailureText {
  return operationTexts[code](l10n, readable(args));
}

/** The text of a failure to connect. */
export function connectionFailureText(
  l10n: Translator,
  code: HostProblemCode,
  args: Readonly<Record<string, string>>,
): FailureText {
  return connectionTexts[code](l10n, readable(args));
}

function readable(args: ErrorArguments): Record<string, string> {
  return Object.fromEntries(
    Object.entries(args).map(([name, value]) => [
      name,
      typeof value === 'number' && /bytes$/i.test(name) ? sizeText(value) : hostText(String(value)),
    ]),
  );
}

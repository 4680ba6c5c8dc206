import * as z from 'zod';

/**
 * Every way an operation can fail. A failure travels as its code, named arguments and detail; each door
 * has its own text for the code: the command line {@link describeError}, the editor a literal `l10n.t(…)`.
 * A text says what happened, what it means for the user's data, and the hint what to do next.
 */
export const errorTexts = {
  'request.invalid': {
    text: "The request can't be understood: {problem}. Nothing was changed.",
    hint: 'See "forkpoint --help" for what each command takes.',
  },
  'request.keyReused': {
    text: 'The idempotency key belongs to another request. Nothing was changed.',
    hint: 'Give each request a key of its own; repeat a request with the same key and the same body.',
  },
  'name.invalid': {
    text: '"{name}" can\'t be used as a name. Nothing was changed.',
    hint: 'Use 1 to 64 letters, digits, ".", "_" or "-", and don\'t begin with "-" or ".".',
  },
  'workspace.notFound': {
    text: 'There is no workspace "{workspace}" on this host.',
    hint: '"forkpoint containers list" shows the workspaces.',
  },
  'workspace.exists': {
    text: 'A workspace called "{name}" exists already. Nothing was changed.',
    hint: 'Choose another name.',
  },
  'workspace.hasSnapshots': {
    text: 'Workspace "{workspace}" has {count} snapshots, which would be deleted with it. Nothing was deleted.',
    hint: 'Add --with-snapshots to delete them too.',
  },
  'workspace.notStopped': {
    text: 'Workspace "{workspace}" could not be stopped. Its files and snapshots are as they were.',
    hint: '"forkpoint logs" shows what the container engine said.',
  },
  'workspace.startFailed': {
    text: 'Workspace "{workspace}" could not be started. Its files and snapshots are as they were.',
    hint: '"forkpoint logs" shows what the container engine said.',
  },
  'workspace.notRunning': {
    text: 'Workspace "{workspace}" is not running.',
    hint: 'Start it: "forkpoint containers start -c {workspace}".',
  },
  'workspace.isRestoredAgain': {
    text: 'The memory of workspace "{workspace}" could not be read in full after its last restore, so that is being made again. Nothing else was changed.',
    hint: 'Try again in a moment.',
  },
  'port.unreachable': {
    text: 'Nothing takes connections on port {port} of workspace "{workspace}" ({reason}).',
    hint: '"forkpoint ports list -c {workspace}" shows what listens there.',
  },
  'terminal.failed': {
    text: 'No terminal could be opened in workspace "{workspace}".',
    hint: 'The detail says why. A workspace needs a shell, /bin/sh at least.',
  },
  'ssh.serverMissing': {
    text: 'Workspace "{workspace}" has no SSH server. Nothing was changed.',
    hint: 'Install one inside: {install}.',
  },
  'ssh.failed': {
    text: 'The SSH server of workspace "{workspace}" could not be started.',
    hint: 'The detail says why.',
  },
  'workspace.createFailed': {
    text: 'Workspace "{name}" could not be created; what had been made of it was removed.',
    hint: 'The detail says which step failed.',
  },
  'workspace.forkFailed': {
    text: 'The fork "{name}" of "{workspace}" could not be made; what had been made of it was removed. The original was not touched.',
    hint: 'The detail says which step failed; --cold forks the files alone.',
  },
  'workspace.isNoFork': {
    text: '"{workspace}" can\'t take the place of another workspace: {problem}. Nothing was changed.',
    hint: '"forkpoint containers list" shows which workspaces are forks, and of what.',
  },
  'source.invalid': {
    text: '"{source}" can\'t be the files of a workspace: {problem}. Nothing was created.',
    hint: "Give a directory or tar archive with --rootfs, or an image in Podman's local storage with --image.",
  },
  'port.taken': {
    text: 'Port {port} is in use on this host. Nothing was created.',
    hint: 'Publish another host port.',
  },
  'snapshot.notFound': {
    text: 'Workspace "{workspace}" has no snapshot "{name}".',
    hint: '"forkpoint snapshots list -c {workspace}" shows names and aliases.',
  },
  'snapshot.protected': {
    text: 'Snapshot "{name}" is protected. It was not deleted.',
    hint: 'Remove the protection first: "forkpoint snapshots unprotect".',
  },
  'snapshot.damaged': {
    text: 'Snapshot "{name}" is damaged: {problem}. The workspace was not touched.',
    hint: 'Choose another snapshot; "forkpoint fsck" looks at all of them.',
  },
  'snapshot.memoryDamaged': {
    text: 'The memory of snapshot "{name}" is damaged: {problem}. The workspace was not touched.',
    hint: 'Its files are kept apart: restore with --cold to start the workspace from them; "forkpoint fsck" looks at all snapshots.',
  },
  'snapshot.incompatible': {
    text: 'The processes of snapshot "{name}" can\'t be woken on this host: {problem}. The workspace was not touched.',
    hint: 'Its files are whole: restore with --cold to start the workspace from them.',
  },
  'snapshot.inUse': {
    text: 'Snapshot "{name}" is in use: {reason}. It was not deleted.',
    hint: 'Try again in a moment.',
  },
  'alias.taken': {
    text: 'The alias "{alias}" belongs to snapshot "{name}" already. Nothing was changed.',
    hint: 'Choose another alias, or clear that one first.',
  },
  'checkpoint.impossible': {
    text: 'The processes of "{workspace}" can\'t be kept: {reason}. No snapshot was taken; the workspace was left as it is.',
    hint: 'Use --mode auto to keep the files alone, or end the process that is in the way.',
  },
  'checkpoint.torn': {
    text: 'The snapshot of "{workspace}" was given up: {reason}. It was discarded; the workspace runs on.',
    hint: 'Try again; "forkpoint logs" tells more.',
  },
  'safety.choiceNeeded': {
    text: 'Before restoring, the processes of "{workspace}" would not be kept: {reason}. Nothing was touched.',
    hint: "Choose: --safety stateful keeps them ({bytes} bytes), stateless keeps the files alone (running processes can't be brought back), none keeps nothing.",
  },
  'restore.rolledBack': {
    text: 'Restoring "{workspace}" to "{name}" failed at the step "{step}". The workspace was put back to where it was before.',
    hint: 'The detail says what failed; "forkpoint logs" tells more.',
  },
  'restore.stopped': {
    text: 'Restoring "{workspace}" to "{name}" failed at the step "{step}", and its processes could not be brought back. Its files are as before the restore. Safety snapshot: {safety}.',
    hint: 'Start the workspace, or restore the safety snapshot.',
  },
  'restore.halfway': {
    text: 'Restoring "{workspace}" to "{name}" failed at the step "{step}", and so did the way back: its files may be those of "{name}", in part or all of them. The state before is kept: {kept}.',
    hint: 'Stop the workspace, mend what the log names, and restore the state before; what is in lost+found can be copied back.',
  },
  'restore.memoryLost': {
    text: 'The memory of snapshot "{name}" could not be read in full after "{workspace}" had been woken from it, so its processes were ended, and restoring it once more failed, too. Its files are as the processes left them. Safety snapshot: {safety}.',
    hint: 'Restore the safety snapshot, or the files of "{name}" alone with --cold, or go on with the workspace as it is; start it unless it runs.',
  },
  'undo.nothing': {
    text: 'There is no restore of "{workspace}" to undo.',
    hint: 'Only the last restore can be undone, while its safety snapshot exists.',
  },
  'fsck.busy': {
    text: 'The helper is at work: {reason}. Nothing was repaired.',
    hint: 'Try again when that has ended.',
  },
  'pool.full': {
    text: 'The pool has {freeBytes} bytes free and {neededBytes} are needed. Nothing was frozen or changed.',
    hint: 'Delete snapshots, or let older ones expire sooner.',
  },
  'pool.missing': {
    text: 'The snapshot pool is not mounted at {path}. Nothing was changed.',
    hint: 'Set the host up with "forkpoint host setup", or mount the pool.',
  },
  'pool.foreign': {
    text: 'The file system at {path} is not the pool that this host was set up with. Nothing was changed.',
    hint: 'Mount the right one; its UUID is {uuid}.',
  },
  'pool.exists': {
    text: 'This host has a pool at {path} already. Nothing was changed.',
    hint: 'Use it as it is.',
  },
  'disk.full': {
    text: 'There are {freeBytes} bytes free for "{path}" and {neededBytes} are needed. Nothing was changed.',
    hint: 'Free some space, or choose a smaller --size.',
  },
  'api.notListening': {
    text: 'The HTTP API can\'t be served at "{listen}": {problem}. Nothing was changed.',
    hint: 'Listen on 127.0.0.1:PORT or unix:PATH; another address needs --tls CERT KEY.',
  },
  'api.unauthorized': {
    text: 'There is no valid token with the request: it is missing, unknown, revoked or expired. Nothing was changed.',
    hint: '"forkpoint api token create" makes one; send it as "Authorization: Bearer TOKEN".',
  },
  'api.forbidden': {
    text: 'The token does not allow this: {problem}. Nothing was changed.',
    hint: '"forkpoint api token list" shows what each token allows.',
  },
  'api.tooManyRequests': {
    text: 'Too many requests. Nothing was changed.',
    hint: 'Try again in {seconds} s.',
  },
  'api.jobNotFound': {
    text: 'There is no job "{job}" of this token.',
    hint: 'Jobs are kept for an hour after their end.',
  },
  'api.tokenNotFound': {
    text: 'There is no token "{token}". Nothing was changed.',
    hint: '"forkpoint api token list" shows the tokens.',
  },
  'host.nodeUnfit': {
    text: 'The helper can\'t be run by the Node at "{path}": {problem}. Nothing was installed.',
    hint: 'Install Node 18.19 or later for the whole host: apt-get install nodejs.',
  },
  'host.needsRoot': {
    text: 'This needs to run as root. Nothing was changed.',
    hint: 'Put sudo before the command.',
  },
  'host.toolMissing': {
    text: '"{tool}" is missing on this host. Nothing was changed.',
    hint: 'Install it: {install}.',
  },
  'command.failed': {
    text: 'The command "{command}" failed ({status}).',
    hint: 'Its last lines are in the detail; "forkpoint logs" tells more.',
  },
  'operation.cancelled': {
    text: 'Cancelled. Everything is as it was before.',
    hint: '',
  },
  'operation.timedOut': {
    text: '"{operation}" was ended after {minutes} minutes. Everything is as it was before.',
    hint: '"forkpoint logs" shows what it was waiting for.',
  },
  'operation.interrupted': {
    text: 'The helper ended during "{operation}". On its next start it finishes or undoes what was under way.',
    hint: 'Look at the workspace again: "forkpoint snapshots list".',
  },
  'daemon.unreachable': {
    text: "The helper's daemon does not answer: {problem}.",
    hint: '"forkpoint logs" shows its last words.',
  },
  'daemon.incompatible': {
    text: 'The helper on the host speaks protocol {theirs}, this program speaks {ours}. Nothing was changed.',
    hint: 'Update the older of the two.',
  },
  internal: {
    text: 'Something went wrong inside Forkpoint: {problem}.',
    hint: 'Please report it with the end of "forkpoint logs".',
  },
} as const satisfies Record<string, { text: string; hint: string }>;

/** Code of a failure. */
export type ErrorCode = keyof typeof errorTexts;

/** Named arguments of a failure's text. Sizes are in bytes. */
export type ErrorArguments = Readonly<Record<string, string | number>>;

/** A failure as it travels between the helper and its clients. */
export const ErrorDataSchema = z.object({
  code: z.enum(Object.keys(errorTexts) as ErrorCode[]),
  args: z.record(z.string(), z.union([z.string(), z.number()])).readonly(),
  /** What the failing command said last, or the technical cause; shown below the text. */
  detail: z.string().nullable(),
});
export type ErrorData = Readonly<z.infer<typeof ErrorDataSchema>>;

/** A failure with a code, thrown by the services and shown by the doors. */
export class ForkpointError extends Error implements ErrorData {
  readonly code: ErrorCode;
  readonly args: ErrorArguments;
  readonly detail: string | null;

  constructor(
    code: ErrorCode,
    args: ErrorArguments = {},
    options: { detail?: string | null; cause?: unknown } = {},
  ) {
    super(
      fill(errorTexts[code].text, args),
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = 'ForkpointError';
    this.code = code;
    this.args = args;
    this.detail = options.detail ?? null;
  }

  /** The part that travels. */
  toData(): ErrorData {
    return { code: this.code, args: this.args, detail: this.detail };
  }

  /** What to do next, in English; may be empty. */
  get hint(): string {
    return fill(errorTexts[this.code].hint, this.args);
  }

  /** Reads a failure that travelled; anything that is not one becomes `internal`. */
  static from(data: unknown): ForkpointError {
    if (data instanceof ForkpointError) return data;
    if (typeof data === 'object' && data !== null && 'code' in data && isErrorCode(data.code)) {
      const { args, detail } = data as Partial<Record<keyof ErrorData, unknown>>;
      return new ForkpointError(data.code, ErrorDataSchema.shape.args.safeParse(args).data ?? {}, {
        detail: typeof detail === 'string' ? detail : null,
      });
    }
    const problem = data instanceof Error ? data.message : String(data);
    return new ForkpointError('internal', { problem }, { cause: data });
  }
}

/** Whether `value` is one of our codes. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorTexts, value);
}

/** Replaces each `{name}` by its argument; a missing one stays visible. */
export function fill(text: string, args: ErrorArguments): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) =>
    Object.hasOwn(args, name) ? String(args[name]) : whole,
  );
}

import { fill } from '../../protocol/errors.ts';

/**
 * Every way a connection can fail. A text says what happened; the hint what to do next. The views show their own
 * localised text for the code, these are for the log and for code without an editor.
 */
export const problemTexts = {
  cancelled: {
    text: 'Connecting to "{host}" was cancelled.',
    hint: '',
  },
  needsGesture: {
    text: 'Connecting to "{host}" needs an answer from you: {need}.',
    hint: 'Connect the host by hand; you will be asked then.',
  },
  configurationInvalid: {
    text: 'The SSH configuration of "{host}" can\'t be used: {problem}.',
    hint: 'Check the name of the host, and that "ssh -G {host}" works in a terminal.',
  },
  sshClientMissing: {
    text: 'The configuration of "{host}" needs the OpenSSH client ({reason}), which was not found.',
    hint: 'Install OpenSSH, so that "ssh -V" works in a terminal.',
  },
  unreachable: {
    text: '"{host}" can\'t be reached: {problem}.',
    hint: 'Check the network, and that "ssh {host}" works in a terminal.',
  },
  connectionLost: {
    text: 'The connection to "{host}" was lost: {problem}.',
    hint: 'It is tried again by itself. What was under way on the host goes on there.',
  },
  hostKeyChanged: {
    text: 'The host key of "{host}" is not the one that is on record, so nothing was sent to it. Either the machine was set up anew, or someone is in between.',
    hint: 'Ask who runs the machine whether {keyType} {fingerprint} is its key. If so, remove the old one with: ssh-keygen -R {knownAs} -f {file}',
  },
  hostKeyRevoked: {
    text: 'The host key of "{host}" is marked as revoked, so nothing was sent to it.',
    hint: 'Ask who runs the machine. The mark is in {file}.',
  },
  hostKeyRefused: {
    text: 'The host key of "{host}" ({keyType} {fingerprint}) is unknown and was not accepted.',
    hint: 'Compare it with the machine\'s own and connect again, or connect once with "ssh {host}" in a terminal.',
  },
  authenticationFailed: {
    text: '"{host}" let nobody in as "{user}". Tried: {tried}.',
    hint: 'Check the user name and the keys, and that "ssh {host}" works in a terminal.',
  },
  sudoMissing: {
    text: 'There is no sudo on "{host}", and "{user}" is not root.',
    hint: 'Install it as root (apt-get install sudo), or connect as root.',
  },
  sudoDenied: {
    text: 'sudo on "{host}" does not let "{user}" run the helper.',
    hint: 'The helper works as root. Ask who runs the machine for a sudo rule for /usr/local/bin/forkpoint.',
  },
  sudoPasswordWrong: {
    text: 'sudo on "{host}" refused the password of "{user}".',
    hint: 'Connect again and give the password that sudo takes in a terminal.',
  },
  nodeMissing: {
    text: '"{host}" has no Node.js, which the helper needs.',
    hint: 'Install version {minimum} or newer on the host, on Debian and Ubuntu with: sudo apt-get install nodejs',
  },
  nodeTooOld: {
    text: '"{host}" has Node.js {version}; the helper needs {minimum} or newer.',
    hint: 'Install a newer one on the host, as /usr/bin/node or /usr/local/bin/node.',
  },
  nodeUntrusted: {
    text: '{path} on "{host}" can be changed by others than root, so it is not run as root.',
    hint: 'Install Node.js from the distribution (apt-get install nodejs), or give the file and its directory to root.',
  },
  helperNotInstalled: {
    text: 'The helper is not installed on "{host}".',
    hint: 'Install it from the Snapshots view.',
  },
  helperOlder: {
    text: 'The helper on "{host}" is too old for this version of Forkpoint.',
    hint: 'Update it from the Snapshots view.',
  },
  helperFailed: {
    text: 'The helper on "{host}" did not start: {problem}.',
    hint: 'The log shows what it said. "sudo forkpoint logs" on the host shows its last words.',
  },
  installFailed: {
    text: 'The helper could not be installed on "{host}": {problem}.',
    hint: 'The log shows what the host said.',
  },
  incompatible: {
    text: 'The helper on "{host}" speaks protocol {theirs}, this version of Forkpoint speaks {ours}.',
    hint: 'Update Forkpoint.',
  },
} as const satisfies Record<string, { text: string; hint: string }>;

/** Code of a {@link HostProblem}. */
export type HostProblemCode = keyof typeof problemTexts;

/** What is in the way of a connection. */
export interface HostProblem {
  readonly code: HostProblemCode;
  /** Named arguments of the text and hint; `host` is always the host as the user spells it. */
  readonly args: Readonly<Record<string, string>>;
  /** What the other side said last, or the technical cause. */
  readonly detail: string | null;
}

/** A {@link HostProblem} as `connect` and `installHelper` are rejected with it. */
export class HostProblemError extends Error implements HostProblem {
  readonly code: HostProblemCode;
  readonly args: Readonly<Record<string, string>>;
  readonly detail: string | null;

  constructor(
    code: HostProblemCode,
    args: Readonly<Record<string, string>>,
    options: { detail?: string | null; cause?: unknown } = {},
  ) {
    super(
      fill(problemTexts[code].text, args),
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = 'HostProblemError';
    this.code = code;
    this.args = args;
    this.detail = options.detail ?? null;
  }

  /** What to do next, in English; may be empty. */
  get hint(): string {
    return fill(problemTexts[this.code].hint, this.args);
  }
}

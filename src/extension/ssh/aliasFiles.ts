import { ForkpointError } from '../../protocol/errors.ts';
import { NAME_PATTERN, visible } from '../../protocol/names.ts';
import type { SshAccess } from '../../protocol/reach.ts';
import { destinationArguments } from '../hosts/resolvedConfig.ts';
import type { ResolvedConfig } from '../hosts/resolvedConfig.ts';
import { assertBareWords } from '../hosts/transport.ts';

/** A workspace that `ssh` reaches by a name of its own. */
export interface SshAlias {
  /** `forkpoint-NAME`. */
  readonly alias: string;
  /** The host as the user spells it. */
  readonly host: string;
  readonly workspace: string;
  readonly access: SshAccess;
  /** The command that joins ssh to the workspace's server. */
  readonly proxyCommand: string;
}

/** The files that a configuration names; absolute. */
export interface AliasFiles {
  readonly identityFile: string;
  readonly knownHostsFile: string;
}

/** Where the helper is on every host. */
const HELPER = '/usr/local/bin/forkpoint';

/**
 * The name for a workspace: its own, with the host's where another host has one of that name.
 * @throws Error when the workspace's name could mean more than a name to ssh or a shell
 */
export function aliasFor(name: string, host: string, others: readonly SshAlias[]): string {
  if (!NAME_PATTERN.test(name)) throw new Error(`"${name}" can't be part of a name for ssh`);
  const isTaken = (alias: string): boolean => others.some((other) => other.alias === alias);
  const plain = `forkpoint-${name}`;
  if (!isTaken(plain)) return plain;
  const withHost = `${plain}-${host.replace(/[^A-Za-z0-9._-]+/g, '-')}`;
  for (let number = 1; ; number += 1) {
    const candidate = number === 1 ? withHost : `${withHost}-${String(number)}`;
    if (!isTaken(candidate)) return candidate;
  }
}

/**
 * The command line that reaches the workspace's server through its host. The user's shell runs it, so that all in it is
 * bare words, or paths in double quotes.
 * @throws Error when something in it could mean more to a shell
 */
export function proxyCommand(
  config: Pick<ResolvedConfig, 'destination' | 'configFile' | 'user'>,
  workspace: string,
): string {
  const remote = [...(config.user === 'root' ? [] : ['sudo', '-n']), HELPER, 'ssh', 'proxy', '-c', workspace];
  assertBareWords(remote);
  const words = [
    'ssh',
    '-T',
    '-o',
    'ClearAllForwardings=yes',
    ...destinationArguments(config.destination, config.configFile),
    ...remote,
  ];
  // ssh replaces tokens that begin with "%" before the shell sees them.
  return words.map((word) => quoted(word).replaceAll('%', '%%')).join(' ');
}

/**
 * What `ssh` is told of the workspaces: a block each, host keys always checked.
 * @throws ForkpointError `internal` when something in it could begin a word or a line of its own
 */
export function configText(aliases: readonly SshAlias[], files: AliasFiles): string {
  const blocks = aliases.map(({ alias, access, proxyCommand: command }) =>
    [
      `Host ${word(alias)}`,
      `  HostName ${word(alias)}`,
      `  User ${word(access.user)}`,
      `  HostKeyAlias ${word(access.hostKeyAlias)}`,
      '  HostKeyAlgorithms ssh-ed25519',
      '  StrictHostKeyChecking yes',
      `  UserKnownHostsFile ${pathValue(files.knownHostsFile)}`,
      '  GlobalKnownHostsFile none',
      `  IdentityFile ${pathValue(files.identityFile)}`,
      '  IdentitiesOnly yes',
      `  ProxyCommand ${line(command)}`,
    ].join('\n'),
  );
  return ['# Written by Forkpoint: workspaces that ssh reaches. Changes are lost.', ...blocks, ''].join(
    '\n\n',
  );
}

/**
 * The host keys of the workspaces, in the form of known_hosts.
 * @throws ForkpointError `internal` when something in it could begin a word or a line of its own
 */
export function knownHostsText(aliases: readonly SshAlias[]): string {
  return aliases
    .map(({ access }) => [access.hostKeyAlias, ...access.hostKey.split(' ')].map(word).join(' '))
    .map((entry) => `${entry}\n`)
    .join('');
}

/** A configuration that includes `file` at its top; null when it does already. */
export function withInclude(text: string, file: string): string | null {
  const line = `Include ${pathValue(file)}`;
  if (text.split(/\r?\n/).some((one) => one.trim() === line)) return null;
  // At the top: below a Host line it would belong to that host alone (ssh_config(5)).
  return `# Workspaces of Forkpoint\n${line}\n\n${text}`;
}

/** A word for ssh_config(5) and sshd(8)'s known_hosts: nothing in it is a blank, quote, pattern or token there. */
function word(text: string): string {
  if (!/^[A-Za-z0-9._+/=-]+\$?$/.test(text)) throw unwritable(text);
  return text;
}

/** The rest of a line, blanks and quotes included. */
function line(text: string): string {
  if (visible(text) !== text) throw unwritable(text);
  return text;
}

function unwritable(text: string): ForkpointError {
  return new ForkpointError('internal', {
    problem: `"${visible(text)}" can't be written into an SSH configuration`,
  });
}

function pathValue(file: string): string {
  if (/["\r\n]/.test(file)) throw new Error(`"${file}" can't be named in an SSH configuration`);
  return `"${file.replaceAll('%', '%%')}"`;
}

function quoted(word: string): string {
  if (/^[A-Za-z0-9_/.,:=@%+-]+$/.test(word)) return word;
  if (/["$`!\r\n]/.test(word) || (word.includes('\\') && process.platform !== 'win32'))
    throw new Error(`"${word}" would not pass a shell unchanged`);
  return `"${word}"`;
}

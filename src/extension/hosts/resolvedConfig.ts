import { existsSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import * as path from 'node:path';
import SSHConfig from 'ssh-config';
import { expandHome, readConfigText, systemConfigFile, userConfigFile } from './configFiles.ts';
import { parseDestination } from './destination.ts';
import type { Destination } from './destination.ts';
import { runLocally } from './localCommand.ts';
import type { Log } from './log.ts';
import { HostProblemError } from './problems.ts';

/** What the SSH configuration says of one host. Files are absolute paths, which need not exist. */
export interface ResolvedConfig {
  /** The host as the user spells it. */
  readonly id: string;
  readonly destination: Destination;
  /** Name or address to connect to. */
  readonly hostName: string;
  readonly port: number;
  readonly user: string;
  readonly hostKeyAlias: string | null;
  readonly identityFiles: readonly string[];
  readonly identitiesOnly: boolean;
  /** Socket or pipe of the agent; null when there is none or it must not be asked. */
  readonly identityAgent: string | null;
  readonly userKnownHostsFiles: readonly string[];
  readonly globalKnownHostsFiles: readonly string[];
  readonly strictHostKeyChecking: 'yes' | 'ask' | 'accept-new' | 'no';
  readonly hashKnownHosts: boolean;
  /** Configuration file given in place of the user's own. */
  readonly configFile: string | null;
  /** Every option: lower-case keyword, its values in order. */
  readonly options: ReadonlyMap<string, readonly string[]>;
}

/** The pipe of the agent that comes with Windows. */
const WINDOWS_AGENT = '\\\\.\\pipe\\openssh-ssh-agent';

const defaultIdentityFiles = ['id_rsa', 'id_ecdsa', 'id_ecdsa_sk', 'id_ed25519', 'id_ed25519_sk'];

export interface ResolveOptions {
  readonly log: Log;
  readonly configFile: string | undefined;
  /** Does as if there were no ssh. */
  readonly withoutOpenSsh?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds what the SSH configuration says of a host: `ssh -G` where there is an ssh, since only it knows `Match exec`,
 * canonical names and the system's own defaults; otherwise the files are read here.
 * Rejected with `configurationInvalid`.
 */
export async function resolveConfig(
  id: string,
  options: ResolveOptions,
): Promise<{ readonly config: ResolvedConfig; readonly hasOpenSsh: boolean }> {
  const destination = parseDestination(id);
  if (destination === null) {
    throw new HostProblemError('configurationInvalid', {
      host: id,
      problem: 'it is neither an alias nor user@host:port',
    });
  }
  const told = options.withoutOpenSsh === true ? null : await askOpenSsh(id, destination, options);
  const values = told ?? (await readFiles(destination, options));
  return {
    config: interpretConfig(id, destination, values, options.configFile ?? null),
    hasOpenSsh: told !== null,
  };
}

/** The arguments that name a host to ssh. A `--` keeps a name from being taken for an option. */
export function destinationArguments(destination: Destination, configFile: string | null): string[] {
  return [
    ...(configFile === null ? [] : ['-F', configFile]),
    ...(destination.port === null ? [] : ['-p', String(destination.port)]),
    ...(destination.user === null ? [] : ['-l', destination.user]),
    '--',
    destination.host,
  ];
}

/** Null when there is no ssh. */
async function askOpenSsh(
  id: string,
  destination: Destination,
  options: ResolveOptions,
): Promise<Map<string, string[]> | null> {
  const args = ['-G', ...destinationArguments(destination, options.configFile ?? null)];
  const result = await runLocally(options.log, 'ssh', args, { signal: options.signal });
  if (result === null) return null;
  if (result.exitCode !== 0) {
    const detail = result.stderr.trim();
    const problem = detail.split('\n').at(-1) ?? detail;
    throw new HostProblemError('configurationInvalid', { host: id, problem }, { detail });
  }
  return parseKeywordLines(result.stdout);
}

/** Reads the `keyword value` lines of `ssh -G`; a keyword may come several times. */
export function parseKeywordLines(text: string): Map<string, string[]> {
  const values = new Map<string, string[]>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^(\S+)(?:\s+(.*?))?\s*$/.exec(line);
    if (match?.[1] === undefined) continue;
    append(values, match[1], match[2] ?? '');
  }
  return values;
}

async function readFiles(destination: Destination, options: ResolveOptions): Promise<Map<string, string[]>> {
  // As ssh does: of each option the first value counts, and a file given with -F leaves the system's out.
  const files =
    options.configFile === undefined ? [userConfigFile(), systemConfigFile()] : [options.configFile];
  const texts = await Promise.all(files.map((file) => readConfigText(file)));
  const computed = SSHConfig.parse(texts.join('\nHost *\n')).compute(
    { Host: destination.host, ...(destination.user === null ? {} : { User: destination.user }) },
    { ignoreCase: true },
  );
  const values = new Map<string, string[]>();
  for (const [keyword, value] of Object.entries(computed)) {
    if (keyword === 'host' || keyword === 'match') continue;
    for (const one of Array.isArray(value) ? value : [value]) append(values, keyword.toLowerCase(), one);
  }
  if (destination.user !== null) values.set('user', [destination.user]);
  if (destination.port !== null) values.set('port', [String(destination.port)]);
  const hostName = values.get('hostname')?.[0];
  values.set('hostname', [
    hostName?.replaceAll('%h', destination.host).replaceAll('%%', '%') ?? destination.host,
  ]);
  return values;
}

function append(values: Map<string, string[]>, keyword: string, value: string): void {
  const known = values.get(keyword.toLowerCase());
  if (known) known.push(value);
  else values.set(keyword.toLowerCase(), [value]);
}

/** Makes sense of the options that were found. */
export function interpretConfig(
  id: string,
  destination: Destination,
  options: ReadonlyMap<string, readonly string[]>,
  configFile: string | null,
): ResolvedConfig {
  const first = (keyword: string): string | undefined => options.get(keyword)?.[0];
  const hostName = first('hostname') ?? destination.host;
  const port = Number(first('port') ?? 22);
  const user = first('user') ?? userInfo().username;
  const expand = (text: string): string => expandTokens(text, { destination, hostName, port, user });
  const directory = path.join(homedir(), '.ssh');
  const files = (keyword: string, defaults: readonly string[]): string[] =>
    (options.get(keyword) ?? defaults)
      .flatMap((value) => splitPaths(value))
      .filter((value) => value !== 'none')
      .map((value) => path.resolve(expand(value)));
  const agent = first('identityagent');
  return {
    id,
    destination,
    hostName,
    port,
    user,
    hostKeyAlias: first('hostkeyalias') ?? null,
    identityFiles: files(
      'identityfile',
      defaultIdentityFiles.map((name) => path.join(directory, name)),
    ),
    identitiesOnly: isYes(first('identitiesonly')),
    identityAgent: agent === undefined ? defaultAgent() : agentSocket(expand(agent)),
    userKnownHostsFiles: files('userknownhostsfile', [
      path.join(directory, 'known_hosts'),
      path.join(directory, 'known_hosts2'),
    ]),
    globalKnownHostsFiles: files(
      'globalknownhostsfile',
      process.platform === 'win32' ? [] : ['/etc/ssh/ssh_known_hosts', '/etc/ssh/ssh_known_hosts2'],
    ),
    strictHostKeyChecking: strictness(first('stricthostkeychecking')),
    hashKnownHosts: isYes(first('hashknownhosts')),
    configFile,
    options,
  };
}

/** `ssh -G` prints flags as yes, true or 1 for the same thing, depending on the option. */
export function isYes(value: string | undefined): boolean {
  return value === 'yes' || value === 'true' || value === 'always';
}

function strictness(value: string | undefined): ResolvedConfig['strictHostKeyChecking'] {
  switch (value) {
    case 'yes':
    case 'true':
      return 'yes';
    case 'accept-new':
      return 'accept-new';
    case 'no':
    case 'off':
    case 'false':
      return 'no';
    default:
      return 'ask';
  }
}

function defaultAgent(): string | null {
  const socket = process.env['SSH_AUTH_SOCK'];
  if (socket !== undefined && socket !== '') return socket;
  return process.platform === 'win32' && existsSync(WINDOWS_AGENT) ? WINDOWS_AGENT : null;
}

/** ssh_config(5), IdentityAgent: a path, `none`, `SSH_AUTH_SOCK`, or the name of a variable behind `$`. */
function agentSocket(value: string): string | null {
  if (value === 'none') return null;
  if (value === 'SSH_AUTH_SOCK') return defaultAgent();
  if (/^\$\w+$/.test(value)) return process.env[value.slice(1)] ?? null;
  return value;
}

/** Several paths stand in one line, apart by blanks; quotes are gone in what `ssh -G` prints. */
function splitPaths(value: string): string[] {
  if (existsSync(expandHome(value))) return [value];
  return [...value.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? '');
}

function expandTokens(
  text: string,
  host: {
    readonly destination: Destination;
    readonly hostName: string;
    readonly port: number;
    readonly user: string;
  },
): string {
  const tokens: Record<string, string> = {
    '%': '%',
    d: homedir(),
    h: host.hostName,
    n: host.destination.host,
    p: String(host.port),
    r: host.user,
    u: userInfo().username,
    i: String(userInfo().uid),
  };
  return expandHome(text)
    .replace(/\$\{(\w+)\}/g, (whole, name: string) => process.env[name] ?? whole)
    .replace(/%(.)/g, (whole, token: string) => tokens[token] ?? whole);
}

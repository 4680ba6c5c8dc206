import { access } from 'node:fs/promises';
import { canCheckAny } from './hostKeyAlgorithms.ts';
import type { SshClient } from './host.ts';
import { readIdentity } from './identities.ts';
import type { Identity } from './identities.ts';
import { hasCertificateAuthority, knownKeyTypes, recordedName } from './knownHosts.ts';
import type { KnownHost } from './knownHosts.ts';
import { runLocally } from './localCommand.ts';
import type { Log } from './log.ts';
import { HostProblemError } from './problems.ts';
import { isYes } from './resolvedConfig.ts';
import type { ResolvedConfig } from './resolvedConfig.ts';
import { unservedOptions } from './sessionAlgorithms.ts';

/** What decides beside the configuration itself. */
export interface Surroundings {
  readonly identities: readonly Identity[];
  /** Files among those that CertificateFile and IdentityFile imply which exist. */
  readonly certificateFiles: readonly string[];
  /** Types of the keys in the agent. */
  readonly agentKeyTypes: readonly string[];
  readonly hasKerberosTicket: boolean;
  readonly knownHosts: readonly KnownHost[];
}

/** Options whose mere presence needs OpenSSH. */
const needed: readonly { readonly keyword: string; readonly name: string }[] = [
  { keyword: 'proxycommand', name: 'ProxyCommand' },
  { keyword: 'proxyjump', name: 'ProxyJump' },
  { keyword: 'pkcs11provider', name: 'PKCS11Provider' },
  { keyword: 'controlpath', name: 'ControlPath' },
  { keyword: 'knownhostscommand', name: 'KnownHostsCommand' },
  { keyword: 'revokedhostkeys', name: 'RevokedHostKeys' },
  { keyword: 'bindinterface', name: 'BindInterface' },
];

/** Options that need OpenSSH when they are on. */
const neededWhenOn: readonly { readonly keyword: string; readonly name: string }[] = [
  { keyword: 'hostbasedauthentication', name: 'HostbasedAuthentication' },
  { keyword: 'verifyhostkeydns', name: 'VerifyHostKeyDNS' },
  { keyword: 'permitlocalcommand', name: 'PermitLocalCommand' },
];

const isSecurityKey = (keyType: string): boolean => keyType.startsWith('sk-');
const isCertificate = (keyType: string): boolean => keyType.includes('-cert-v0');

/** Why ssh2 can't do what the configuration asks for; empty when it can. */
export function ssh2Obstacles(config: ResolvedConfig, surroundings: Surroundings): string[] {
  const value = (keyword: string): string | undefined => config.options.get(keyword)?.[0];
  const reasons = [
    ...needed.filter(({ keyword }) => isSet(value(keyword))),
    ...neededWhenOn.filter(({ keyword }) => isYes(value(keyword))),
  ].map(({ name }) => `${name} is set`);
  for (const option of unservedOptions(config)) reasons.push(`${option} allows nothing that ssh2 has`);
  // Debian switches GSSAPI on for everybody; it means something only to who holds a ticket.
  if (isYes(value('gssapiauthentication')) && surroundings.hasKerberosTicket)
    reasons.push('there is a Kerberos ticket');
  for (const file of surroundings.certificateFiles) reasons.push(`there is a certificate, ${file}`);
  for (const identity of surroundings.identities) {
    if (identity.kind === 'foreign') reasons.push(`${identity.file} is of a form that only OpenSSH reads`);
    else if (identity.keyType !== null && isSecurityKey(identity.keyType))
      reasons.push(`${identity.file} is on a security key`);
  }
  for (const keyType of new Set(surroundings.agentKeyTypes)) {
    if (isSecurityKey(keyType)) reasons.push('the agent holds a security key');
    if (isCertificate(keyType)) reasons.push('the agent holds a certificate');
  }
  const name = recordedName(config);
  if (hasCertificateAuthority(surroundings.knownHosts, name)) reasons.push('the host shows a certificate');
  const known = knownKeyTypes(surroundings.knownHosts, name);
  if (known.length > 0 && !canCheckAny(known))
    reasons.push(`its host key, ${known.join(', ')}, can't be checked here`);
  return reasons;
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== 'none';
}

export interface Choice {
  readonly client: SshClient;
  readonly reasons: readonly string[];
}

/**
 * Which program connects: in `auto` ssh2, whose questions the editor can ask, unless the configuration holds what
 * it can't do. Throws `sshClientMissing`.
 */
export function chooseClient(
  id: string,
  preferred: 'auto' | SshClient,
  hasOpenSsh: boolean,
  obstacles: readonly string[],
): Choice {
  if (preferred === 'ssh2') return { client: 'ssh2', reasons: obstacles };
  if (preferred === 'auto' && obstacles.length === 0) return { client: 'ssh2', reasons: [] };
  const reasons = preferred === 'openssh' ? ['the setting forkpoint.sshClient says so'] : obstacles;
  if (!hasOpenSsh) throw new HostProblemError('sshClientMissing', { host: id, reason: reasons.join('; ') });
  return { client: 'openssh', reasons };
}

/** Looks around on this machine: key files, agent, tickets. */
export async function lookAround(
  config: ResolvedConfig,
  knownHosts: readonly KnownHost[],
  hasOpenSsh: boolean,
  log: Log,
): Promise<Surroundings> {
  const identities = (await Promise.all(config.identityFiles.map((file) => readIdentity(file)))).filter(
    (identity) => identity !== null,
  );
  const certificates = [
    ...(config.options.get('certificatefile') ?? []).filter((file) => file !== 'none'),
    ...config.identityFiles.map((file) => `${file}-cert.pub`),
  ];
  const existing = await Promise.all(certificates.map((file) => exists(file)));
  return {
    identities,
    certificateFiles: certificates.filter((_, index) => existing[index]),
    agentKeyTypes:
      hasOpenSsh && config.identityAgent !== null ? await listAgentKeyTypes(config.identityAgent, log) : [],
    hasKerberosTicket: await hasKerberosTicket(),
    knownHosts,
  };
}

/** ssh2 leaves out what it can't use when it lists an agent's keys, so OpenSSH's tool is asked. */
async function listAgentKeyTypes(socket: string, log: Log): Promise<string[]> {
  const result = await runLocally(log, 'ssh-add', ['-L'], { env: { SSH_AUTH_SOCK: socket } });
  if (result?.exitCode !== 0) return [];
  return result.stdout.split('\n').flatMap((line) => /^(\S+) \S+/.exec(line)?.[1] ?? []);
}

async function hasKerberosTicket(): Promise<boolean> {
  const cache = process.env['KRB5CCNAME'];
  if (cache !== undefined && cache !== '') return true;
  return process.getuid !== undefined && (await exists(`/tmp/krb5cc_${String(process.getuid())}`));
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch {
    return false;
  }
}

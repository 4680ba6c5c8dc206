import {
  fingerprint,
  judgeHostKey,
  keyTypeLabel,
  readKeyType,
  recordHostKey,
  recordedName,
} from './knownHosts.ts';
import type { KnownHost } from './knownHosts.ts';
import type { Log } from './log.ts';
import { HostProblemError } from './problems.ts';
import type { Questions } from './questions.ts';
import type { ResolvedConfig } from './resolvedConfig.ts';

export interface HostKeyCheck {
  readonly config: ResolvedConfig;
  readonly knownHosts: readonly KnownHost[];
  readonly questions: Questions;
  readonly log: Log;
}

/**
 * Lets a host's key pass, or is rejected with `hostKeyChanged`, `hostKeyRevoked`, `hostKeyRefused`, `needsGesture` or
 * `cancelled`. An unknown key is shown and asked for; what is accepted is recorded where OpenSSH would.
 */
export async function checkHostKey(
  key: Buffer,
  { config, knownHosts, questions, log }: HostKeyCheck,
): Promise<void> {
  const name = recordedName(config);
  const plainName = config.hostKeyAlias === null && config.port !== 22 ? config.hostName.toLowerCase() : null;
  const keyType = keyTypeLabel(readKeyType(key) ?? '');
  const shown = { host: config.id, keyType, fingerprint: fingerprint(key) };
  const verdict = judgeHostKey(knownHosts, name, plainName, key);
  log.debug(`host key ${keyType} ${shown.fingerprint} of ${name}: ${verdict.kind}`);
  switch (verdict.kind) {
    case 'known':
      return;
    case 'revoked':
      throw new HostProblemError('hostKeyRevoked', { ...shown, file: verdict.recorded.file });
    case 'changed':
      throw new HostProblemError(
        'hostKeyChanged',
        { ...shown, knownAs: name, file: verdict.recorded.file },
        {
          detail: `${verdict.recorded.file}:${String(verdict.recorded.line)} holds ${fingerprint(verdict.recorded.key)}`,
        },
      );
    case 'unknown':
      break;
  }
  if (config.strictHostKeyChecking === 'yes') throw new HostProblemError('hostKeyRefused', shown);
  if (config.strictHostKeyChecking === 'ask') {
    const isAccepted = await questions.unknownHostKey({
      knownAs: name,
      keyType,
      fingerprint: shown.fingerprint,
    });
    if (!isAccepted) throw new HostProblemError('hostKeyRefused', shown);
  }
  const file = config.userKnownHostsFiles[0];
  if (file === undefined) return;
  try {
    await recordHostKey(file, name, key, { isHashed: config.hashKnownHosts });
    log.info(`recorded host key ${keyType} ${shown.fingerprint} of ${name} in ${file}`);
  } catch (error) {
    // As OpenSSH does: the key was accepted, only it will be asked for again.
    log.warn(`could not record the host key in ${file}: ${String(error)}`);
  }
}

import type { Changed, Restored, Welcome } from '../../protocol/session.ts';
import { chooseClient, lookAround, ssh2Obstacles } from './clientChoice.ts';
import { installHelper } from './helperInstall.ts';
import { NotStartedError, RootCommands } from './helperProcess.ts';
import type { HelperProcess } from './helperProcess.ts';
import type { HelperProgram, HostDependencies, SshClient } from './host.ts';
import { readKnownHosts } from './knownHosts.ts';
import type { Log } from './log.ts';
import { openSshTransport } from './opensshTransport.ts';
import { HostProblemError } from './problems.ts';
import type { Questions } from './questions.ts';
import { resolveConfig } from './resolvedConfig.ts';
import { openSession } from './session.ts';
import type { Session } from './session.ts';
import { loadBundledSsh2 } from './ssh2Library.ts';
import { connectSsh2, NegotiationError } from './ssh2Transport.ts';
import type { Transport } from './transport.ts';
import { compareVersions } from './versions.ts';

/** Where the helper's launcher is on every host. */
const HELPER = '/usr/local/bin/forkpoint';

export interface EstablishOptions {
  readonly id: string;
  readonly dependencies: HostDependencies;
  readonly log: Log;
  readonly questions: Questions;
  /**
   * `asConsented`: where one is due and that was agreed to for this host, asking where it may be asked. Otherwise in any
   * case, since the user wants it; what was refused before is asked again, and the reason says what for.
   */
  readonly install: 'asConsented' | InstallReason;
  /** Digest of the helper that was installed on the host before, by this connection. */
  readonly installedDigest: string | null;
  readonly onInstalled: (digest: string) => void;
  readonly onChanged: (changed: Changed) => void;
  readonly onRestored: (restored: Restored) => void;
}

/** Why a helper is put on a host. */
export type InstallReason = 'missing' | 'older';

/** A session that stands. */
export interface Established {
  readonly client: SshClient;
  readonly session: Session;
  readonly welcome: Welcome;
  readonly isHelperOlder: boolean;
  close(): void;
}

/**
 * All steps from a host's name to a session: read the configuration, choose the client, connect, start the helper,
 * install or update it where that is due. Rejected with a `HostProblemError`.
 */
export async function establish(options: EstablishOptions): Promise<Established> {
  const { questions, log } = options;
  const started = performance.now();
  const transport = await openTransport(options);
  const cancel = (): void => transport.dispose();
  questions.signal.addEventListener('abort', cancel, { once: true });
  try {
    const established = await establishOver(transport, options);
    await questions.keep();
    await transport.stopAsking();
    log.info(`connected in ${String(Math.round(performance.now() - started))} ms by ${transport.client}`);
    return established;
  } catch (error) {
    transport.dispose();
    if (questions.signal.aborted)
      throw new HostProblemError('cancelled', { host: options.id }, { cause: error });
    throw error;
  } finally {
    questions.signal.removeEventListener('abort', cancel);
  }
}

async function openTransport({ id, dependencies, log, questions }: EstablishOptions): Promise<Transport> {
  const { config, hasOpenSsh } = await resolveConfig(id, {
    log,
    configFile: dependencies.configFile(),
    signal: questions.signal,
  });
  const knownHosts = await readKnownHosts([...config.userKnownHostsFiles, ...config.globalKnownHostsFiles]);
  const surroundings = await lookAround(config, knownHosts, hasOpenSsh, log);
  const choice = chooseClient(
    id,
    dependencies.preferredClient(),
    hasOpenSsh,
    ssh2Obstacles(config, surroundings),
  );
  const { identities } = surroundings;
  if (choice.client === 'openssh') {
    log.info(`using OpenSSH: ${choice.reasons.join('; ')}`);
    return openSshTransport({ config, questions, log });
  }
  for (const reason of choice.reasons) log.warn(`using ssh2 as forkpoint.sshClient says, although ${reason}`);
  log.info(`using ssh2 for ${config.user}@${config.hostName} port ${String(config.port)}`);
  const ssh2 = await (dependencies.loadSsh2 ?? loadBundledSsh2)();
  try {
    return await connectSsh2({ config, identities, knownHosts, questions, ssh2, log });
  } catch (error) {
    if (!(error instanceof NegotiationError) || !hasOpenSsh || dependencies.preferredClient() !== 'auto')
      throw error;
    log.info(`using OpenSSH, since ssh2 and the host have nothing in common: ${error.message}`);
    return openSshTransport({ config, questions, log });
  }
}

async function establishOver(transport: Transport, options: EstablishOptions): Promise<Established> {
  const { id, dependencies, questions, log } = options;
  const root = new RootCommands(transport, questions, log);
  const helper = await dependencies.readHelper();
  const install = async (): Promise<void> => {
    const installed = await installHelper({ root, questions, helper, log });
    options.onInstalled(installed.digest);
  };
  let hasInstalled = false;
  if (options.install !== 'asConsented') {
    const isAgreed =
      dependencies.consents.mayInstall(id) === true ||
      (await askWhetherToInstall(options, { reason: options.install, isNeeded: true }));
    if (!isAgreed) throw new HostProblemError('helperNotInstalled', { host: id });
    await install();
    hasInstalled = true;
  }
  let running = await startHelper(root);
  if (running === null) {
    if (hasInstalled)
      throw new HostProblemError('helperFailed', {
        host: id,
        problem: 'it is not there after its installation',
      });
    if (!(await mayInstall(options, { reason: 'missing', isNeeded: true }))) {
      throw new HostProblemError('helperNotInstalled', { host: id });
    }
    await install();
    hasInstalled = true;
    running = await startHelper(root);
    if (running === null)
      throw new HostProblemError('helperFailed', {
        host: id,
        problem: 'it is not there after its installation',
      });
  }
  let session: Session;
  try {
    session = await greet(running, options);
  } catch (error) {
    if (!(error instanceof HostProblemError && error.code === 'helperOlder') || hasInstalled) throw error;
    if (!(await mayInstall(options, { reason: 'older', isNeeded: true }))) throw error;
    await install();
    hasInstalled = true;
    session = await greet(await mustStart(root, id), options);
  }
  if (
    !hasInstalled &&
    isUpdateDue(session, helper, options.installedDigest) &&
    (await mayInstall(options, { reason: 'older', isNeeded: false }))
  ) {
    session.close();
    await install();
    session = await greet(await mustStart(root, id), options);
  }
  const { welcome } = session;
  if (welcome === null)
    throw new HostProblemError('helperFailed', { host: id, problem: 'it did not say who it is' });
  return {
    client: transport.client,
    session,
    welcome,
    isHelperOlder: isOlder(welcome, helper),
    close: () => {
      session.close();
      transport.dispose();
    },
  };
}

/** Starts `forkpoint dial-stdio`; null when there is no helper. */
async function startHelper(root: RootCommands): Promise<HelperProcess | null> {
  try {
    return await root.start({ command: (marker) => [HELPER, 'dial-stdio', '--marker', marker] });
  } catch (error) {
    if (error instanceof NotStartedError && error.isNotFound(HELPER)) return null;
    throw error;
  }
}

async function mustStart(root: RootCommands, host: string): Promise<HelperProcess> {
  const running = await startHelper(root);
  if (running === null)
    throw new HostProblemError('helperFailed', { host, problem: 'it is not there after its installation' });
  return running;
}

function greet(
  running: HelperProcess,
  { id, dependencies, questions, log, onChanged, onRestored }: EstablishOptions,
): Promise<Session> {
  return openSession({
    host: id,
    process: running,
    clientVersion: dependencies.clientVersion,
    patience: questions.patience,
    log,
    onChanged,
    onRestored,
  });
}

/** Whether another helper than ours runs that is not newer, and ours was not brought there already. */
function isUpdateDue(session: Session, helper: HelperProgram, installedDigest: string | null): boolean {
  return session.welcome !== null && isOlder(session.welcome, helper) && installedDigest !== helper.digest;
}

/** A helper of the same version but other bytes is a build of a developer: the one at hand counts as newer. */
function isOlder(welcome: Welcome, helper: HelperProgram): boolean {
  return welcome.digest !== helper.digest && compareVersions(welcome.version, helper.version) <= 0;
}

/** Asks once per host whether the helper may be put there. */
async function mayInstall(
  options: EstablishOptions,
  asked: { readonly reason: InstallReason; readonly isNeeded: boolean },
): Promise<boolean> {
  const { id, dependencies, questions, log } = options;
  const known = dependencies.consents.mayInstall(id);
  if (known !== undefined) {
    log.info(
      known
        ? 'the helper may be installed, as was said before'
        : 'the helper may not be installed, as was said before',
    );
    return known;
  }
  // That it is not there is what the view can offer to mend, rather than that nobody could be asked.
  if (!questions.isInteractive) return false;
  return askWhetherToInstall(options, asked);
}

async function askWhetherToInstall(
  { id, dependencies, questions }: EstablishOptions,
  asked: { readonly reason: InstallReason; readonly isNeeded: boolean },
): Promise<boolean> {
  const answer = await questions.mayInstall(asked);
  await dependencies.consents.setMayInstall(id, answer);
  return answer;
}

import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { l10n, window, workspace as editorWorkspace } from 'vscode';
import type { ExtensionContext } from 'vscode';
import { ForkpointError } from '../../protocol/errors.ts';
import { SshAccessSchema } from '../../protocol/reach.ts';
import type { Workspace } from '../../protocol/workspace.ts';
import type { Log } from '../hosts/log.ts';
import type { Disposable } from '../model/emitter.ts';
import type { Fleet } from '../model/fleet.ts';
import type { Host } from '../model/host.ts';
import type { Settings } from '../model/settings.ts';
import type { SshAlias } from './aliasFiles.ts';

const KEY = 'sshAliases';

/** Workspaces that ssh knows by name: their key, their configuration and known hosts, in files of ours. */
export class SshAccessFiles implements Disposable {
  readonly #fleet: Fleet;
  readonly #settings: Settings;
  readonly #context: Pick<ExtensionContext, 'globalState' | 'globalStorageUri'>;
  readonly #log: Log;
  readonly #subscription: Disposable;
  /** Changes of the files, one after another. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    fleet: Fleet,
    settings: Settings,
    context: Pick<ExtensionContext, 'globalState' | 'globalStorageUri'>,
    log: Log,
  ) {
    this.#fleet = fleet;
    this.#settings = settings;
    this.#context = context;
    this.#log = log;
    this.#subscription = fleet.onDidChange(() => {
      if (this.#aliases().some((alias) => this.#isGone(alias)))
        this.#inTurn(() => this.#save(this.#aliases().filter((alias) => !this.#isGone(alias)))).catch(
          (error: unknown) => log.error(`aliases for ssh: ${String(error)}`),
        );
    });
  }

  /** Our own configuration of ssh; absolute. */
  get configFile(): string {
    return path.join(this.#directory, 'config');
  }

  /** Makes a workspace known to ssh, and lets our key in. Rejected with a `ForkpointError`. */
  enable(host: Host, workspace: Workspace, signal: AbortSignal): Promise<SshAlias> {
    return this.#inTurn(async () => {
      const [{ aliasFor, proxyCommand }, { resolveConfig }] = await Promise.all([
        import('./aliasFiles.ts'),
        import('../hosts/resolvedConfig.ts'),
      ]);
      const key = await this.#publicKey();
      const access = await host.connection.request(
        'ssh/enable',
        { container: workspace.id, key },
        { signal },
      );
      const { config } = await resolveConfig(host.id, {
        log: this.#log,
        configFile: this.#settings.sshConfigFile,
        signal,
      });
      const others = this.#aliases().filter(
        (alias) => !(alias.host === host.id && alias.workspace === workspace.id),
      );
      const alias: SshAlias = {
        alias: aliasFor(workspace.name, host.id, others),
        host: host.id,
        workspace: workspace.id,
        access,
        proxyCommand: proxyCommand(config, workspace.id),
      };
      await this.#save([...others, alias]);
      this.#log.info(`"${workspace.name}" is ${alias.alias} for ssh`);
      return alias;
    });
  }

  /**
   * Makes sure that the user's own configuration includes ours, and asks before it is touched.
   * @returns false when the user did not want that
   */
  async include(): Promise<boolean> {
    const { withInclude } = await import('./aliasFiles.ts');
    const file = await this.#userConfigFile();
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
      throw error;
    });
    const changed = withInclude(text, this.configFile);
    if (changed === null) return true;
    const add = l10n.t('Add Line');
    const answer = await window.showInformationMessage(
      l10n.t('Add one line to "{0}"?', file),
      {
        modal: true,
        detail: l10n.t(
          'It includes the file in which Forkpoint keeps its workspaces for ssh: {0}. You are not asked again.',
          this.configFile,
        ),
      },
      add,
    );
    if (answer !== add) return false;
    await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    // A link stays a link, and the file's mode its own.
    await writeFile(file, changed, { mode: 0o600 });
    this.#log.info(`one Include line was added at the top of ${file}`);
    return true;
  }

  dispose(): void {
    this.#subscription.dispose();
  }

  get #directory(): string {
    // oxlint-disable-next-line no-restricted-properties -- the extension's own directory, which is on this machine
    return path.join(this.#context.globalStorageUri.fsPath, 'ssh');
  }

  #aliases(): SshAlias[] {
    const stored = this.#context.globalState.get(KEY);
    return Array.isArray(stored) ? stored.filter(isAlias) : [];
  }

  /** Only a host that can be asked tells that a workspace is no more. */
  #isGone({ host: id, workspace }: SshAlias): boolean {
    const host = this.#fleet.host(id);
    return (
      host?.state.kind === 'connected' &&
      host.workspaces.kind === 'ready' &&
      !host.workspaces.value.some((one) => one.id === workspace)
    );
  }

  async #save(aliases: readonly SshAlias[]): Promise<void> {
    const { configText, knownHostsText } = await import('./aliasFiles.ts');
    const files = {
      identityFile: this.#identityFile,
      knownHostsFile: path.join(this.#directory, 'known_hosts'),
    };
    // Nothing is written where a part of it can't be.
    const texts = { knownHosts: knownHostsText(aliases), config: configText(aliases, files) };
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await replaceFile(files.knownHostsFile, texts.knownHosts);
    await replaceFile(this.configFile, texts.config);
    await this.#context.globalState.update(KEY, aliases);
  }

  get #identityFile(): string {
    return path.join(this.#directory, 'id_ed25519');
  }

  /** The key of this editor for workspaces, made at the first time. */
  async #publicKey(): Promise<string> {
    const file = this.#identityFile;
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const isThere = await stat(`${file}.pub`).then(
      () => true,
      () => false,
    );
    if (!isThere) {
      const { runLocally } = await import('../hosts/localCommand.ts');
      const made = await runLocally(this.#log, 'ssh-keygen', [
        ...['-q', '-t', 'ed25519', '-N', '', '-C', 'forkpoint', '-f', file],
      ]);
      if (made?.exitCode !== 0) {
        throw new ForkpointError(
          'command.failed',
          { command: 'ssh-keygen', status: made === null ? 'not found' : `exit ${String(made.exitCode)}` },
          { detail: made?.stderr ?? null },
        );
      }
    }
    return (await readFile(`${file}.pub`, 'utf8')).trim();
  }

  /** The configuration that Remote - SSH reads, which the user may have moved. */
  async #userConfigFile(): Promise<string> {
    const { expandHome, userConfigFile } = await import('../hosts/configFiles.ts');
    const own = this.#settings.sshConfigFile;
    const remote: unknown = editorWorkspace.getConfiguration('remote.SSH').get('configFile');
    const named = typeof remote === 'string' && remote !== '' ? remote : own;
    return named === undefined ? userConfigFile() : path.resolve(expandHome(named));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work, work);
    this.#last = mine.catch(() => undefined);
    return mine;
  }
}

async function replaceFile(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** Ours alone writes it; an older version may have done so, which believed more of what a host answered. */
function isAlias(value: unknown): value is SshAlias {
  if (typeof value !== 'object' || value === null) return false;
  const { alias, host, workspace, access, proxyCommand } = value as Partial<Record<string, unknown>>;
  return (
    [alias, host, workspace, proxyCommand].every((one) => typeof one === 'string') &&
    SshAccessSchema.safeParse(access).success
  );
}

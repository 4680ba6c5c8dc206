import { Uri } from 'vscode';
import type { ExtensionContext, LogOutputChannel } from 'vscode';
import type { HostConnection, HostDependencies } from '../hosts/host.ts';
import type { Settings } from './settings.ts';

/** The version in the manifest. */
function versionOf(context: ExtensionContext): string {
  const manifest: unknown = context.extension.packageJSON;
  return typeof manifest === 'object' &&
    manifest !== null &&
    'version' in manifest &&
    typeof manifest.version === 'string'
    ? manifest.version
    : '0.0.0';
}

/** Makes connections from the editor's own log, prompts and secret storage, all loaded with the first one. */
export function createConnections(
  context: ExtensionContext,
  log: LogOutputChannel,
  settings: Settings,
): (id: string) => Promise<HostConnection> {
  let dependencies: Promise<HostDependencies> | undefined;
  return async (id) => {
    dependencies ??= loadDependencies(context, log, settings);
    const [{ createHostConnection }, given] = await Promise.all([
      import('../hosts/connection.ts'),
      dependencies,
    ]);
    return createHostConnection(id, given);
  };
}

async function loadDependencies(
  context: ExtensionContext,
  log: LogOutputChannel,
  settings: Settings,
): Promise<HostDependencies> {
  const [{ createEditorPrompts, createConsents }, { helperProgramReader }] = await Promise.all([
    import('../hosts/editorPrompts.ts'),
    import('../hosts/helperProgram.ts'),
  ]);
  const version = versionOf(context);
  // oxlint-disable-next-line no-restricted-properties -- the extension's own directory, which is on this machine
  const helper = Uri.joinPath(context.extensionUri, 'dist', 'helper.cjs').fsPath;
  return {
    log,
    prompts: createEditorPrompts(),
    secrets: context.secrets,
    consents: createConsents(context.globalState),
    readHelper: helperProgramReader(helper, version),
    clientVersion: version,
    preferredClient: () => settings.sshClient,
    configFile: () => settings.sshConfigFile,
  };
}

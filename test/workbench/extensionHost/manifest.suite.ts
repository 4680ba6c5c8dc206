import * as assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import * as path from 'node:path';
import * as vscode from 'vscode';

/** What the manifest says, as far as it is compared here. */
interface Manifest {
  readonly activationEvents: readonly string[];
  readonly contributes: {
    readonly commands: readonly { readonly command: string }[];
    readonly configuration: {
      readonly properties: Readonly<Record<string, { readonly scope?: string; readonly default: unknown }>>;
    };
  };
}

/** Settings that name a host, or a program or file of this machine: a folder must not set them (H33). */
const machineBound = ['forkpoint.hosts', 'forkpoint.sshClient', 'forkpoint.sshConfigFile'];

describe('the extension as the editor sees it', () => {
  let extension: vscode.Extension<unknown>;
  let manifest: Manifest;

  before(async () => {
    const found = vscode.extensions.getExtension('forkpoint.forkpoint');
    assert.ok(found, 'forkpoint.forkpoint is not installed');
    extension = found;
    manifest = extension.packageJSON as Manifest;
    await extension.activate();
  });

  it('registers exactly the commands of the manifest', async () => {
    const registered = (await vscode.commands.getCommands(true)).filter(
      // The editor makes commands of its own for each view.
      (id) => id.startsWith('forkpoint.') && !id.startsWith('forkpoint.snapshots.'),
    );
    assert.deepEqual(registered.sort(), manifest.contributes.commands.map(({ command }) => command).sort());
  });

  it('is activated without ssh2, which is loaded when a host is connected to', () => {
    const loaded = Object.keys(createRequire(path.join(extension.extensionPath, 'any.js')).cache);
    const bundle = (name: string) => path.join(extension.extensionPath, 'dist', name);
    assert.ok(loaded.includes(bundle('extension.js')), `among ${String(loaded.length)} modules`);
    assert.ok(!loaded.includes(bundle('ssh2.js')));
    assert.deepEqual(manifest.activationEvents, ['onStartupFinished']);
  });

  it('H33 no setting of a folder names a host, a program or a file', async () => {
    for (const id of machineBound) {
      assert.equal(manifest.contributes.configuration.properties[id]?.scope, 'application', id);
      const [section, key] = [id.slice(0, id.indexOf('.')), id.slice(id.indexOf('.') + 1)];
      const settings = vscode.workspace.getConfiguration(section);
      await assert.rejects(
        Promise.resolve(settings.update(key, undefined, vscode.ConfigurationTarget.Workspace)),
        id,
      );
    }
  });

  it('every setting has the default that its users read of', () => {
    for (const [id, { default: value }] of Object.entries(manifest.contributes.configuration.properties)) {
      assert.deepEqual(vscode.workspace.getConfiguration().inspect(id)?.defaultValue, value, id);
    }
  });
});

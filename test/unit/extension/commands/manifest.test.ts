import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as z from 'zod';
import { commandIds, titleCommandIds } from '../../../../src/extension/commands/registry.ts';

const read = (name: string): unknown =>
  JSON.parse(readFileSync(fileURLToPath(new URL(`../../../../${name}`, import.meta.url)), 'utf8'));

const MenuSchema = z.array(
  z.object({ command: z.string(), when: z.string().optional(), group: z.string().optional() }),
);
const ManifestSchema = z.object({
  capabilities: z.object({
    untrustedWorkspaces: z.object({ restrictedConfigurations: z.array(z.string()) }),
  }),
  contributes: z.object({
    commands: z.array(z.object({ command: z.string(), title: z.string(), category: z.string() })),
    keybindings: z.array(z.object({ command: z.string(), key: z.string(), mac: z.string() })),
    menus: z.record(z.string(), MenuSchema),
    configuration: z.object({
      properties: z.record(
        z.string(),
        z.object({ scope: z.string().optional(), markdownDescription: z.string() }).loose(),
      ),
    }),
  }),
});
const text = readFileSync(fileURLToPath(new URL('../../../../package.json', import.meta.url)), 'utf8');
const { capabilities, contributes } = ManifestSchema.parse(JSON.parse(text));
const nls = z.record(z.string(), z.string()).parse(read('package.nls.json'));

describe('the manifest', () => {
  it('has the commands that are registered, in the same order', () => {
    assert.deepEqual(
      contributes.commands.map(({ command }) => command),
      [...commandIds],
    );
  });

  it('has every command in the palette, but for what a click on a row does, and one that needs another extension', () => {
    assert.deepEqual(contributes.menus['commandPalette'], [
      { command: 'forkpoint.openRow', when: 'false' },
      { command: 'forkpoint.openInNewWindow', when: 'forkpoint.hasRemoteSsh' },
    ]);
  });

  it('has no menu entry or key for a command that is not there', () => {
    const used = [...Object.values(contributes.menus).flat(), ...contributes.keybindings].map(
      ({ command }) => command,
    );
    assert.deepEqual(
      used.filter((command) => !commandIds.some((id) => id === command)),
      [],
    );
  });

  it('has the commands of rows in the title of the view that are known to stand there', () => {
    const ofRows = new Set(contributes.menus['view/item/context']?.map(({ command }) => command));
    const inTitle = contributes.menus['view/title']?.map(({ command }) => command) ?? [];
    assert.deepEqual(inTitle.filter((command) => ofRows.has(command)).sort(), [...titleCommandIds].sort());
  });

  it('has no key with Ctrl+Alt, which types characters on many keyboards', () => {
    for (const { key } of contributes.keybindings) assert.doesNotMatch(key, /ctrl\+alt|alt\+ctrl/);
  });

  it('H33: takes hosts, and what runs for them, from the user alone', () => {
    // What a repository may set names no host, workspace or command, and does nothing before the folder is trusted.
    const ofRepositories = [
      'forkpoint.saveBeforeSnapshot',
      'forkpoint.beforeAi.alias',
      'forkpoint.beforeAi.task',
    ];
    const settings = Object.entries(contributes.configuration.properties);
    assert.deepEqual(
      settings.filter(([, { scope }]) => scope !== 'application').map(([name]) => name),
      ofRepositories,
    );
    assert.deepEqual(capabilities.untrustedWorkspaces.restrictedConfigurations, ofRepositories);
  });

  it('has each text in package.nls.json, and no other there', () => {
    const used = [...text.matchAll(/"%([\w.]+)%"/g)].map(([, key = '']) => key).sort();
    assert.deepEqual([...new Set(used)], Object.keys(nls).sort());
  });

  it('ends the title of a command with … where it asks for more than a confirmation', () => {
    for (const { title } of contributes.commands)
      assert.ok(Object.hasOwn(nls, title.replaceAll('%', '')), title);
    const asking = [
      'snapshotWorkspace',
      'restore',
      'fork',
      'setProject',
      'deleteSnapshots',
      'renameAlias',
      'editNote',
      'setExpiry',
      'newWorkspace',
      'forwardPort',
      'selectWorkspace',
      'addHost',
    ];
    for (const id of commandIds) {
      const name = id.replace('forkpoint.', '');
      assert.equal(nls[`command.${name}`]?.endsWith('…'), asking.includes(name), name);
    }
  });
});

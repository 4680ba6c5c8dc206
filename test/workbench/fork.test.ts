import assert from 'node:assert/strict';
import type { TestHost } from '../host/machine/machine.ts';
import { SmallWorkspace } from '../host/small/smallWorkspace.ts';
import { ask } from '../host/workspace.ts';
import { until } from './editor/deadline.ts';
import type { EditorWindow } from './editor/window.ts';
import { patience, sharedStage, tidyUp } from './stage.ts';

describe('forks in the workbench', function () {
  this.timeout(240_000);
  let host: TestHost;
  let shop: SmallWorkspace;
  let window: EditorWindow;

  before(async () => {
    ({ host, window } = await sharedStage());
    shop = await SmallWorkspace.create(host, 'shop');
    await shop.mark('original');
    await ask(host, 'snapshots/create', { container: 'shop', alias: 'base' });
    await window.treeRow('base', undefined, patience);
  });

  afterEach(async function () {
    await tidyUp(this.currentTest, window);
  });

  async function namesOnHost(): Promise<string[]> {
    return (await ask(host, 'containers/list', {})).map(({ name }) => name).sort();
  }

  async function isGone(label: string): Promise<void> {
    await until(
      `the row "${label}" to go`,
      async () => (await window.treeRows()).every((row) => row.label !== label),
      patience,
    );
  }

  /** A word that no program of the workspace writes. */
  async function readMark(rootfs: string): Promise<string> {
    return host.run(['cat', `${rootfs}/mark`]);
  }

  it('three forks of a snapshot stand live below it, and the original runs on', async () => {
    await window.chooseInRowMenu('base', 'Fork…');
    await window.quickInput({ title: /^Fork "shop" from "base"$/, message: /^Name of the fork/ });
    await window.enter('try');
    await window.quickInput({ message: /^How many forks/ });
    await window.type('33');
    await window.quickInput({ message: /^Give a number from 1 to 32/ });
    await window.enter('3');
    const seen = new Set<string>();
    await until(
      'the forks to run',
      async () => {
        const forks = (await window.treeRows()).filter(({ label }) => label.startsWith('try-'));
        for (const { description } of forks) seen.add(description);
        return forks.length === 3 && forks.every(({ description }) => description.startsWith('running'));
      },
      patience,
    );
    assert.deepEqual(
      [...seen].filter((description) => !/^(running|being made)/.test(description)),
      [],
    );
    const base = await window.treeRow('base');
    for (const name of ['try-1', 'try-2', 'try-3']) {
      const row = await window.treeRow(name, undefined, patience);
      assert.match(row.description, /^running · /);
      assert.equal(row.icon, 'repo-forked');
      assert.equal(row.level, base.level + 1);
    }
    // The window goes on working on the original.
    await window.statusBarItem(/^base · /);
    await window.screenshot('forks');
    assert.deepEqual(await namesOnHost(), ['shop', 'try-1', 'try-2', 'try-3']);
    await shop.look('running');
  });

  it('Drop names what is thrown away; Escape keeps the fork', async () => {
    const fork = await ask(host, 'containers/show', { container: 'try-2' });
    await host.run(['tee', `${fork.rootfs}/experiment`], { input: 'a word' });
    for (const answer of ['Escape', 'Drop']) {
      await window.chooseInRowMenu('try-2', 'Drop Fork');
      const { detail } = await window.dialog(/^Drop the fork "try-2"\?/, patience);
      assert.match(detail, /\d+ files changed in it: /);
      assert.match(detail, /"shop" and its snapshots stay/);
      await window.screenshot('drop a fork');
      await window.answerDialog(answer);
      if (answer === 'Escape') assert.ok((await namesOnHost()).includes('try-2'));
    }
    await isGone('try-2');
    assert.deepEqual(await namesOnHost(), ['shop', 'try-1', 'try-3']);
  });

  it('the key that deletes drops the selected fork, after the same question', async () => {
    await window.clickRow('try-3');
    await window.page.keyboard.press('Delete');
    await window.dialog(/^Drop the fork "try-3"\?/, patience);
    await window.answerDialog('Drop');
    await isGone('try-3');
  });

  it('a snapshot dropped onto its workspace asks to be restored; Escape restores nothing', async () => {
    await window.dragRow('base', 'shop');
    await window.dialog(/^Restore "shop" to "base"/, patience);
    await window.answerDialog('Escape');
    assert.equal((await ask(host, 'containers/show', { container: 'shop' })).undo, null);
  });

  it('workspaces of a project stand together, and a snapshot dropped onto it is forked into it', async () => {
    await window.chooseInRowMenu('shop', 'Set Project…');
    await window.choose('New project…');
    await window.quickInput({ title: /^Project of "shop"/ });
    await window.enter('web');
    const project = await window.treeRow('web', undefined, patience);
    assert.equal((await window.treeRow('shop')).level, project.level + 1);
    await window.setRowExpanded('shop', true);
    await window.dragRow('base', 'web');
    await window.quickInput({ title: /^Fork "shop" from "base"$/, message: /^Name of the fork/ });
    await window.enter('dragged');
    await window.quickInput({ message: /^How many forks/ });
    await window.enter('1');
    await window.treeRow('dragged', undefined, patience);
    await window.screenshot('project');
    assert.equal((await ask(host, 'containers/show', { container: 'dragged' })).project, 'web');
  });

  it('Fork… of the palette begins from now when so chosen', async () => {
    await window.runCommand('Forkpoint: Select Current Workspace…');
    await window.choose('shop');
    await window.runCommand('Forkpoint: Fork…');
    await window.choose('Now');
    await window.quickInput({ title: /^Fork "shop" as it is now$/ });
    await window.enter('from-now');
    await window.quickInput({ message: /^How many forks/ });
    await window.enter('1');
    await until(
      'the running fork',
      async () => (await window.treeRow('from-now')).description.startsWith('running'),
      patience,
    );
  });

  it('Promote lets a fork take the place of the original, and its Undo brings that back', async () => {
    const [fork, original] = [
      await ask(host, 'containers/show', { container: 'try-1' }),
      await ask(host, 'containers/show', { container: 'shop' }),
    ];
    await host.run(['tee', `${fork.rootfs}/mark`], { input: 'winner' });
    await window.chooseInRowMenu('try-1', 'Promote Fork');
    await window.dialog(/^Let the fork "try-1" take the place of "shop"\?/, patience);
    await window.screenshot('promote');
    await window.answerDialog('Escape');
    assert.equal(await readMark(original.rootfs), 'original');
    await window.chooseInRowMenu('try-1', 'Promote Fork');
    await window.dialog(/^Let the fork "try-1" take the place of "shop"\?/, patience);
    await window.answerDialog('Promote');
    await window.notification(/^The fork "try-1" took the place of "shop"/, patience);
    await isGone('try-1');
    assert.equal(await readMark(original.rootfs), 'winner');

    await window.answerNotification(/took the place of "shop"/, 'Undo');
    await window.dialog(/^Undo the restore of "shop"/, patience);
    await window.answerDialog('Restore');
    await window.notification(/^"shop" is back at/, patience);
    assert.equal(await readMark(original.rootfs), 'original');
  });
});

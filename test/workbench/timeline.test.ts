import assert from 'node:assert/strict';
import type { TestHost } from '../host/machine/machine.ts';
import { SmallWorkspace } from '../host/small/smallWorkspace.ts';
import { ask } from '../host/workspace.ts';
import { until } from './editor/deadline.ts';
import type { EditorWindow } from './editor/window.ts';
import { patience, sharedStage, tidyUp } from './stage.ts';

describe('the timeline in the workbench', function () {
  this.timeout(180_000);
  let host: TestHost;
  let window: EditorWindow;

  before(async () => {
    ({ host, window } = await sharedStage());
    await SmallWorkspace.create(host, 'shop');
    for (const alias of ['first', 'second', 'third', 'fourth']) await snapshot(alias);
    await window.treeRow('fourth', undefined, patience);
  });

  afterEach(async function () {
    await tidyUp(this.currentTest, window);
  });

  async function snapshot(alias: string): Promise<void> {
    await ask(host, 'snapshots/create', { container: 'shop', alias, mode: 'stateless' });
  }

  async function aliases(): Promise<(string | null)[]> {
    return (await ask(host, 'snapshots/list', { container: 'shop' })).map(({ alias }) => alias);
  }

  it('keeps the tooltip of a row while another one is drawn anew', async () => {
    const hover = window.page.locator('.workbench-hover-container .monaco-hover').last();
    // The capture report comes when the tooltip is wanted.
    await until('the tooltip', async () => (await window.hoverRow('second')).includes('Holds'));
    await ask(host, 'snapshots/protect', { container: 'shop', name: 'third' });
    await until('the lock', async () => (await window.treeRow('third')).icon === 'lock');
    assert.equal(await hover.isVisible(), true);
    await ask(host, 'snapshots/unprotect', { container: 'shop', name: 'third' });
  });

  it('selects nothing else when a snapshot is taken elsewhere: the next key must meet what was chosen', async () => {
    await window.clickRow('second');
    await snapshot('fifth');
    await window.treeRow('fifth', undefined, patience);
    await until('the row to stay selected', async () => (await window.treeRow('second')).isSelected);
    assert.equal((await window.treeRow('fifth')).isSelected, false);
  });

  it('deletes the selected snapshots after naming them; Escape deletes none', async () => {
    const before = await aliases();
    for (const answer of ['Escape', 'Delete 2 Snapshots']) {
      await window.clickRow('first');
      await window.clickRow('second', undefined, 'Control');
      await window.page.keyboard.press('Delete');
      const { detail } = await window.dialog(/^Delete 2 snapshots of "shop"\?/);
      assert.match(detail, /•\s+first\n•\s+second/);
      await window.screenshot('delete several');
      await window.answerDialog(answer);
      if (answer === 'Escape') assert.deepEqual(await aliases(), before);
    }
    const left = before.filter((alias) => alias !== 'first' && alias !== 'second');
    await until('both to be gone', async () => (await aliases()).length === left.length, patience);
    assert.deepEqual(await aliases(), left);
  });

  it('leaves a workspace folded that the user has folded, whatever is taken of it', async () => {
    await window.setRowExpanded('shop', false);
    await snapshot('sixth');
    const count = (await aliases()).length;
    await until('the count', async () =>
      (await window.treeRow('shop')).description.includes(`${String(count)} snapshots`),
    );
    assert.equal((await window.treeRow('shop')).isExpanded, false);
    await window.setRowExpanded('shop', true);
  });

  it('says that a snapshot without processes starts the workspace anew, and does so', async () => {
    await window.clickRowAction('third', 'Restore…');
    const { detail } = await window.dialog(/^Restore "shop" to "third"/);
    assert.match(detail, /^This snapshot holds files only: the workspace starts anew from them\.$/m);
    await window.screenshot('restore of files only');
    await window.answerDialog('Restore');
    await window.notification(/^"shop" is back at "third", started from its files\./, patience);
  });

  it('tells what is the matter with a workspace that does not run, and what to do', async () => {
    await ask(host, 'containers/stop', { container: 'shop', timeout: 0 });
    await until('it to be stopped', async () => /^stopped/.test((await window.treeRow('shop')).description));
    await host.run(['podman', 'rm', '--force', 'forkpoint-shop']);
    await window.runCommand('Forkpoint: Refresh');
    await until('the row to say it', async () =>
      /^container missing/.test((await window.treeRow('shop')).description),
    );
    assert.match(await window.hoverRow('shop'), /Start the workspace to have it made again/);
    await window.screenshot('missing container');
    await window.chooseInRowMenu('shop', 'Start Workspace');
    await until(
      'it to run again',
      async () => /^running/.test((await window.treeRow('shop')).description),
      patience,
    );
  });
});

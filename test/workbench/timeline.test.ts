import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Browser } from 'playwright-core';
import type { TestHost } from '../host/machine/machine.ts';
import {
  forkpoint,
  loggedDaemon,
  SmallWorkspace,
  spoilImage,
  whenLogged,
} from '../host/small/smallWorkspace.ts';
import { ask } from '../host/workspace.ts';
import { until } from './editor/deadline.ts';
import { SlowLine } from './editor/slowLine.ts';
import { EditorWindow } from './editor/window.ts';
import type { Workbench } from './editor/workbench.ts';
import { patience, sharedStage, tidyUp } from './stage.ts';

describe('the timeline in the workbench', function () {
  this.timeout(180_000);
  let host: TestHost;
  let workbench: Workbench;
  let browser: Browser;
  let window: EditorWindow;
  let folder: string;

  before(async () => {
    ({ host, workbench, browser, window } = await sharedStage());
    folder = await mkdtemp(path.join(tmpdir(), 'forkpoint-timeline-'));
    await SmallWorkspace.create(host, 'shop');
    for (const alias of ['first', 'second', 'third', 'fourth']) await snapshot(alias);
    await window.treeRow('fourth', undefined, patience);
  });

  after(() => rm(folder, { recursive: true, force: true }));
  afterEach(async function () {
    await tidyUp(this.currentTest, window);
  });

  async function snapshot(alias: string): Promise<void> {
    await ask(host, 'snapshots/create', { container: 'shop', alias, mode: 'stateless' });
  }

  async function aliases(): Promise<(string | null)[]> {
    return (await ask(host, 'snapshots/list', { container: 'shop' })).map(({ alias }) => alias);
  }

  /** Does what opens a question, again where a row was being redrawn just then: what is counted of a new snapshot comes late. */
  async function untilAsked(work: () => Promise<void>): Promise<void> {
    const isRefused = async (): Promise<boolean> =>
      (await window.notifications()).some(({ message }) => message.startsWith('Nothing was done'));
    do {
      if (await isRefused()) await window.clearNotifications();
      await work();
      await until('an answer', async () => (await window.isDialogOpen()) || (await isRefused()));
    } while (await isRefused());
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
      await untilAsked(async () => {
        await window.clickRow('first');
        await window.clickRow('second', undefined, 'Control');
        await window.page.keyboard.press('Delete');
      });
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

  it('does nothing for a row that the editor forgot as it drew the one above anew, and says so', async () => {
    const line = await SlowLine.open(workbench.url(folder));
    const slow = await EditorWindow.open(browser, line.url);
    try {
      await slow.openViewContainer('Forkpoint');
      await slow.runCommand('Forkpoint: Connect');
      await slow.treeRow('fourth', undefined, patience);
      // The first call of a command asks the server whether the extension is activated.
      await slow.chooseInRowMenu('third', 'Protect');
      await until('the lock', async () => (await slow.treeRow('third')).icon === 'lock');
      await ask(host, 'snapshots/unprotect', { container: 'shop', name: 'third' });
      await until('no lock', async () => (await slow.treeRow('third')).icon !== 'lock');
      await slow.openRowMenu('third');
      await line.whileHeld(async () => {
        await snapshot('seventh');
        await line.serverHasSpoken();
        assert.equal(await slow.takeMenuEntry('Protect'), true);
      });
      await slow.notification(/^Nothing was done: the row was being redrawn\./, patience);
      await slow.screenshot('forgotten row');
      assert.equal(await slow.isQuickInputOpen(), false);
      const kept = await ask(host, 'snapshots/list', { container: 'shop' });
      assert.ok(kept.every((each) => !each.protected));
      await slow.clearNotifications();
      await slow.chooseInRowMenu('third', 'Protect');
      await until('the lock', async () => (await slow.treeRow('third')).icon === 'lock');
      await ask(host, 'snapshots/unprotect', { container: 'shop', name: 'third' });
    } finally {
      await slow.close();
      await line.close();
    }
  });

  it('says that a snapshot without processes starts the workspace anew, and does so', async () => {
    await window.clickRowAction('third', 'Restore…');
    const { detail } = await window.dialog(/^Restore "shop" to "third"/);
    assert.match(detail, /^This snapshot holds files only: the workspace starts anew from them\.$/m);
    await window.screenshot('restore of files only');
    await window.answerDialog('Restore');
    await window.notification(/^"shop" is back at "third", started from its files\./, patience);
  });

  it('tells of a restore that failed when nobody waited for it any more, until the user goes on', async () => {
    await ask(host, 'snapshots/create', { container: 'shop', alias: 'unfit' });
    const { id } = await ask(host, 'containers/show', { container: 'shop' });
    const unfit = (await ask(host, 'snapshots/list', { container: 'shop' })).find(
      ({ alias }) => alias === 'unfit',
    );
    await spoilImage(host, `/var/lib/forkpoint/snapshots/${id}/${String(unfit?.name)}`);
    // Its daemon is killed past the point of no return, and the next one can't finish it.
    const { exitCode } = await whenLogged(
      host,
      'snapshots/restore: settle',
      `kill -s KILL ${loggedDaemon}`,
      () => forkpoint(host, ['snapshots', 'restore', '-c', 'shop', '--name', 'unfit']),
    );
    assert.notEqual(exitCode, 0);
    await window.notification(/^Restoring "shop" to ".*" failed at the step "wake"\. .*put back/, patience);
    await until('the row to tell it', async () =>
      /^running · restore failed · /.test((await window.treeRow('shop')).description),
    );
    assert.match(await window.hoverRow('shop'), /put back to where it was before/);
    await window.screenshot('restore that failed unattended');
    await window.clearNotifications();
    await snapshot('after');
    await until('it to be over', async () => !/failed/.test((await window.treeRow('shop')).description));
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

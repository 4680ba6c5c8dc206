import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { HeavyLoad } from '../host/heavyWorkspace.ts';
import { bootHost, type TestHost } from '../host/machine/machine.ts';
import { forkpoint } from '../host/workspace.ts';
import { until } from './editor/deadline.ts';
import { installPrerequisites } from './editor/prerequisites.ts';
import { EditorWindow, launchBrowser } from './editor/window.ts';
import { startWorkbench, type Workbench } from './editor/workbench.ts';
import {
  assertBack,
  assertWrecked,
  look,
  makeRepository,
  requireVsix,
  sshAlias,
  startShop,
  vsix,
  wreck,
  type Sight,
} from './liveHost.ts';

/** The alias that "Snapshot Before AI Edit" gives on the branch of this suite's folder. */
const beforeAi = /^before-ai-checkout-page-\d{4}-\d{2}-\d{2}$/;
const restoring = /^Restore "shop" to "before-ai-checkout-page-/;
const isBack = /^"shop" is back at "before-ai-checkout-page-/;

describe('the packaged extension in the workbench, on a real host', function () {
  this.timeout(180_000);
  let directory: string;
  /** What ends what was started, in that order. */
  const closing: (() => Promise<void>)[] = [];
  let host: TestHost;
  let workbench: Workbench;
  let window: EditorWindow;
  let load: HeavyLoad;
  let intact: Sight;
  let failed: string | undefined;
  let isToldOf = false;

  /** One step of the story. Those after one that failed fail at once, rather than at their deadlines. */
  function step(title: string, body: () => Promise<void>): void {
    it(title, async () => {
      if (failed !== undefined) throw new Error(`The story broke off at "${failed}"`);
      failed = title;
      await body();
      failed = undefined;
    });
  }

  before(async () => {
    await requireVsix();
    await installPrerequisites({ assumeYes: true });
    directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-story-'));
    closing.push(() => rm(directory, { recursive: true, force: true }));
    await makeRepository(directory, 'checkout-page');
    host = await bootHost({ name: 'workbench', ifRunning: 'replace', installsHelper: false });
    closing.push(() => host.down());
    workbench = await startWorkbench({
      vsix: [vsix],
      sshConfig: sshAlias('demo', host),
      settings: { 'forkpoint.hosts': ['demo'] },
    });
    closing.push(() => workbench.stop());
    const browser = await launchBrowser();
    closing.push(() => browser.close());
    window = await EditorWindow.open(browser, workbench.url(directory));
  });

  after(async () => {
    for (const close of closing.reverse()) await close();
  });

  afterEach(async function () {
    if (this.currentTest?.isFailed() !== true || failed === undefined || isToldOf) return;
    isToldOf = true;
    await window.screenshot(`failed ${this.currentTest.title}`);
    process.stderr.write(
      `${(await workbench.readChannel('forkpoint.forkpoint', 'Forkpoint')).slice(-4000)}\n`,
    );
  });

  step('H36 a window starts without a question, and says what to do next', async () => {
    await window.openViewContainer('Forkpoint');
    await window.treeRow('demo', undefined, { timeoutMs: 60_000 });
    // Its key lets it in, but nothing of ours is there yet, and nobody is asked whether it may be.
    await window.treeRow('Set up this host');
    assert.equal((await window.treeRow('demo')).description, 'needs set-up');
    const items = await window.statusBarItems();
    assert.deepEqual(
      items.filter(({ ariaLabel, icons }) => /forkpoint/i.test(ariaLabel) || icons.includes('history')),
      [],
    );
    assert.equal(await window.isDialogOpen(), false);
    assert.equal(await window.isQuickInputOpen(), false);
    const log = await workbench.readChannel('forkpoint.forkpoint', 'Forkpoint');
    assert.doesNotMatch(log, /asking the user/);
    await window.screenshot('needs set-up');
  });

  step('nothing is installed on the host unless the user says so', async () => {
    // Both ways to ask for it ask back, and leave the row that says what to do.
    for (const ask of [
      () => window.chooseInRowMenu('demo', 'Connect'),
      () => window.clickRow('Set up this host'),
    ]) {
      await ask();
      await window.dialog(/^Install the Forkpoint helper on "demo"\?/);
      await window.screenshot('install');
      await window.answerDialog('Escape');
      await window.treeRow('Set up this host');
      assert.equal((await window.treeRow('demo')).description, 'needs set-up');
      assert.deepEqual(await window.notifications(), []);
    }
    assert.notEqual((await host.exec(['test', '-e', '/usr/local/lib/forkpoint'])).exitCode, 0);
  });

  step('it connects, installs its helper and shows that there is no workspace', async () => {
    await window.chooseInRowMenu('demo', 'Connect');
    await window.dialog(/^Install the Forkpoint helper on "demo"\?/);
    await window.answerDialog('Install');
    await window.treeRow('New workspace…');
    await window.screenshot('no workspace');
  });

  step('a workspace that is made elsewhere appears by itself', async () => {
    load = await startShop(host);
    const row = await window.treeRow('shop');
    assert.equal(row.description, 'running · no snapshot');
    await window.treeRow('Take the first snapshot…');
    await window.statusBarItem(/shop: no snapshot/);
    await window.screenshot('no snapshot');
  });

  step('Snapshot Before AI Edit asks nothing and shows what it took', async () => {
    await load.counts();
    intact = await look(load);
    await window.runCommand('Forkpoint: Snapshot Before AI Edit');
    const row = await window.treeRow(beforeAi);
    assert.equal(row.icon, 'sparkle-filled');
    assert.match(row.description, /current/);
    await window.statusBarItem(/before-ai-checkout-page-.* · /);
    await until('the message about the snapshot', async () =>
      (await window.statusBarItems()).some(({ text }) => /Snapshot "before-ai-.*" taken in/.test(text)),
    );
    // The capture report comes when the tooltip is wanted.
    const tooltip = await until('the tooltip with the capture report', async () => {
      const text = await window.hoverRow(beforeAi);
      return text.includes('Processes kept') && text;
    });
    await window.screenshot('snapshot with its tooltip');
    for (const fact of [/snapshot before an AI edit, current/, /postgres/, /data: \/data/])
      assert.match(tooltip, fact);
    // One request more than `intact`, and the workspace runs on.
    assert.equal((await load.counts()).requests, intact.requests + 1);
  });

  step('a click in the status bar says what would be lost; Escape and Cancel change nothing', async () => {
    await wreck(load);
    for (const answer of ['Escape', 'Cancel']) {
      await window.clickStatusBarItem(/before-ai-checkout-page/);
      const { detail, buttons } = await window.dialog(restoring);
      assert.match(detail, /\d+ files changed since/);
      assert.match(detail, /1 process started since, which will end: sleep/);
      assert.match(detail, /\d+ processes ended since, which will run again/);
      assert.deepEqual([...buttons].sort(), ['Cancel', 'Restore']);
      await window.screenshot('modal');
      await window.answerDialog(answer);
      await assertWrecked(load);
      assert.equal((await forkpoint(host, 'containers/show', ['-c', 'shop'])).snapshotCount, 1);
    }
  });

  step('Restore brings back rows, files, processes, counters in memory and the terminals', async () => {
    await window.clickStatusBarItem(/before-ai-checkout-page/);
    await window.dialog(restoring);
    await window.answerDialog('Restore');
    const { message, severity, buttons } = await window.notification(isBack, { timeoutMs: 60_000 });
    assert.equal(severity, 'info');
    assert.deepEqual(buttons, ['Undo']);
    assert.match(message, /processes included/);
    await window.screenshot('restored');
    await assertBack(load, intact);
  });

  step('H31 the status bar goes on aiming at what was restored, not at the safety snapshot', async () => {
    assert.equal((await window.treeRow('Safety snapshots')).description, '1');
    assert.equal((await window.treeRow(beforeAi)).icon, 'sparkle-filled');
    await window.clearNotifications();
    await wreck(load);
    await window.clickStatusBarItem(/before-ai-checkout-page/);
    await window.dialog(restoring);
    await window.answerDialog('Restore');
    await window.notification(isBack, { timeoutMs: 60_000 });
    await assertBack(load, intact);
  });

  step(
    'H32 after a reload the result is still told, and its Undo brings back what the restore took away',
    async () => {
      await window.reload();
      // A toast hides by itself after a while; the message stays in the centre.
      await window.statusBarItem(/before-ai-checkout-page-.* · /, { timeoutMs: 60_000 });
      await window.runCommand('Notifications: Show Notifications');
      const told = /^"shop" (is back at|was restored to) "before-ai-/;
      assert.deepEqual((await window.notification(told, { timeoutMs: 60_000 })).buttons, ['Undo']);
      await window.answerNotification(told, 'Undo');
      await window.dialog(/^Undo the restore of "shop", made /);
      await window.screenshot('undo');
      await window.answerDialog('Restore');
      await window.notification(/^"shop" is back at "/, { timeoutMs: 60_000 });
      await assertWrecked(load);
      // The head is a safety snapshot, but what a click goes back to is not.
      await window.statusBarItem(/before-ai-checkout-page-.* · /);
    },
  );

  step('Restore Last Snapshot in the palette goes forward again', async () => {
    await window.clearNotifications();
    await window.runCommand('Forkpoint: Restore Last Snapshot');
    await window.dialog(restoring);
    await window.answerDialog('Restore');
    await window.notification(isBack, { timeoutMs: 60_000 });
    await assertBack(load, intact);
    await window.clearNotifications();
  });

  step('Rename Alias refuses what can not be a name, and shows the other one everywhere', async () => {
    await window.openViewContainer('Forkpoint');
    await window.chooseInRowMenu(beforeAi, 'Rename Alias…');
    await window.quickInput({ title: /^Alias of "before-ai-/ });
    await window.type('-rf');
    await window.quickInput({ message: /^Use 1 to 64 letters/ });
    await window.enter('good-state');
    await window.treeRow('good-state');
    await window.statusBarItem(/^good-state · /);
  });

  step('Edit Note and Set Expiry show in the row and in its tooltip', async () => {
    await window.chooseInRowMenu('good-state', 'Edit Note…');
    await window.quickInput({ title: /^Note for "good-state"/ });
    await window.enter('before the *new* checkout');
    await window.chooseInRowMenu('good-state', 'Set Expiry…');
    await window.choose('Another number of days…');
    await window.quickInput({ message: /^Days until it expires/ });
    await window.type('none');
    await window.quickInput({ message: /^Give a number over 0/ });
    await window.enter('0.5');
    await until('the expiry in the row', async () =>
      /expires in 1[12] hours/.test((await window.treeRow('good-state')).description),
    );
    const tooltip = await until('the note in the tooltip', async () => {
      const text = await window.hoverRow('good-state');
      return text.includes('before the *new* checkout') && text;
    });
    assert.match(tooltip, /Expires/);
    await window.screenshot('note and expiry');
  });

  step('a protected snapshot is not deleted', async () => {
    await window.chooseInRowMenu('good-state', 'Protect');
    await until('the lock', async () => (await window.treeRow('good-state')).icon === 'lock');
    await window.chooseInRowMenu('good-state', 'Delete…');
    await until('a refusal, or a question whose answer is refused', async () => {
      if (await window.isDialogOpen()) await window.answerDialog('Delete');
      return (await window.notifications()).some(({ message }) => /protected/.test(message));
    });
    await window.screenshot('protected');
    await window.clearNotifications();
    await window.chooseInRowMenu('good-state', 'Unprotect');
    await until('no lock', async () => (await window.treeRow('good-state')).icon === 'sparkle-filled');
  });

  step('Snapshot Workspace… and Delete… ask first; Escape and Cancel delete nothing', async () => {
    await window.runCommand('Forkpoint: Snapshot Workspace…');
    await window.quickInput({ title: /Snapshot/ });
    await window.enter('second');
    await window.choose('Never expires');
    await window.treeRow('second');
    for (const answer of ['Escape', 'Cancel', 'Delete']) {
      // A menu closes unanswered when the tree is drawn anew under it.
      const { detail } = await until('the question', async () => {
        if (!(await window.isDialogOpen())) await window.chooseInRowMenu('second', 'Delete…');
        return window.dialog(/^Delete the snapshot "second" of "shop"\?/, { timeoutMs: 5_000 });
      });
      assert.match(detail, /can't be undone/);
      await window.screenshot('delete');
      await window.answerDialog(answer);
      if (answer === 'Delete') break;
      const kept = await forkpoint(host, 'snapshots/list', ['-c', 'shop']);
      assert.ok(
        kept.some(({ alias }) => alias === 'second'),
        `after ${answer}`,
      );
    }
    await until('the row to go', async () =>
      (await window.treeRows()).every(({ label }) => label !== 'second'),
    );
    const left = await forkpoint(host, 'snapshots/list', ['-c', 'shop']);
    assert.ok(left.every(({ alias }) => alias !== 'second'));
  });

  step('Stop asks, Start runs the workspace again, and a restore brings the processes back', async () => {
    await window.chooseInRowMenu('shop', 'Stop Workspace');
    await window.dialog(/^Stop "shop"\?/);
    await window.answerDialog('Cancel');
    assert.equal((await forkpoint(host, 'containers/show', ['-c', 'shop'])).state, 'running');
    await window.chooseInRowMenu('shop', 'Stop Workspace');
    await window.dialog(/^Stop "shop"\?/);
    await window.answerDialog('Stop');
    await until('the stopped workspace', async () =>
      /^stopped/.test((await window.treeRow('shop')).description),
    );
    await window.screenshot('stopped');
    await window.chooseInRowMenu('shop', 'Start Workspace');
    await until('the running workspace', async () =>
      /^running/.test((await window.treeRow('shop')).description),
    );
    await window.clickRowAction('good-state', 'Restore…');
    await window.dialog(/^Restore "shop" to "good-state"/);
    await window.answerDialog('Restore');
    await window.notification(/^"shop" is back at "good-state"/, { timeoutMs: 60_000 });
    await assertBack(load, intact);
  });

  step('the log tells the story of each operation with its times', async () => {
    const log = await workbench.readChannel('forkpoint.forkpoint', 'Forkpoint');
    assert.match(log, /"shop" is back at "good-state": .*\d+ ms/);
    assert.match(log, /step "dump" after/);
  });
});

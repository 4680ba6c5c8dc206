import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { workspaceTarInHost } from '../host/machine/recipe.ts';
import { ask, TestWorkspace } from '../host/workspace.ts';
import { until } from './editor/deadline.ts';
import { EditorWindow } from './editor/window.ts';
import { AUTO_SAVE_MS, patience, sharedStage, tidyUp } from './stage.ts';

describe('editors on the files of a restored workspace', function () {
  this.timeout(240_000);
  let file: string;
  /** The window that restores, and another one on the same folder. */
  let window: EditorWindow;
  let other: EditorWindow;

  before(async () => {
    const { host, workbench, browser } = await sharedStage();
    const { rootfs } = await TestWorkspace.create(host, 'notes', { rootfs: workspaceTarInHost });
    // The workspace's /root, as this machine sees it.
    const folder = path.join(`/proc/${String(host.description.pid)}/root`, rootfs, 'root');
    file = path.join(folder, 'notes.txt');
    await writeFile(file, 'restored text\n');
    await ask(host, 'snapshots/create', { container: 'notes', alias: 'good' });
    window = await openOnWorkspace(await EditorWindow.open(browser, workbench.url(folder)));
    other = await openOnWorkspace(await EditorWindow.open(browser, workbench.url(folder)));
  });

  afterEach(async function () {
    await tidyUp(this.currentTest, window);
  });

  after(async () => {
    await window.close();
    await other.close();
  });

  /** Says that the window works on the workspace, and opens the file in it. */
  async function openOnWorkspace(opened: EditorWindow): Promise<EditorWindow> {
    await opened.openViewContainer('Forkpoint');
    await opened.treeRow('notes', undefined, patience);
    await opened.chooseInRowMenu('notes', 'Select Current Workspace…');
    await opened.openViewContainer('Explorer');
    await opened.page.locator('.explorer-folders-view .monaco-list-row:has-text("notes.txt")').dblclick();
    await opened.page.locator('.monaco-editor .view-lines').first().waitFor();
    return opened;
  }

  async function write(into: EditorWindow, text: string): Promise<void> {
    await into.page.locator('.monaco-editor .view-lines').first().click();
    await into.page.keyboard.type(text);
    await until('the unsaved editor', async () => (await into.editorTabs()).some((tab) => tab.endsWith('●')));
  }

  /** Whether a tab is that of the file; a tab shows the end of a name apart. */
  function isFile(tab: string): boolean {
    return /^notes(\.txt)?( ●)?$/.test(tab);
  }

  /** The file's editor has nothing to save, and the text that it had is in an unsaved one beside it. */
  function assertKeptApart(tabs: readonly string[]): void {
    assert.ok(
      tabs.some((tab) => isFile(tab) && !tab.endsWith('●')),
      `the file is unsaved or closed: ${tabs.join(', ')}`,
    );
    assert.ok(
      tabs.some((tab) => !isFile(tab) && tab.endsWith('●')),
      `the copy is not there: ${tabs.join(', ')}`,
    );
  }

  it('H30: another window with unsaved text reads the restored file, and keeps the text apart', async () => {
    await write(other, 'the wreck ');
    await window.clickStatusBarItem(/good ·/);
    await window.dialog(/^Restore "notes" to "good"/);
    await window.answerDialog('Restore');
    await window.notification(/^"notes" is back at "good"/, { timeoutMs: 60_000 });
    await other.notification(/unsaved text is in untitled editors/, { timeoutMs: 60_000 });
    await other.screenshot('editor reverted by another window');
    const tabs = await other.editorTabs();
    assertKeptApart(tabs);
    assert.equal(await readFile(file, 'utf8'), 'restored text\n');
  });

  it('H30: this window names its unsaved editors first; Escape leaves them as they are', async () => {
    await write(window, 'my own text ');
    await window.clickStatusBarItem(/good ·/);
    const { detail, buttons } = await window.dialog(/^A file of "notes" has unsaved changes/);
    assert.match(detail, /notes\.txt/);
    assert.deepEqual([...buttons].sort(), ['Cancel', 'Discard', 'Keep Copies']);
    await window.screenshot('unsaved editors before a restore');
    await window.answerDialog('Escape');
    assert.ok((await window.editorTabs()).some((tab) => isFile(tab) && tab.endsWith('●')));
  });

  it('H30: "Keep Copies" keeps the text apart and restores the file', async () => {
    await window.clickStatusBarItem(/good ·/);
    await window.dialog(/^A file of "notes" has unsaved changes/);
    // The next question follows at once: the dialog is not seen to close in between.
    await window.page.locator('.dialog-buttons .monaco-button').filter({ hasText: 'Keep Copies' }).click();
    await window.dialog(/^Restore "notes" to "good"/);
    await window.answerDialog('Restore');
    await window.notification(/^"notes" is back at "good"/, { timeoutMs: 60_000 });
    const tabs = await window.editorTabs();
    assertKeptApart(tabs);
    // What auto-save would have written, in either window, is written by now.
    await sleep(AUTO_SAVE_MS + 2000);
    assert.equal(await readFile(file, 'utf8'), 'restored text\n');
  });
});

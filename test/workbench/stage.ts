import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Browser } from 'playwright-core';
import { bootHost, type TestHost } from '../host/machine/machine.ts';
import { ask } from '../host/workspace.ts';
import { installPrerequisites } from './editor/prerequisites.ts';
import { EditorWindow, launchBrowser } from './editor/window.ts';
import { startWorkbench, type Workbench } from './editor/workbench.ts';
import { requireVsix, sshAlias, vsix } from './liveHost.ts';

/** How long unsaved text stays unsaved: long enough to restore before it, short enough to wait for. */
export const AUTO_SAVE_MS = 12_000;

/** What a busy machine may take for an operation of the host to show. */
export const patience = { timeoutMs: 90_000 };

/** A host with its helper, known as "demo" to an editor that has the packaged extension. */
export interface Stage {
  readonly host: TestHost;
  readonly workbench: Workbench;
  readonly browser: Browser;
  /** A window on an empty folder, connected to the host, with the Snapshots view in front. */
  readonly window: EditorWindow;
}

const closing: (() => Promise<void>)[] = [];
let shared: Promise<Stage> | undefined;

/**
 * The stage that the suites share, without any workspace: a host, an editor and a window cost most of what a suite
 * takes. Set up at the first call, taken down after the last suite.
 */
export async function sharedStage(): Promise<Stage> {
  shared ??= setUp();
  const stage = await shared;
  for (const { name } of await ask(stage.host, 'containers/list', {})) {
    await ask(stage.host, 'containers/delete', { container: name, withSnapshots: true });
  }
  await stage.window.openViewContainer('Forkpoint');
  await stage.window.treeRow('New workspace…', undefined, patience);
  await stage.window.clearNotifications();
  return stage;
}

/** Takes a picture of what a test failed at, and leaves no question or message for the next one. */
export async function tidyUp(test: Mocha.Runnable | undefined, window: EditorWindow): Promise<void> {
  if (test?.isFailed() === true) await window.screenshot(`failed ${test.title}`);
  if (await window.isDialogOpen()) await window.answerDialog('Escape');
  if (await window.isQuickInputOpen()) await window.dismissQuickInput();
  if ((await window.notifications()).length > 0) await window.clearNotifications();
}

async function setUp(): Promise<Stage> {
  await requireVsix();
  await installPrerequisites({ assumeYes: true });
  const directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-stage-'));
  closing.push(() => rm(directory, { recursive: true, force: true }));
  const host = await bootHost({ name: 'workbench-stage', ifRunning: 'replace' });
  closing.push(() => host.down());
  const workbench = await startWorkbench({
    vsix: [vsix],
    sshConfig: sshAlias('demo', host),
    settings: {
      'forkpoint.hosts': ['demo'],
      // Draws the terminal as text of the page, which can be read.
      'terminal.integrated.gpuAcceleration': 'off',
      // The list of tabs is shown for a single terminal, too: what is in front is read there.
      'terminal.integrated.tabs.hideCondition': 'never',
      'files.autoSave': 'afterDelay',
      'files.autoSaveDelay': AUTO_SAVE_MS,
    },
  });
  closing.push(() => workbench.stop());
  const browser = await launchBrowser();
  closing.push(() => browser.close());
  const window = await EditorWindow.open(browser, workbench.url(directory));
  await window.openViewContainer('Forkpoint');
  await window.treeRow('demo', undefined, patience);
  // By the user's gesture; nothing is asked.
  await window.runCommand('Forkpoint: Connect');
  return { host, workbench, browser, window };
}

after(async function () {
  this.timeout(60_000);
  for (const close of closing.reverse()) await close();
});

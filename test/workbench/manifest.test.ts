import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { runSuiteInBrowser } from './editor/browserSuite.ts';
import { until } from './editor/deadline.ts';
import { installPrerequisites } from './editor/prerequisites.ts';
import { EditorWindow, launchBrowser } from './editor/window.ts';
import { startWorkbench, type Workbench } from './editor/workbench.ts';
import { requireVsix, vsix } from './liveHost.ts';

/** Milliseconds that the extension may take at the start of a window. */
const activationMs = 30;
/** The quickest of several starts counts: what else the machine does is not the extension's time. */
const starts = 5;

describe('the packaged extension, without a host', function () {
  this.timeout(180_000);
  let folder: string;
  const closing: (() => Promise<void>)[] = [];

  before(async () => {
    await requireVsix();
    await installPrerequisites({ assumeYes: true });
    folder = await mkdtemp(path.join(tmpdir(), 'forkpoint-manifest-'));
    closing.push(() => rm(folder, { recursive: true, force: true }));
  });

  after(async () => {
    for (const close of closing.reverse()) await close();
  });

  it('passes the suites inside the extension host', async () => {
    const workbench = await startWorkbench({ vsix: [vsix], runsSuites: true });
    closing.push(() => workbench.stop());
    const browser = await launchBrowser();
    closing.push(() => browser.close());
    const files = [fileURLToPath(new URL('extensionHost/manifest.suite.ts', import.meta.url))];
    const { passed, failed, failures } = await runSuiteInBrowser(workbench, browser, { files, folder });
    assert.equal(failed, 0, JSON.stringify(failures, undefined, 1));
    assert.ok(passed > 0);
  });

  it(`starts in under ${String(activationMs)} ms, shows what to do first, and nothing in the status bar`, async () => {
    const workbench = await startWorkbench({ vsix: [vsix] });
    closing.push(() => workbench.stop());
    const browser = await launchBrowser();
    closing.push(() => browser.close());
    const window = await EditorWindow.open(browser, workbench.url(folder));
    for (const theme of ['dark', 'light'] as const) {
      await window.useTheme(theme);
      await window.openViewContainer('Forkpoint');
      const texts = await until('the welcome', async () => {
        const shown = await window.welcomeTexts('Snapshots');
        return shown.length > 0 && shown;
      });
      assert.ok(texts.includes('Add Host…'), texts.join(' | '));
      await window.screenshot(`welcome ${theme}`);
      const items = await window.statusBarItems();
      assert.deepEqual(
        items.filter(({ ariaLabel, icons }) => /forkpoint/i.test(ariaLabel) || icons.includes('history')),
        [],
      );
    }
    for (let start = 1; start <= starts; start++) {
      await until('one more start', async () => (await readStarts(workbench)).length >= start, {
        timeoutMs: 60_000,
      });
      // Quicker than another window, and the same for the extension.
      if (start < starts) await window.reload();
    }
    const quickest = Math.min(...(await readStarts(workbench)));
    assert.ok(quickest < activationMs, `it took ${String(quickest)} ms`);
  });
});

/** Milliseconds of each activation so far, from the extension's log. */
async function readStarts(workbench: Workbench): Promise<number[]> {
  const log = await workbench.readChannel('forkpoint.forkpoint', 'Forkpoint');
  return [...log.matchAll(/Started in ([\d.]+) ms/g)].map(([, ms]) => Number(ms));
}

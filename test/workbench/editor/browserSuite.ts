import type { Browser } from 'playwright-core';
import { runSuite, type Suite, type SuiteResult } from './suiteRun.ts';
import type { Workbench } from './workbench.ts';

/** A suite for the extension host of a VS Code server. */
export interface BrowserSuite extends Suite {
  /** The folder that the window has open. */
  folder?: string;
  /** Added to the extension host's environment. */
  environment?: Record<string, string>;
}

/**
 * Runs mocha files inside the real extension host of a workbench that was started with `runsSuites`, next to the
 * extensions that are installed in it. Opens a window for it, and closes it.
 */
export async function runSuiteInBrowser(
  workbench: Workbench,
  browser: Browser,
  suite: BrowserSuite,
): Promise<SuiteResult> {
  const windowLog: string[] = [];
  const result = runSuite(suite, async ({ developmentPath, testsPath }, signal) => {
    const authority = new URL(workbench.origin).host;
    const remote = (file: string) => `vscode-remote://${authority}${file}`;
    const payload = [
      ['extensionDevelopmentPath', remote(developmentPath)],
      ['extensionTestsPath', remote(testsPath)],
      ['skipWelcome', 'true'],
      ['extensionEnvironment', JSON.stringify(suite.environment ?? {})],
    ];
    const address = new URL(workbench.url(suite.folder));
    address.searchParams.set('payload', JSON.stringify(payload));

    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      // VS Code calls these two, by name, when its window runs tests.
      await page.exposeFunction('codeAutomationLog', (kind: string, args: unknown[]) => {
        windowLog.push(
          `[${kind}] ${args.map((arg) => (typeof arg === 'string' ? arg : JSON.stringify(arg))).join(' ')}`,
        );
      });
      const exit = new Promise<number>((resolve, reject) => {
        page.exposeFunction('codeAutomationExit', (code: number) => resolve(code)).catch(reject);
        page.once('crash', () => reject(new Error('The page of the window crashed')));
        page.once('close', () => reject(new Error('The window was closed')));
        signal.addEventListener('abort', () => reject(new Error('Given up')), { once: true });
      });
      exit.catch(() => undefined);
      await page.goto(address.href);
      return await exit;
    } finally {
      await context.close();
    }
  });
  return result.catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${reason}. The window's log ends:\n${windowLog.slice(-20).join('\n')}`, {
      cause: error,
    });
  });
}

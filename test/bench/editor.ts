import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { sshConfig } from '../demo/stage.ts';
import type { TestHost } from '../host/machine/machine.ts';
import { repositoryDirectory } from '../run/process.ts';
import { EditorWindow, launchBrowser } from '../workbench/editor/window.ts';
import { startWorkbench } from '../workbench/editor/workbench.ts';
import { Figures, type Figure } from './figures.ts';
import { listedWorkspace } from './order.ts';

const patienceMs = 60_000;

/**
 * What a user of the editor waits for: the packaged extension in the real workbench, on the host whose workspace has
 * all the snapshots. Each round is a window of its own.
 */
export async function measureEditor(host: TestHost, rounds: number): Promise<Figure[]> {
  const figures = new Figures('host');
  const folder = await mkdtemp(path.join(tmpdir(), 'forkpoint-bench-'));
  const workbench = await startWorkbench({
    vsix: [path.join(repositoryDirectory, 'forkpoint.vsix')],
    sshConfig: sshConfig(host),
    settings: { 'forkpoint.hosts': ['demo'] },
  });
  try {
    const browser = await launchBrowser();
    try {
      for (let round = 0; round < rounds; round++) {
        const window = await EditorWindow.open(browser, workbench.url(folder));
        const openedAt = performance.now();
        await window.openViewContainer('Forkpoint');
        // A host that this editor has not met waits to be asked; one that it knows is connected by itself.
        const first = await window.treeRow(new RegExp(`^Connect|^${listedWorkspace}$`), undefined, {
          timeoutMs: patienceMs,
        });
        if (first.label.startsWith('Connect')) await window.clickRow(/^Connect/);
        await window.treeRow(listedWorkspace, undefined, { timeoutMs: patienceMs });
        await window.setRowExpanded(listedWorkspace, true);
        await window.treeRow(/^snap-/, undefined, { timeoutMs: patienceMs });
        const treeVisible = performance.now() - openedAt;

        const pressedAt = Date.now();
        await window.page.keyboard.press('Control+K');
        await window.page.keyboard.press('b');
        const clickToRequest = (await requestAfter(host, pressedAt)) - pressedAt;
        const log = await workbench.readChannel('forkpoint.forkpoint', 'Forkpoint');
        const activation = Number([...log.matchAll(/Started in ([\d.]+) ms/g)].at(-1)?.[1]);
        figures.add('forkpoint', { treeVisible, clickToRequest, activation });
        await window.close();
      }
    } finally {
      await browser.close();
    }
  } finally {
    await workbench.stop();
    await rm(folder, { recursive: true, force: true });
  }
  return figures.all;
}

/** When the daemon began the first snapshot after that moment, by its log; milliseconds since the epoch, on one clock. */
async function requestAfter(host: TestHost, moment: number): Promise<number> {
  const deadline = Date.now() + patienceMs;
  while (Date.now() < deadline) {
    const log = await host.run(['tail', '-n', '200', '/var/log/forkpoint/helper.log']);
    const begun = [...log.matchAll(/^(\S+) info +create .*: wait, /gm)]
      .map((match) => Date.parse(match[1] ?? ''))
      .find((at) => at >= moment);
    if (begun !== undefined) return begun;
    await delay(200);
  }
  throw new Error('The daemon was not asked for a snapshot.');
}

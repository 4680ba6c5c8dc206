import { mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import type { TestHost } from '../host/machine/machine.ts';
import { repositoryDirectory } from '../run/process.ts';
import { EditorWindow, launchBrowser } from '../workbench/editor/window.ts';
import { until } from '../workbench/editor/deadline.ts';
import { inShop } from './shop.ts';
import { startStage, type Stage } from './stage.ts';

const pictures = path.join(repositoryDirectory, 'media/readme');

/** `npm run screenshots`: goes through the demo as its text says and takes the README's pictures on the way. */
async function main(): Promise<void> {
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());
  const stage = await startStage((line) => process.stdout.write(`${line}\n`), interrupted.signal, {
    // The terminal's text is in the page only so.
    'terminal.integrated.gpuAcceleration': 'off',
    'terminal.integrated.fontSize': 12,
    // A prompt without this machine's name.
    'terminal.integrated.profiles.linux': {
      shop: { path: '/bin/bash', args: ['--norc'], env: { PS1: '$ ' } },
    },
    'terminal.integrated.defaultProfile.linux': 'shop',
  });
  try {
    const browser = await launchBrowser();
    try {
      const window = await EditorWindow.open(browser, stage.workbench.url(stage.folder), {
        theme: 'dark',
        width: 1280,
        height: 720,
      });
      await play(stage, window).catch(async (error: unknown) => {
        await window.screenshot('failed screenshots');
        throw error;
      });
    } finally {
      await browser.close();
    }
  } finally {
    await stage.end();
  }
}

async function play({ host }: Stage, window: EditorWindow): Promise<void> {
  await window.openViewContainer('Forkpoint');
  await widenSidebar(window);
  await window.clickRow(/^Connect/);
  await answerQuestionOrGoOn(window);
  await window.treeRow('shop', undefined, { timeoutMs: 60_000 });
  for (const [alias, change] of [
    ['fresh', 'true'],
    [
      'orders-imported',
      'runuser -u postgres -- psql -qc "insert into orders (item) select item from orders"',
    ],
    ['prices-reworked', 'for n in $(seq 40); do echo $n > /srv/shop/price-$n; done'],
  ] as const) {
    await inShop(host, change);
    await host.run(['forkpoint', 'snapshots', 'create', '-c', 'shop', '--alias', alias]);
    await window.treeRow(new RegExp(alias));
  }

  await window.runCommand('Terminal: Create New Terminal');
  await type(window, './look', /tmux {5}treasure is island/);
  await window.runCommand('Forkpoint: Snapshot Before AI Edit');
  await window.statusBarItem(/before-ai/);
  await type(window, './break-everything', /no server running|error connecting/);
  await window.clearNotifications();
  await picture(window, 'timeline');

  await window.clickStatusBarItem(/before-ai/);
  await window.dialog(/^Restore "shop"/);
  await picture(window, 'restore');
  await window.answerDialog('Restore');
  await window.notification(/is back at/, { timeoutMs: 60_000 });
  await type(window, './look', /orders in PostgreSQL[\s\S]*tmux {5}treasure is island\s*$/m);
  // Where it shows no tooltip.
  await window.page.mouse.move(900, 400);
  await until('no tooltip', async () => (await window.page.locator('.workbench-hover').count()) === 0);
  await picture(window, 'restored');

  await fork(host, window);
  await picture(window, 'fork');
}

/** Forks a snapshot three times, works in each fork, and looks into one of them. */
async function fork(host: TestHost, window: EditorWindow): Promise<void> {
  await window.clearNotifications();
  await window.chooseInRowMenu('orders-imported', 'Fork…');
  await window.quickInput({ message: /^Name of the fork/ });
  await window.enter('try');
  await window.quickInput({ message: /^How many forks/ });
  await window.enter('3');
  for (const [index, files] of [24, 7, 3].entries()) {
    const name = `try-${String(index + 1)}`;
    await until('the fork', async () => (await window.treeRow(name)).description.startsWith('running'), {
      timeoutMs: 60_000,
    });
    const change = `for n in $(seq ${String(files)}); do echo $n > /srv/shop/discount-$n; done`;
    await host.run(['podman', 'exec', `forkpoint-${name}`, 'sh', '-euc', change]);
  }
  await window.runCommand('Forkpoint: Refresh');
  await until('the changes', async () => (await window.treeRow('try-3')).description.endsWith(' files'));
  await window.chooseInRowMenu('try-2', 'Open Terminal');
  await type(window, 'curl -s localhost:8080; ls /srv/shop', /orders in PostgreSQL[\s\S]*server\.js/);
  // Its actions cover the end of a row that is selected or under the pointer.
  await window.clickRow('prices-reworked');
  await window.page.mouse.move(900, 200);
}

/** A host that has the helper already asks nothing. */
async function answerQuestionOrGoOn(window: EditorWindow): Promise<void> {
  const asks = await until('a question or the workspace', async () => {
    if (await window.isDialogOpen()) return 'dialog';
    return (await window.treeRows()).some(({ label }) => label === 'shop') ? 'workspace' : undefined;
  });
  if (asks === 'dialog') await window.answerDialog('Install');
}

/** Types a line into the editor's terminal and waits until it shows what is expected. */
async function type(window: EditorWindow, line: string, expected: RegExp): Promise<void> {
  // A view that reveals something takes the focus.
  await until('the terminal to have the focus', async () => {
    await window.runCommand('Terminal: Focus Terminal');
    return (await window.page.locator('.xterm.focus').count()) > 0 ? true : undefined;
  });
  await window.page.keyboard.type(`clear; ${line}\n`);
  await until(
    `the terminal to show ${String(expected)}`,
    async () => {
      const rows = await window.page.locator('.terminal-wrapper.active .xterm-rows > div').allInnerTexts();
      return expected.test(rows.join('\n').replaceAll('\u00a0', ' ')) ? true : undefined;
    },
    { timeoutMs: 60_000 },
  );
}

/** So that descriptions are not cut. */
async function widenSidebar({ page }: EditorWindow): Promise<void> {
  const box = await page.locator('.part.sidebar').boundingBox();
  if (box === null) throw new Error('The side bar is not shown.');
  const [x, y] = [box.x + box.width, box.y + box.height / 2];
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x + 110, y, { steps: 5 });
  await page.mouse.up();
}

async function picture(window: EditorWindow, name: string): Promise<void> {
  await mkdir(pictures, { recursive: true });
  await rename(await window.screenshot(name), path.join(pictures, `${name}.png`));
}

await main();

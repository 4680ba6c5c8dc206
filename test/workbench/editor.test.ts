import * as assert from 'node:assert/strict';
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createVSIX } from '@vscode/vsce';
import { execa } from 'execa';
import type { Browser } from 'playwright-core';
import { runSuiteInBrowser } from './editor/browserSuite.ts';
import { until } from './editor/deadline.ts';
import { installPrerequisites } from './editor/prerequisites.ts';
import { runSuite } from './editor/suiteRun.ts';
import { EditorWindow, launchBrowser } from './editor/window.ts';
import { startWorkbench, type Workbench } from './editor/workbench.ts';

/** An extension with one of everything that the harness drives; its status bar item says what it was told. */
const sampleManifest = {
  name: 'sample',
  publisher: 'harness',
  version: '0.0.1',
  engines: { vscode: '^1.101.0' },
  main: './extension.js',
  extensionKind: ['ui'],
  activationEvents: ['onStartupFinished'],
  contributes: {
    commands: [
      { command: 'sample.delete', title: 'Delete', category: 'Sample', icon: '$(trash)' },
      { command: 'sample.choose', title: 'Choose', category: 'Sample' },
      { command: 'sample.report', title: 'Report', category: 'Sample' },
      { command: 'sample.peel', title: 'Peel' },
    ],
    viewsContainers: { activitybar: [{ id: 'sample', title: 'Sample', icon: '$(history)' }] },
    views: {
      sample: [
        { id: 'sample.fruit', name: 'Fruit' },
        { id: 'sample.empty', name: 'Empty' },
      ],
    },
    viewsWelcome: [{ view: 'sample.empty', contents: 'Nothing here yet.\n[Report](command:sample.report)' }],
    menus: {
      'view/item/context': [
        { command: 'sample.peel', when: 'view == sample.fruit', group: '1' },
        { command: 'sample.delete', when: 'view == sample.fruit', group: 'inline' },
      ],
    },
  },
};
const sampleProgram = `
const vscode = require('vscode');
exports.activate = (context) => {
  const item = vscode.window.createStatusBarItem('status', vscode.StatusBarAlignment.Left, 100);
  const say = (text) => { item.text = '$(history) ' + text; };
  say('sample ready');
  item.tooltip = 'What the sample was told';
  item.command = 'sample.delete';
  item.show();
  const log = vscode.window.createOutputChannel('Sample', { log: true });
  log.info('activated with', process.env.SAMPLE_VARIABLE);
  const children = { apple: ['core'], pear: [] };
  context.subscriptions.push(item, log,
    vscode.commands.registerCommand('sample.delete', async () => {
      say('asking');
      const options = { modal: true, detail: '23 files changed since.' };
      say('answer: ' + await vscode.window.showWarningMessage('Delete "apple"?', options, 'Delete', 'Keep'));
    }),
    vscode.commands.registerCommand('sample.choose', async () => {
      const items = [{ label: 'apple pie' }, { label: 'apple', description: 'red' }, { label: 'pear', detail: 'in season' }];
      const fruit = await vscode.window.showQuickPick(items, { title: 'Choose a fruit', placeHolder: 'Fruit' });
      const validateInput = (value) => value === 'bad' ? 'Not that name.' : undefined;
      const name = await vscode.window.showInputBox({ title: 'Name it', prompt: 'Any name', validateInput });
      say('chose: ' + fruit?.label + ' as ' + name);
    }),
    vscode.commands.registerCommand('sample.report', async () => {
      say('told: ' + await vscode.window.showInformationMessage('Restored "apple".', 'Undo'));
    }),
    vscode.commands.registerCommand('sample.peel', (fruit) => say('peeled: ' + fruit)),
    vscode.window.createTreeView('sample.empty', { treeDataProvider: { getChildren: () => [], getTreeItem: (fruit) => fruit } }),
    vscode.window.createTreeView('sample.fruit', { treeDataProvider: {
      getChildren: (fruit) => fruit === undefined ? Object.keys(children) : children[fruit],
      getTreeItem: (fruit) => Object.assign(new vscode.TreeItem(fruit, children[fruit]?.length > 0 ? 1 : 0), {
        description: '3 minutes ago', tooltip: new vscode.MarkdownString('**' + fruit + '** grows on trees'),
        iconPath: new vscode.ThemeIcon('history'),
      }),
    } }));
};
`;

describe('the workbench harness', function () {
  this.timeout(300_000);
  let directory: string;
  let vsix: string;
  let browser: Browser;

  before(async () => {
    await installPrerequisites({ assumeYes: true });
    directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-sample-'));
    const source = path.join(directory, 'source');
    await mkdir(source);
    await writeFile(path.join(source, 'package.json'), JSON.stringify(sampleManifest));
    await writeFile(path.join(source, 'extension.js'), sampleProgram);
    vsix = path.join(directory, 'sample.vsix');
    await createVSIX({ cwd: source, packagePath: vsix, allowMissingRepository: true, skipLicense: true });
    browser = await launchBrowser();
  });

  after(async () => {
    await browser.close();
    await rm(directory, { recursive: true, force: true });
  });

  describe('driving a window', () => {
    let workbench: Workbench;
    let window: EditorWindow;

    before(async () => {
      workbench = await startWorkbench({ vsix: [vsix], environment: { SAMPLE_VARIABLE: 'a value' } });
      window = await EditorWindow.open(browser, workbench.url(directory));
      await window.statusBarItem(/sample ready/, { timeoutMs: 60_000 });
    });

    after(async () => {
      await window.close();
      await workbench.stop();
    });

    afterEach(async function () {
      if (this.currentTest?.isFailed() === true)
        await window.screenshot(`failed ${this.currentTest.fullTitle()}`);
    });

    for (const [answer, heard] of [
      ['Cancel', 'undefined'],
      ['Escape', 'undefined'],
      ['Delete', 'Delete'],
      ['Keep', 'Keep'],
    ] as const) {
      it(`H34 the extension hears ${heard} when a modal dialog is answered with ${answer}`, async () => {
        await window.runCommand('Sample: Delete');
        assert.deepEqual(await window.dialog(/^Delete "apple"/), {
          message: 'Delete "apple"?',
          detail: '23 files changed since.',
          buttons: ['Keep', 'Cancel', 'Delete'],
        });
        await window.statusBarItem(/asking/);
        await window.answerDialog(answer);
        await window.statusBarItem(new RegExp(`answer: ${heard}$`));
      });
    }

    it('opens a dialog from the status bar and leaves it unanswered until someone answers', async () => {
      await window.clickStatusBarItem(/answer/);
      await window.dialog();
      await window.statusBarItem(/asking/);
      await window.screenshot('harness-dialog');
      await window.answerDialog('Escape');
    });

    it('reads the status bar', async () => {
      const item = await window.statusBarItem(/answer/);
      assert.deepEqual(item.icons, ['history']);
      assert.match(item.ariaLabel, /What the sample was told/);
      assert.equal(await window.hoverStatusBarItem(/answer/), 'What the sample was told');
    });

    it('reads, expands and hovers the rows of a tree', async () => {
      await window.openViewContainer('Sample');
      await window.setRowExpanded('apple', true, 'Fruit');
      await window.treeRow('core', 'Fruit');
      const row = { description: '3 minutes ago', isExpanded: undefined, isSelected: false, icon: 'history' };
      assert.deepEqual(await window.treeRows('Fruit'), [
        { ...row, label: 'apple', level: 1, isExpanded: true },
        { ...row, label: 'core', level: 2 },
        { ...row, label: 'pear', level: 1 },
      ]);
      assert.equal(await window.hoverRow('pear', 'Fruit'), 'pear grows on trees');
      await window.screenshot('harness-tree');
    });

    it('chooses from the context menu of a row, and its inline action', async () => {
      assert.deepEqual(await window.rowMenu('pear', 'Fruit'), ['Peel']);
      await window.chooseInRowMenu('pear', 'Peel', 'Fruit');
      await window.statusBarItem(/peeled: pear/);
      await window.clickRowAction('pear', 'Delete', 'Fruit');
      await window.dialog();
      await window.answerDialog('Cancel');
    });

    it('reads the welcome content of an empty view and presses its button', async () => {
      assert.deepEqual(await window.welcomeTexts('Empty'), ['Nothing here yet.', 'Report']);
      await window.clickWelcomeButton('Empty', 'Report');
      await window.answerNotification(/Restored/, 'Undo');
      await window.statusBarItem(/told: Undo/);
    });

    it('goes through a quick pick and an input box', async () => {
      await window.runCommand('Sample: Choose');
      await window.quickInput({ title: /^Choose a fruit$/, placeholder: /^Fruit$/ });
      assert.deepEqual(await window.pickItems(), [
        { label: 'apple pie', description: '', detail: '' },
        { label: 'apple', description: 'red', detail: '' },
        { label: 'pear', description: '', detail: 'in season' },
      ]);
      await window.choose('apple');
      await window.quickInput({ title: /^Name it$/, message: /^Any name/ });
      await window.type('bad');
      await window.quickInput({ message: /^Not that name\.$/ });
      await window.enter('Pippin');
      await window.statusBarItem(/chose: apple as Pippin/);
    });

    it('reads a notification and clears it', async () => {
      await window.runCommand('Sample: Report');
      const notification = await window.notification(/Restored/);
      assert.deepEqual(notification, { severity: 'info', message: 'Restored "apple".', buttons: ['Undo'] });
      await window.screenshot('harness-notification');
      await window.clearNotifications();
      await window.statusBarItem(/told: undefined/);
    });

    it('says what it waited for when that does not come', async () => {
      await assert.rejects(
        window.statusBarItem(/never/, { timeoutMs: 200 }),
        /a status bar item like \/never\//,
      );
      await assert.rejects(window.dialog(/^/, { timeoutMs: 200 }), /a dialog like/);
    });

    it('reads the log channel of an extension and passes the environment on', async () => {
      assert.match(await workbench.readChannel('harness.sample', 'Sample'), /activated with a value/);
    });

    it('opens a second window in the light theme', async () => {
      const light = await EditorWindow.open(browser, workbench.url(directory), { theme: 'light' });
      try {
        await light.statusBarItem(/sample ready/, { timeoutMs: 60_000 });
        assert.equal(await light.page.locator('.monaco-workbench.vs:not(.vs-dark)').count(), 1);
        await light.screenshot('harness-light');
      } finally {
        await light.close();
      }
    });
  });

  describe('running mocha inside the extension host', () => {
    let workbench: Workbench;

    before(async () => {
      workbench = await startWorkbench({ vsix: [vsix], runsSuites: true });
    });

    after(() => workbench.stop());

    /** Runs one file with that text, and returns the result together with what was printed. */
    async function run(name: string, text: string) {
      const file = path.join(directory, `${name}.ts`);
      await writeFile(file, text);
      const lines: string[] = [];
      const output = (line: string) => void lines.push(line);
      const environment = { SUITE_VARIABLE: 'set' };
      const result = await runSuiteInBrowser(workbench, browser, {
        files: [file],
        environment,
        output,
      });
      return { ...result, lines };
    }

    it('reports a test that passes, with its output', async () => {
      const { passed, failed, lines } = await run(
        'passing',
        `import * as vscode from 'vscode';
        describe('the sample', () => {
          it('is installed', async () => {
            console.log('the variable is', process.env.SUITE_VARIABLE);
            await vscode.extensions.getExtension('harness.sample')!.activate();
          });
        });`,
      );
      assert.deepEqual({ passed, failed }, { passed: 1, failed: 0 });
      assert.ok(lines.includes('    the variable is set'), lines.join('\n'));
    });

    it('reports a test that fails, with the reason', async () => {
      const { passed, failed, failures } = await run(
        'failing',
        `import * as assert from 'node:assert/strict';
        describe('arithmetic', () => {
          it('adds', () => assert.equal(1 + 1, 3));
          it('subtracts', () => assert.equal(1 - 1, 0));
        });`,
      );
      assert.deepEqual({ passed, failed }, { passed: 1, failed: 1 });
      assert.equal(failures[0]?.title, 'arithmetic adds');
      assert.match(failures[0].message, /2 !== 3[^]*failing\.ts:3/);
    });

    it('rejects when the extension host dies, although VS Code then reports success', async () => {
      const text = `describe('one', () => { it('dies', () => { process.kill(process.pid, 'SIGKILL'); return new Promise(() => {}); }); });`;
      await assert.rejects(run('dying', text), /in the middle of the suite/);
    });
  });

  describe('judging a suite, whatever runs it', () => {
    /** Runs one file with that text in a plain Node, which is a host too as long as `vscode` is not asked for. */
    async function judge(text: string, timeoutMs = 60_000) {
      const file = path.join(directory, 'judged.ts');
      await writeFile(file, text);
      return runSuite(
        { files: [file], timeoutMs, output: () => undefined },
        async ({ testsPath }, cancelSignal) => {
          const program = `require(process.argv[1]).run().then(() => process.exit(0), () => process.exit(1))`;
          const { exitCode } = await execa(process.execPath, ['-e', program, testsPath], {
            reject: false,
            cancelSignal,
          });
          return exitCode ?? 1;
        },
      );
    }

    it('counts what passed and what failed', async () => {
      const { passed, failed } = await judge(`describe('one', () => {
        it('runs', () => {});
        it('fails', () => { throw new Error('no'); });
      });`);
      assert.deepEqual({ passed, failed }, { passed: 1, failed: 1 });
    });

    for (const [name, text] of [
      ['without tests', ''],
      [
        'with a skipped test',
        `describe('one', () => { it('runs', () => {}); it.skip('is skipped', () => {}); });`,
      ],
      [
        'with an exclusive test',
        `describe('one', () => { it('runs', () => {}); it.only('is alone', () => {}); });`,
      ],
      ['that cannot be loaded', `throw new Error('broken');`],
      [
        'whose set-up fails',
        `describe('one', () => { before(() => { throw new Error('no'); }); it('runs', () => {}); });`,
      ],
    ] as const) {
      it(`does not take a suite ${name} for passed`, async () => {
        assert.ok((await judge(text)).failed > 0);
      });
    }

    it('rejects a suite that does not end in time', async () => {
      const text = `describe('one', () => { it('hangs', () => new Promise(() => setInterval(() => {}, 1000))); });`;
      await assert.rejects(judge(text, 3_000), /has not ended within 3 s/);
    });
  });

  it('leaves no process and no file behind', async () => {
    const workbench = await startWorkbench();
    let pid: string;
    try {
      const window = await EditorWindow.open(browser, workbench.url(directory));
      await window.runCommand('Terminal: Create New Terminal');
      await window.page.locator('.terminal-wrapper .xterm-screen').waitFor();
      const left = path.join(directory, 'left.pid');
      // A process that its shell no longer knows: the hardest to find again.
      await window.page.keyboard.type(`setsid -f sh -c 'echo $$ > ${left}; exec sleep 600'\n`);
      pid = await until('the process in the terminal', async () => (await readFile(left, 'utf8')).trim());
      await access(`/proc/${pid}`);
      await window.close();
    } finally {
      await workbench.stop();
    }
    for (const ended of [workbench.pid, pid]) {
      // A zombie, which only its parent can remove, has no command line.
      assert.equal(await readFile(`/proc/${ended}/cmdline`, 'utf8').catch(() => ''), '');
    }
    await assert.rejects(access(workbench.home));
  });
});

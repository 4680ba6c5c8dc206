import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import type { TestHost } from '../host/machine/machine.ts';
import { workspaceTarInHost } from '../host/machine/recipe.ts';
import { forkpoint, TestWorkspace } from '../host/workspace.ts';
import { until } from './editor/deadline.ts';
import type { EditorWindow } from './editor/window.ts';
import type { Workbench } from './editor/workbench.ts';
import { patience, sharedStage, tidyUp } from './stage.ts';

describe('reaching into a workspace from the workbench', function () {
  this.timeout(240_000);
  let host: TestHost;
  let workspace: TestWorkspace;
  let workbench: Workbench;
  let window: EditorWindow;
  /** Where the forwarded port is on this machine. */
  let address: string;

  before(async () => {
    ({ host, workbench, window } = await sharedStage());
    workspace = await TestWorkspace.create(host, 'web', { rootfs: workspaceTarInHost });
    await workspace.sh('mkdir /site; echo "hello from the workspace" > /site/index.html');
    await workspace.background('exec python3 -m http.server --directory /site --bind 127.0.0.1 8000');
    await window.treeRow('web', undefined, patience);
  });

  afterEach(async function () {
    await tidyUp(this.currentTest, window);
  });

  /** What the terminal in sight shows. */
  const screen = (): Promise<string> =>
    window.page
      .locator('.terminal-wrapper.active .xterm-rows > div')
      .allInnerTexts()
      .then((lines) => lines.join('\n').replaceAll('\u00a0', ' '));

  async function type(line: string): Promise<void> {
    await window.page.locator('.terminal-wrapper.active .xterm-helper-textarea').focus();
    await window.page.keyboard.type(line);
    await window.page.keyboard.press('Enter');
  }

  /** Types a line until the screen shows what it should print: a shell may not be there yet. */
  async function typed(line: string, printed: RegExp): Promise<void> {
    let typedAt = -Infinity;
    await until(
      `${String(printed)} in the terminal`,
      async () => {
        if (printed.test(await screen())) return true;
        if (performance.now() - typedAt < 3000) return false;
        await type(line);
        typedAt = performance.now();
        return false;
      },
      { timeoutMs: 60_000, intervalMs: 100 },
    );
  }

  /** The tabs of terminals, the one in front marked. */
  async function terminalTabs(): Promise<string[]> {
    const tabs = window.page.locator('.tabs-list .monaco-list-row');
    const names = await tabs.allInnerTexts();
    const selected = await Promise.all(
      names.map((_, index) => tabs.nth(index).getAttribute('aria-selected', { timeout: 2000 })),
    );
    return names.map((name, index) => `${name.trim()}${selected[index] === 'true' ? ' *' : ''}`);
  }

  it('opens a terminal whose shell is kept by snapshots, and shows it again after a restore', async () => {
    await window.chooseInRowMenu('web', 'Open Terminal');
    await typed('kept=$((6*7)); echo "it is $kept"', /it is 42/);
    await window.screenshot('terminal');
    const { name } = await workspace.snapshot();
    // Each sends the tab away, sooner than a shell that fails to start would end.
    for (let round = 0; round < 3; round++) await workspace.snapshot();
    await typed('kept=lost; clear; echo "it is $kept"', /it is lost/);
    await workspace.restore(name);
    await typed('echo "back is $kept"', /back is 42/);
  });

  it('forwards a port that listens on loopback alone, and opens what it serves in the browser', async () => {
    await window.chooseInRowMenu('web', 'Forward Port…');
    await window.quickInput({ placeholder: /Choose a port of "web"/ });
    await window.choose('8000');
    const row = await window.treeRow('Port 8000');
    address = `http://${row.description.replace('localhost', '127.0.0.1')}/`;
    assert.equal(await (await fetch(address)).text(), 'hello from the workspace\n');
    await window.screenshot('forwarded port');
    const opened = window.page.context().waitForEvent('page');
    await window.answerNotification(/^Port 8000 of "web" is localhost:/, 'Open in Browser');
    const page = await opened;
    assert.equal(await page.locator('body').innerText(), 'hello from the workspace');
    await page.close();
    const { name } = await workspace.snapshot();
    await workspace.restore(name);
    assert.equal(await (await fetch(address)).text(), 'hello from the workspace\n');
  });

  it('opens terminal and port again after the window was reloaded, the terminal in front', async () => {
    await window.reload();
    await window.openViewContainer('Forkpoint');
    await window.treeRow('demo', undefined, patience);
    await window.runCommand('Forkpoint: Connect');
    // The editor opens a shell of its own in a panel that it finds without a terminal.
    await until('the terminal to be back in front', async () => (await terminalTabs()).includes('web *'));
    await typed('echo "still $kept"', /still 42/);
    await window.treeRow('Port 8000');
    assert.equal(await (await fetch(address)).text(), 'hello from the workspace\n');
    await window.chooseInRowMenu('Port 8000', 'Stop Forwarding Port');
    await until('the port to be gone', async () =>
      (await window.treeRows()).every(({ label }) => label !== 'Port 8000'),
    );
    await assert.rejects(fetch(address));
  });

  it('ends the session of a terminal whose tab is closed', async () => {
    const sessions = async () => (await workspace.try('tmux -L forkpoint list-sessions')).stdout;
    assert.match(await sessions(), /^tab-/);
    const tab = window.page.locator('.tabs-list .monaco-list-row', { hasText: 'web' });
    await tab.hover();
    await tab.locator('.codicon-trash, .codicon-trashcan').click();
    await until('the session to end', async () => (await sessions()) === '');
  });

  it('offers to install tmux where a terminal can not be kept, and does so in that terminal', async () => {
    await workspace.sh(
      'for name in tmux screen dtach; do mv "/usr/bin/$name" "/usr/bin/$name.off" || :; done',
    );
    await window.chooseInRowMenu('web', 'Open Terminal');
    await window.answerNotification(/^Terminals of "web" are not part of snapshots/, 'Install tmux');
    await until('the command', async () => /apt-get install -y tmux/.test(await screen()));
    assert.match(await screen(), /This terminal is not part of snapshots/);
    await window.screenshot('terminal without tmux');
    await workspace.sh(
      'for name in tmux screen dtach; do mv "/usr/bin/$name.off" "/usr/bin/$name" || :; done',
    );
  });

  it('H6 asks what to keep where the processes can not be kept; Escape touches nothing', async () => {
    await workspace.snapshot({ alias: 'clean' });
    await workspace.python('/root/tracer.py', tracer);
    await until('the tracer', async () => (await workspace.try('test -s /root/traced')).exitCode === 0);
    const restore = async (answer: string) => {
      await window.clickRowAction('clean', 'Restore…');
      await window.dialog(/^Restore "web" to "clean"/);
      // The next question follows at once: the dialog is not seen to close in between.
      await window.page.locator('.dialog-buttons .monaco-button').filter({ hasText: 'Restore' }).click();
      const { detail, buttons } = await window.dialog(/^What should be kept of "web"/, patience);
      assert.match(detail, /can't be kept in it: a debugger or tracer is attached to a process/);
      assert.deepEqual([...buttons].sort(), ['Cancel', 'Keep Files Only', 'Keep Nothing']);
      await window.screenshot('what to keep');
      await window.answerDialog(answer);
    };
    await restore('Escape');
    await workspace.sh('kill -0 "$(cat /root/traced)"');
    await restore('Keep Files Only');
    await window.notification(/^"web" is back at "clean"/, patience);
    assert.notEqual((await workspace.try('test -e /root/traced')).exitCode, 0);
  });

  it('makes the workspace known to ssh by one line in the configuration, and forgets it with the workspace', async () => {
    assert.ok(!(await window.rowMenu('web')).includes('Open in New Window'), 'without Remote - SSH');
    await window.page.keyboard.press('Escape');
    const configFile = path.join(workbench.home, '.ssh', 'config');
    const before = await readFile(configFile, 'utf8');
    await window.chooseInRowMenu('web', 'Copy SSH Command');
    await window.dialog(/^Add one line to ".*config"\?/);
    await window.screenshot('add one line');
    await window.answerDialog('Add Line');
    await window.notification(/^Copied "ssh forkpoint-web"/);
    const after = await readFile(configFile, 'utf8');
    assert.ok(after.endsWith(before));
    const added = after.slice(0, after.length - before.length);
    assert.equal(added.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length, 1);

    // As in a terminal of the user's: "ssh" finds their configuration.
    const bin = path.join(path.dirname(workbench.home), 'bin');
    const { stdout } = await execa('ssh', ['forkpoint-web', 'cat /site/index.html'], {
      env: { PATH: `${bin}:${process.env['PATH'] ?? ''}`, HOME: workbench.home },
    });
    assert.equal(stdout, 'hello from the workspace');

    const ours = /Include "([^"]+)"/.exec(after)?.[1] ?? '';
    assert.match(await readFile(ours, 'utf8'), /^Host forkpoint-web$/m);
    await forkpoint(host, 'containers/delete', ['-c', 'web', '--with-snapshots']);
    await until('the alias to be gone', async () => !/^Host /m.test(await readFile(ours, 'utf8')));
  });
});

/** A process traced by another can't be dumped. */
const tracer = `
import ctypes, os, time
child = os.fork()
if child == 0:
    while True: time.sleep(1)
assert ctypes.CDLL(None).ptrace(0x4206, child, 0, 0) == 0
open('/root/traced', 'w').write(str(child))
while True: time.sleep(1)
`;

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { provideLoopDevices } from '../host/loopDevices.ts';
import { bootHost, type TestHost } from '../host/machine/machine.ts';
import { makeRootfs } from '../host/small/smallWorkspace.ts';
import { ask } from '../host/workspace.ts';
import { until } from './editor/deadline.ts';
import { installPrerequisites } from './editor/prerequisites.ts';
import { EditorWindow, launchBrowser } from './editor/window.ts';
import { startWorkbench, type Workbench } from './editor/workbench.ts';
import { requireVsix, sshAlias, vsix } from './liveHost.ts';

describe('hosts in trouble, in the workbench', function () {
  this.timeout(180_000);
  let directory: string;
  let host: TestHost;
  let workbench: Workbench;
  let window: EditorWindow;
  const closing: (() => Promise<void>)[] = [];

  before(async () => {
    await requireVsix();
    await installPrerequisites({ assumeYes: true });
    directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-hosts-'));
    closing.push(() => rm(directory, { recursive: true, force: true }));
    host = await bootHost({ name: 'workbench-hosts', ifRunning: 'replace', installsHelper: false });
    closing.push(() => host.down());
    const strangers = path.join(directory, 'strangers');
    await writeFile(strangers, '');
    workbench = await startWorkbench({
      vsix: [vsix],
      settings: { 'forkpoint.hosts': ['unreachable', 'changed', 'stranger'] },
      sshConfig: [
        // Nothing listens there.
        sshAlias('unreachable', host, { Port: '1' }),
        sshAlias('changed', host, { UserKnownHostsFile: await makeWrongKnownHosts() }),
        sshAlias('stranger', host, { UserKnownHostsFile: strangers }),
      ].join(''),
    });
    closing.push(() => workbench.stop());
    const browser = await launchBrowser();
    closing.push(() => browser.close());
    window = await EditorWindow.open(browser, workbench.url(directory), { theme: 'light' });
    await window.openViewContainer('Forkpoint');
    await window.treeRow('stranger', undefined, { timeoutMs: 60_000 });
  });

  after(async () => {
    for (const close of closing.reverse()) await close();
  });

  afterEach(async function () {
    if (this.currentTest?.isFailed() === true) await window.screenshot(`failed ${this.currentTest.title}`);
    if (await window.isDialogOpen()) await window.answerDialog('Escape');
    await window.clearNotifications();
  });

  /** A known_hosts file that knows the host by another key of the same type. */
  async function makeWrongKnownHosts(): Promise<string> {
    const key = path.join(directory, 'wrong');
    await execa('ssh-keygen', ['-q', '-t', 'rsa', '-b', '2048', '-N', '', '-f', key]);
    const [type, text] = (await readFile(`${key}.pub`, 'utf8')).split(' ');
    const known = (await readFile(host.ssh.knownHostsFile, 'utf8')).split(/\s+/);
    const file = path.join(directory, 'wrong_known_hosts');
    await writeFile(file, `${String(known[0])} ${String(type)} ${String(text)}\n`);
    return file;
  }

  it('H36 no host is connected at start when the window belongs to none', async () => {
    for (const alias of ['unreachable', 'changed', 'stranger'])
      assert.equal((await window.treeRow(alias)).description, 'not connected');
    assert.doesNotMatch(
      await workbench.readChannel('forkpoint.forkpoint', 'Forkpoint'),
      /using (ssh2|OpenSSH)/,
    );
    await window.screenshot('three hosts');
  });

  it('a host that is not reached is said to be so, with what to try', async () => {
    await window.chooseInRowMenu('unreachable', 'Connect');
    const { message, severity } = await window.notification(/^"unreachable" can't be reached/);
    assert.equal(severity, 'error');
    assert.match(message, /"ssh unreachable" works in a terminal/);
    await window.screenshot('unreachable');
    await window.treeRow('Connect again');
  });

  it('a host whose key changed is refused, and why is explained', async () => {
    await window.chooseInRowMenu('changed', 'Connect');
    const { message, severity } = await window.notification(/^The host key of "changed" is not the one/);
    assert.equal(severity, 'error');
    assert.match(message, /Ask who runs the machine whether \S+ SHA256:\S+ is its key/);
    assert.equal(await window.isDialogOpen(), false);
    await window.screenshot('changed host key');
  });

  it('the key of an unknown host is shown and asked for; Escape accepts nothing', async () => {
    await window.chooseInRowMenu('stranger', 'Connect');
    const { detail } = await window.dialog(/^The host "stranger" is not known yet/);
    assert.match(detail, /SHA256:/);
    await window.screenshot('unknown host key');
    await window.answerDialog('Escape');
    await window.statusBarItems();
    assert.equal(await readFile(path.join(directory, 'strangers'), 'utf8'), '');
    await until(
      'the end of the attempt',
      async () => (await window.treeRow('stranger')).description === 'not connected',
    );
  });

  it('an accepted key is recorded, and the host connects', async () => {
    await window.chooseInRowMenu('stranger', 'Connect');
    await window.dialog(/^The host "stranger" is not known yet/);
    await window.answerDialog('Trust This Host');
    await window.dialog(/^Install the Forkpoint helper on "stranger"\?/);
    await window.answerDialog('Install');
    await window.treeRow('New workspace…', undefined, { timeoutMs: 60_000 });
    assert.match(await readFile(path.join(directory, 'strangers'), 'utf8'), /ssh-|ecdsa-/);
  });

  /** Kills the daemon and waits until the editor is connected to another one. */
  async function killDaemon(): Promise<void> {
    const connections = async () =>
      [...(await workbench.readChannel('forkpoint.forkpoint', 'Forkpoint')).matchAll(/connected in \d+ ms/g)]
        .length;
    const before = await connections();
    await host.run(['pkill', '-9', '-f', 'helper.cjs daemon']);
    await until('another connection', async () => (await connections()) > before, { timeoutMs: 60_000 });
  }

  it('a killed helper is connected to again by itself', async () => {
    await killDaemon();
    await window.treeRow('New workspace…', undefined, { timeoutMs: 60_000 });
  });

  it('a host without its pool says that it must be set up', async () => {
    await host.run(['umount', '--lazy', host.description.pool]);
    await window.runCommand('Forkpoint: Refresh');
    await window.treeRow('Set up this host', undefined, { timeoutMs: 60_000 });
    await window.screenshot('no pool');
  });

  it('Set Up Host makes a pool of the size that is asked for', async () => {
    // As on a host that never had one.
    await host.run(['rm', '/etc/forkpoint/host.json']);
    await provideLoopDevices(host);
    await killDaemon();
    await window.treeRow('Set up this host', undefined, { timeoutMs: 60_000 });
    await window.clickRow('Set up this host');
    await window.quickInput({ title: /^Set Up "stranger"/ });
    await window.type('1');
    await window.quickInput({ message: /^A pool has at least 2 GB/ });
    await window.screenshot('size of the pool');
    await window.enter('2');
    await window.treeRow('New workspace…', undefined, { timeoutMs: 90_000 });
    assert.match(await host.run(['findmnt', '-no', 'SOURCE', host.description.pool]), /forkpoint-pool|loop/);
  });

  it('New Workspace… asks for name, source and ports, and says at once what can not be', async () => {
    await makeRootfs(host);
    await window.clickRow('New workspace…');
    await window.quickInput({ title: /^New Workspace on "stranger"/, message: /^Name of the workspace/ });
    await window.type('no good');
    await window.quickInput({ message: /^Use 1 to 64 letters/ });
    await window.enter('made-here');
    await window.choose('From a directory or tar archive on the host');
    await window.quickInput({ message: /^Absolute path on the host/ });
    await window.type('srv/small');
    await window.quickInput({ message: /^Give an absolute path/ });
    await window.enter('/srv/small');
    await window.quickInput({ message: /^Ports to publish on the host/ });
    await window.type('8080');
    await window.quickInput({ message: /^Write each port as HOST:CONTAINER/ });
    await window.screenshot('new workspace');
    await window.enter('8080:80');
    const { description } = await window.treeRow('made-here', undefined, { timeoutMs: 90_000 });
    assert.match(description, /no snapshot$/);
    const { published } = await ask(host, 'containers/show', { container: 'made-here' });
    assert.deepEqual(
      published.map(({ hostPort, containerPort }) => [hostPort, containerPort]),
      [[8080, 80]],
    );
  });

  it('Remove Host takes a host off the list, after asking; Cancel keeps it', async () => {
    for (const answer of ['Cancel', 'Remove']) {
      await window.chooseInRowMenu('unreachable', 'Remove Host');
      const { detail } = await window.dialog(/^Remove "unreachable" from the list of hosts\?/);
      assert.match(detail, /stay on the host/);
      await window.answerDialog(answer);
      const hosts = (await window.treeRows()).filter(({ level }) => level === 1).map(({ label }) => label);
      if (answer === 'Cancel') assert.deepEqual(hosts, ['unreachable', 'changed', 'stranger']);
    }
    await until('the host to go', async () =>
      (await window.treeRows()).every(({ label }) => label !== 'unreachable'),
    );
  });
});

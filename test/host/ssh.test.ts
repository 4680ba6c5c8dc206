import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { ForkpointError } from '../../src/protocol/errors.ts';
import type { HelperProgram, HostConnection, HostState } from '../../src/extension/hosts/host.ts';
import type { HostProblemCode } from '../../src/extension/hosts/problems.ts';
import { HostProblemError } from '../../src/extension/hosts/problems.ts';
import { bootHost, endHost, type TestHost } from './machine/machine.ts';
import { patPassword, workspaceTarInHost } from './machine/recipe.ts';
import { cutSessions, restartSshd, sshdSettings } from './sshd.ts';
import { readBuiltHelper, rebuilt, User, writeSshConfig, type Answers } from './sshUser.ts';

/** Lines of the configuration for the user who has a password, and no key. */
const asPat = ['User pat', 'IdentityFile none'];

const isProblem = (code: HostProblemCode) => (error: unknown) => {
  assert.ok(error instanceof HostProblemError, String(error));
  assert.equal(error.code, code, error.message);
  return true;
};

for (const client of ['ssh2', 'openssh'] as const) {
  describe(`a connection by ${client}`, () => {
    let host: TestHost;
    let hostname: string;
    let helper: HelperProgram;
    let directory: string;
    let open: { connection: HostConnection; user: User }[] = [];

    before(async function () {
      this.timeout(600_000);
      helper = await readBuiltHelper();
      host = await bootHost({ name: 'ssh-test', ifRunning: 'replace', installsHelper: false });
      hostname = (await host.run(['hostname'])).trim();
      await restartSshd(host, ['PermitRootLogin prohibit-password']);
    });

    after(() => endHost('ssh-test'));

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'forkpoint-ssh-test-'));
    });

    afterEach(async function () {
      for (const { connection, user } of open) {
        connection.dispose();
        if (this.currentTest?.state === 'failed') console.log(user.log.join('\n'));
      }
      open = [];
      await rm(directory, { recursive: true });
    });

    /** A connection to the host by the configuration's `lines`. */
    async function connectionOf(
      user: User,
      lines: readonly string[] = [],
      options: { helper?: HelperProgram; client?: 'auto' } = {},
    ): Promise<HostConnection> {
      const configFile = await writeSshConfig(join(directory, 'config'), host, lines);
      const connection = user.connection('box', {
        client: options.client ?? client,
        configFile,
        helper: options.helper ?? helper,
      });
      open.push({ connection, user });
      return connection;
    }

    /** A user who has agreed to the helper before. */
    function someone(answers: Answers = {}): User {
      const user = new User(answers);
      user.consents.set('box', true);
      return user;
    }

    async function connect(
      user: User,
      lines: readonly string[] = [],
      options: { helper?: HelperProgram } = {},
    ): Promise<HostConnection> {
      const connection = await connectionOf(user, lines, options);
      await connection.connect({ interactive: true });
      return connection;
    }

    /** The connection works: an operation goes there and its answer comes back. */
    async function assertWorks(connection: HostConnection): Promise<void> {
      assert.equal((await connection.request('host/info', {})).hostname, hostname);
    }

    const isInstalled = async (): Promise<boolean> =>
      (await host.exec(['test', '-e', '/usr/local/bin/forkpoint'])).exitCode === 0;

    async function removeHelper(): Promise<void> {
      await host.exec(['pkill', '-f', 'helper.cjs daemon']);
      await host.run(['rm', '-rf', '/usr/local/bin/forkpoint', '/usr/local/lib/forkpoint']);
    }

    describe('the helper', () => {
      beforeEach(removeHelper);

      it('is installed after asking once, root-owned, in a directory named by its digest', async () => {
        const user = new User({ mayInstall: true });
        const connection = await connect(user);
        await assertWorks(connection);
        assert.deepEqual(user.asked, ['mayInstall missing']);
        const owner = await host.run([
          'stat',
          '-c',
          '%U %a',
          `/usr/local/lib/forkpoint/${helper.digest}/helper.cjs`,
        ]);
        assert.match(owner, /^root [0-7]?[0-7]?[0145][0145]$/m);

        const again = await connect(user);
        await assertWorks(again);
        assert.deepEqual(user.asked, ['mayInstall missing']);
        assert.ok(
          !user.log.some(
            (line) =>
              line.includes('installing') &&
              line > (user.log.find((one) => one.includes('connected in')) ?? ''),
          ),
        );
      });

      it('is not installed without consent, and the state says that the host needs it', async () => {
        const user = new User({ mayInstall: false });
        const connection = await connectionOf(user);
        await assert.rejects(connection.connect({ interactive: true }), isProblem('helperNotInstalled'));
        assert.equal(connection.state.kind, 'needsSetup');
        assert.equal(await isInstalled(), false);
        await assert.rejects(connection.connect({ interactive: true }), isProblem('helperNotInstalled'));
        assert.deepEqual(user.asked, ['mayInstall missing']);
        // A set-up asks again what was refused.
        await assert.rejects(connection.installHelper(), isProblem('helperNotInstalled'));
        assert.equal(await isInstalled(), false);
        user.answers.mayInstall = true;
        await connection.installHelper();
        assert.deepEqual(user.asked, ['mayInstall missing', 'mayInstall missing', 'mayInstall missing']);
        await assertWorks(connection);
      });

      it('H36 is not asked for without a gesture', async () => {
        const user = new User({ mayInstall: true });
        const connection = await connectionOf(user);
        await assert.rejects(connection.connect({ interactive: false }), isProblem('helperNotInstalled'));
        assert.equal(connection.state.kind, 'needsSetup');
        assert.deepEqual(user.asked, []);
      });

      it('H37 is installed with a sudo password, and with /tmp mounted noexec', async () => {
        await host.run(['mount', '-o', 'remount,noexec', '/tmp']);
        try {
          const user = new User({ password: [patPassword], sudoPassword: [patPassword], mayInstall: true });
          await assertWorks(await connect(user, asPat));
          assert.deepEqual([...user.asked].sort(), ['mayInstall missing', 'password 1', 'sudoPassword 1']);
        } finally {
          await host.run(['mount', '-o', 'remount,exec', '/tmp']);
        }
      });

      it('is replaced by another build of the same version, once', async () => {
        await connect(someone());
        const other = rebuilt(helper, `another build ${randomBytes(4).toString('hex')}`);
        const user = someone();
        const connection = await connect(user, [], { helper: other });
        const { state } = connection;
        assert.ok(state.kind === 'connected');
        assert.equal(state.welcome.digest, other.digest);
        assert.equal(state.isHelperOlder, false);
      });

      it('of a newer version goes on working for an older extension', async () => {
        await connect(someone());
        const user = someone();
        const connection = await connect(user, [], {
          helper: { ...rebuilt(helper, 'old'), version: '0.0.1' },
        });
        const { state } = connection;
        assert.ok(state.kind === 'connected');
        assert.equal(state.welcome.digest, helper.digest);
        assert.ok(!user.log.some((line) => line.includes('installing')));
        await assertWorks(connection);
      });

      it('needs a Node.js, and what to do is said', async () => {
        await host.run(['mv', '/usr/bin/node', '/usr/bin/node.away']);
        try {
          const connection = await connectionOf(someone());
          await assert.rejects(connection.connect({ interactive: true }), (error) => {
            assert.match((error as HostProblemError).hint, /apt-get install nodejs/);
            return isProblem('nodeMissing')(error);
          });
          assert.equal(connection.state.kind, 'needsSetup');
        } finally {
          await host.run(['mv', '/usr/bin/node.away', '/usr/bin/node']);
        }
      });

      it('is not started by a Node.js that others than root can change', async () => {
        await host.run([
          'sh',
          '-c',
          'mv /usr/bin/node /usr/bin/node.away && cp /usr/bin/node.away /usr/local/bin/node && chown dev /usr/local/bin/node',
        ]);
        try {
          const connection = await connectionOf(someone());
          await assert.rejects(connection.connect({ interactive: true }), isProblem('nodeUntrusted'));
          await host.run(['chown', 'root', '/usr/local/bin/node']);
          await connection.connect({ interactive: true });
          await assertWorks(connection);
        } finally {
          await host.run(['sh', '-c', 'mv /usr/bin/node.away /usr/bin/node; rm /usr/local/bin/node']);
          await removeHelper();
        }
      });
    });

    describe('with the helper in place', () => {
      before(async () => {
        const user = someone();
        directory = await mkdtemp(join(tmpdir(), 'forkpoint-ssh-test-'));
        const connection = await connect(user);
        connection.dispose();
        open = [];
        await rm(directory, { recursive: true });
      });

      describe('the login shell', () => {
        const bashrc = '/home/dev/.bashrc';
        afterEach(() =>
          host.run([
            'sh',
            '-c',
            `chsh -s /bin/bash dev; rm -f ${bashrc} /home/dev/.cshrc /home/dev/.zshenv; rm -rf /home/dev/.config/fish`,
          ]),
        );

        const shells: [string, string, string][] = [
          [
            '/bin/bash',
            bashrc,
            'echo "Welcome"; printf "Content-Length: 3\\r\\n\\r\\nno newline"; echo oops >&2; cat /etc/passwd',
          ],
          ['/usr/bin/fish', '/home/dev/.config/fish/config.fish', 'echo "fish says hello"'],
          ['/bin/tcsh', '/home/dev/.cshrc', 'echo "csh says hello"'],
          ['/bin/zsh', '/home/dev/.zshenv', 'echo "zsh says hello"'],
          ['/bin/sh', '/home/dev/.profile', ''],
        ];
        for (const [shell, file, text] of shells) {
          it(`H37 ${shell}, noisy, does not matter`, async () => {
            await host.run(
              ['sh', '-c', `mkdir -p $(dirname ${file}) && cat >${file} && chown -R dev: /home/dev`],
              { input: `${text}\n` },
            );
            await host.run(['chsh', '-s', shell, 'dev']);
            const user = someone();
            await assertWorks(await connect(user));
            if (text !== '')
              assert.ok(
                user.log.some((line) => line.includes('the login shell printed')),
                'the noise is in the log',
              );
          });
        }

        it('H37 of an endless kind is given up', async () => {
          await host.run(['sh', '-c', `cat >${bashrc}; chown dev: ${bashrc}`], { input: 'yes\n' });
          const connection = await connectionOf(someone());
          await assert.rejects(connection.connect({ interactive: true }), isProblem('helperFailed'));
        });

        it('H37 a banner of the server does not matter', async () => {
          const configure = `echo "Keep out" >/etc/issue.ssh; echo "Banner /etc/issue.ssh" >>${sshdSettings}`;
          await host.run(['sh', '-c', configure]);
          await reloadSshd(host);
          await assertWorks(await connect(someone()));
        });
      });

      describe('letting the user in', () => {
        it('takes a key without a question', async () => {
          const user = someone();
          await assertWorks(await connect(user));
          assert.deepEqual(user.asked, []);
        });

        it('takes passwords, for the log-in and for sudo, each asked for once', async () => {
          const user = someone({ password: [patPassword], sudoPassword: [patPassword] });
          await assertWorks(await connect(user, asPat));
          assert.deepEqual(user.asked, ['password 1', 'sudoPassword 1']);
          assert.equal(user.secrets.size, 0);
          assert.ok(!user.log.join('\n').includes(patPassword), 'a password is never logged');
        });

        it('asks again after a wrong password, and a wrong one for sudo', async () => {
          const user = someone({ password: ['wrong', patPassword], sudoPassword: ['wrong', patPassword] });
          await assertWorks(await connect(user, asPat));
          assert.deepEqual(
            user.asked.filter((one) => one.startsWith('password')),
            ['password 1', 'password 2'],
          );
          assert.deepEqual(
            user.asked.filter((one) => one.startsWith('sudo')),
            ['sudoPassword 1', 'sudoPassword 2'],
          );
        });

        it('gives up after three wrong passwords, and says what was tried', async () => {
          const user = someone({ password: ['wrong'] });
          const connection = await connectionOf(user, asPat);
          await assert.rejects(connection.connect({ interactive: true }), (error) => {
            assert.match((error as HostProblemError).args['tried'] ?? '', /password/);
            return isProblem('authenticationFailed')(error);
          });
          assert.deepEqual(user.asked, ['password 1', 'password 2', 'password 3']);
          assert.deepEqual(connection.state.kind, 'failed');
        });

        it('gives up after three wrong sudo passwords', async () => {
          const user = someone({ password: [patPassword], sudoPassword: ['wrong'] });
          const connection = await connectionOf(user, asPat);
          await assert.rejects(connection.connect({ interactive: true }), isProblem('sudoPasswordWrong'));
          assert.deepEqual(user.asked.filter((one) => one.startsWith('sudo')).length, 3);
        });

        it('remembers passwords when the user says so, and needs no gesture then (H36)', async () => {
          const user = someone({ password: [patPassword], sudoPassword: [patPassword], remembers: true });
          const first = await connect(user, asPat);
          first.dispose();
          assert.equal(user.asked.length, 2);
          const second = await connectionOf(user, asPat);
          await second.connect({ interactive: false });
          await assertWorks(second);
          assert.equal(user.asked.length, 2);
        });

        it('H36 asks nothing without a gesture: a password', async () => {
          const user = someone({ password: [patPassword], sudoPassword: [patPassword] });
          const connection = await connectionOf(user, asPat);
          await assert.rejects(connection.connect({ interactive: false }), isProblem('needsGesture'));
          assert.deepEqual(user.asked, []);
          assert.ok(connection.state.kind === 'failed' && connection.state.retryAt === null);
        });

        it('H36 asks nothing without a gesture: a sudo password', async () => {
          await host.run([
            'sh',
            '-c',
            'mkdir -p ~pat/.ssh && cp ~dev/.ssh/authorized_keys ~pat/.ssh/ && chown -R pat: ~pat/.ssh',
          ]);
          try {
            const user = someone({ sudoPassword: [patPassword] });
            const connection = await connectionOf(user, ['User pat']);
            await assert.rejects(connection.connect({ interactive: false }), isProblem('needsGesture'));
            assert.deepEqual(user.asked, []);
            await connection.connect({ interactive: true });
            assert.deepEqual(user.asked, ['sudoPassword 1']);
          } finally {
            await host.run(['sh', '-c', 'rm -r ~pat/.ssh']);
          }
        });

        it('H36 Cancel ends the attempt, with nothing more asked', async () => {
          const user = someone();
          const connection = await connectionOf(user, asPat);
          await assert.rejects(connection.connect({ interactive: true }), isProblem('cancelled'));
          assert.deepEqual(user.asked, ['password 1']);
          assert.equal(connection.state.kind, 'disconnected');
        });

        it('asks for the passphrase of a key, again after a wrong one', async () => {
          const key = join(directory, 'id_locked');
          await execa('cp', [host.ssh.identityFile, key]);
          await execa('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'open sesame', '-f', key]);
          const user = someone({ passphrase: ['wrong', 'open sesame'] });
          // The description's own key, which follows in the configuration, would do without a passphrase.
          const configFile = await writeSshConfig(join(directory, 'config'), host);
          await writeFile(
            configFile,
            (await readFile(configFile, 'utf8')).replace(host.ssh.identityFile, key),
          );
          const connection = user.connection('box', { client, configFile, helper });
          open.push({ connection, user });
          await connection.connect({ interactive: true });
          await assertWorks(connection);
          assert.deepEqual(user.asked, ['passphrase 1', 'passphrase 2']);
        });

        it('asks for no passphrase of a key that the host would not take', async () => {
          const key = join(directory, 'id_foreign');
          await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'secret', '-f', key]);
          const user = someone({ passphrase: ['secret'] });
          // ssh tries keys in the order of the configuration: the foreign one first.
          await assertWorks(await connect(user, [`IdentityFile ${key}`]));
          assert.deepEqual(user.asked, []);
        });

        it('takes a key from the agent', async () => {
          const socket = join(directory, 'agent');
          const agent = execa('ssh-agent', ['-D', '-a', socket], { reject: false });
          try {
            await until(async () => (await readdir(directory)).includes('agent'));
            await execa('ssh-add', ['-q', host.ssh.identityFile], { env: { SSH_AUTH_SOCK: socket } });
            const user = someone();
            const lines = [`IdentityAgent ${socket}`, 'IdentitiesOnly no', 'IdentityFile none'];
            await assertWorks(await connect(user, lines));
            assert.deepEqual(user.asked, []);
          } finally {
            agent.kill();
          }
        });

        it('says so when the user may not use sudo', async () => {
          await host.run([
            'sh',
            '-c',
            'mkdir -p /run/test && mv /etc/sudoers.d /run/test/ && mkdir /etc/sudoers.d && gpasswd -d pat sudo || true',
          ]);
          try {
            const user = someone({ password: [patPassword], sudoPassword: [patPassword] });
            const connection = await connectionOf(user, asPat);
            await assert.rejects(connection.connect({ interactive: true }), isProblem('sudoDenied'));
          } finally {
            await host.run([
              'sh',
              '-c',
              'rmdir /etc/sudoers.d; mv /run/test/sudoers.d /etc/; gpasswd -a pat sudo || true',
            ]);
          }
        });

        it('says so when there is no sudo', async () => {
          await host.run(['mv', '/usr/bin/sudo', '/usr/bin/sudo.away']);
          try {
            const connection = await connectionOf(someone());
            await assert.rejects(connection.connect({ interactive: true }), isProblem('sudoMissing'));
          } finally {
            await host.run(['mv', '/usr/bin/sudo.away', '/usr/bin/sudo']);
          }
        });

        it('does without sudo as root', async () => {
          await host.run([
            'sh',
            '-c',
            'mkdir -p -m 700 /root/.ssh && cd /root/.ssh && { mv authorized_keys authorized_keys.away || true; } && cp ~dev/.ssh/authorized_keys . && mv /usr/bin/sudo /usr/bin/sudo.away',
          ]);
          try {
            await assertWorks(await connect(someone(), ['User root']));
          } finally {
            await host.run([
              'sh',
              '-c',
              'cd /root/.ssh; rm authorized_keys; mv authorized_keys.away authorized_keys; mv /usr/bin/sudo.away /usr/bin/sudo',
            ]);
          }
        });
      });

      describe('the host key', () => {
        let knownHosts = '';
        let line = '';
        beforeEach(async () => {
          knownHosts = join(directory, 'known_hosts');
          line = (await readFile(host.ssh.knownHostsFile, 'utf8')).trim();
        });

        it('H38 that is unknown is shown, recorded when it is accepted, and not asked for again', async () => {
          const user = someone({ hostKey: true });
          const lines = [`UserKnownHostsFile ${knownHosts}`];
          await assertWorks(await connect(user, lines));
          const [asked] = user.asked;
          const shown = await host.run([
            'sh',
            '-c',
            'for key in /etc/ssh/ssh_host_*.pub; do ssh-keygen -lf $key; done',
          ]);
          const fingerprint = asked?.split(' ').at(-1) ?? '';
          assert.match(fingerprint, /^SHA256:/);
          assert.ok(shown.includes(fingerprint), `${fingerprint} is one of the host's own: ${shown}`);
          await assertWorks(await connect(user, lines));
          assert.equal(user.asked.length, 1);
        });

        it('H38 that is unknown and refused ends the attempt, and is not recorded', async () => {
          const user = someone({ hostKey: false });
          const connection = await connectionOf(user, [`UserKnownHostsFile ${knownHosts}`]);
          await assert.rejects(connection.connect({ interactive: true }), isProblem('hostKeyRefused'));
          await assert.rejects(readFile(knownHosts), { code: 'ENOENT' });
        });

        it('H36 that is unknown is not asked for without a gesture', async () => {
          const user = someone({ hostKey: true });
          const connection = await connectionOf(user, [`UserKnownHostsFile ${knownHosts}`]);
          await assert.rejects(connection.connect({ interactive: false }), isProblem('needsGesture'));
          assert.deepEqual(user.asked, []);
        });

        it('H38 that is unknown is refused without asking where the configuration is strict', async () => {
          const user = someone({ hostKey: true });
          const connection = await connectionOf(user, [
            `UserKnownHostsFile ${knownHosts}`,
            'StrictHostKeyChecking yes',
          ]);
          await assert.rejects(connection.connect({ interactive: true }), isProblem('hostKeyRefused'));
          assert.deepEqual(user.asked, []);
        });

        for (const strict of ['ask', 'no']) {
          it(`H38 that has changed is refused, and how to mend it is said (StrictHostKeyChecking ${strict})`, async () => {
            const [name = '', keyType = ''] = line.split(' ');
            const impostor = join(directory, 'impostor');
            await execa('ssh-keygen', [
              '-q',
              '-t',
              keyType === 'ssh-ed25519' ? 'ed25519' : 'ecdsa',
              '-N',
              '',
              '-f',
              impostor,
            ]);
            const [type = '', key = ''] = (await readFile(`${impostor}.pub`, 'utf8')).split(' ');
            await writeFile(knownHosts, `${name} ${type} ${key}\n`);
            const user = someone({ hostKey: true });
            const connection = await connectionOf(user, [
              `UserKnownHostsFile ${knownHosts}`,
              `StrictHostKeyChecking ${strict}`,
            ]);
            await assert.rejects(connection.connect({ interactive: true }), (error) => {
              assert.ok(error instanceof HostProblemError);
              assert.equal(error.args['file'], knownHosts);
              assert.equal(error.args['knownAs'], name);
              return isProblem('hostKeyChanged')(error);
            });
            assert.deepEqual(user.asked, []);
          });
        }

        it('H38 that is revoked is refused', async () => {
          await writeFile(
            knownHosts,
            `${line
              .split('\n')
              .map((one) => `@revoked ${one}`)
              .join('\n')}\n`,
          );
          const connection = await connectionOf(someone({ hostKey: true }), [
            `UserKnownHostsFile ${knownHosts}`,
          ]);
          await assert.rejects(connection.connect({ interactive: true }), isProblem('hostKeyRevoked'));
        });

        for (const keyType of ['ed25519', 'ecdsa', 'rsa']) {
          it(`H38 is known by any one of its types: ${keyType}, hashed`, async () => {
            const file = `/etc/ssh/ssh_host_${keyType}_key`;
            if ((await host.exec(['test', '-e', file])).exitCode !== 0) {
              await host.run(['ssh-keygen', '-q', '-t', keyType, '-N', '', '-f', file]);
              await reloadSshd(host);
            }
            const key = await host.run(['cat', `${file}.pub`]);
            await writeFile(knownHosts, `${line.split(' ')[0] ?? ''} ${key}`);
            await execa('ssh-keygen', ['-q', '-H', '-f', knownHosts]);
            const user = someone();
            await assertWorks(await connect(user, [`UserKnownHostsFile ${knownHosts}`]));
            assert.deepEqual(user.asked, []);
          });
        }
      });

      describe('being cut', () => {
        it('comes back by itself, and the state tells', async () => {
          const user = someone();
          const connection = await connect(user);
          const states: HostState['kind'][] = [];
          connection.onDidChangeState((state) => states.push(state.kind));
          await cutSessions(host);
          await until(() => connection.state.kind === 'failed');
          assert.ok(connection.state.kind === 'failed' && connection.state.retryAt !== null);
          await until(() => connection.state.kind === 'connected');
          assert.deepEqual(states, ['failed', 'connecting', 'connected']);
          await assertWorks(connection);
        });

        it('loses no operation that is under way and does none twice', async () => {
          const user = someone();
          const connection = await connect(user);
          const steps: string[] = [];
          const create = connection.request(
            'containers/create',
            { name: 'cut', rootfs: workspaceTarInHost },
            { onProgress: ({ step }) => steps.push(step) },
          );
          await until(() => steps.length > 0);
          await cutSessions(host);
          const workspace = await create;
          assert.equal(workspace.name, 'cut');
          assert.ok(user.log.some((line) => line.includes('containers/create is asked again')));
          const workspaces = await connection.request('containers/list', {});
          assert.deepEqual(
            workspaces.map((one) => one.name),
            ['cut'],
          );
          await connection.request('containers/delete', { container: 'cut' });
        });

        it('is noticed when the other side says nothing any more', async () => {
          const connection = await connect(someone(), ['ServerAliveInterval 1', 'ServerAliveCountMax 2']);
          await cutSessions(host, 'STOP');
          try {
            await until(() => connection.state.kind !== 'connected', 15_000);
            await until(() => connection.state.kind === 'connected');
            await assertWorks(connection);
          } finally {
            await cutSessions(host, 'KILL');
          }
        });

        it('is not mended when nobody wants it any more', async () => {
          const connection = await connect(someone());
          connection.disconnect();
          assert.equal(connection.state.kind, 'disconnected');
          await sleep(2500);
          assert.equal(connection.state.kind, 'disconnected');
          await assert.rejects(
            connection.request('containers/list', {}),
            (error) => error instanceof ForkpointError && error.code === 'daemon.unreachable',
          );
        });
      });

      it('tells of changes that others make', async () => {
        const connection = await connect(someone());
        let changes = 0;
        connection.onDidChange(() => (changes += 1));
        await host.run(['forkpoint', 'containers', 'create', 'noticed', '--rootfs', workspaceTarInHost]);
        await until(() => changes > 0);
        await host.run(['forkpoint', 'containers', 'delete', '-c', 'noticed']);
      });

      it('fails an operation with the code that the host gave', async () => {
        const connection = await connect(someone());
        await assert.rejects(
          connection.request('snapshots/list', { container: 'nowhere' }),
          (error) =>
            error instanceof ForkpointError &&
            error.code === 'workspace.notFound' &&
            error.args['workspace'] === 'nowhere',
        );
      });

      it('carries megabytes', async () => {
        const connection = await connect(someone());
        const note = 'x'.repeat(4096);
        const results = await Promise.all(
          Array.from({ length: 500 }, () =>
            connection
              .request('snapshots/note', { container: 'nowhere', name: 'none', note })
              .catch(() => 'failed'),
          ),
        );
        assert.equal(results.length, 500);
        await assertWorks(connection);
      });

      it('is one, however many ask for it at once', async () => {
        const user = someone({ password: [patPassword], sudoPassword: [patPassword] });
        const connection = await connectionOf(user, asPat);
        await Promise.all(Array.from({ length: 5 }, () => connection.connect({ interactive: true })));
        assert.deepEqual(user.asked, ['password 1', 'sudoPassword 1']);
      });

      it('is asked for anew when one without a gesture could not ask', async () => {
        const user = someone({ password: [patPassword], sudoPassword: [patPassword] });
        const connection = await connectionOf(user, asPat);
        const quiet = connection.connect({ interactive: false });
        const asked = connection.connect({ interactive: true });
        await assert.rejects(quiet, isProblem('needsGesture'));
        await asked;
        await assertWorks(connection);
      });

      it('is cancelled by its signal, and nothing of it stays behind', async () => {
        const abort = new AbortController();
        const user = someone();
        // What is not read would never be known to have ended, and keep this process alive.
        const silent = createServer((socket) => socket.on('error', () => undefined).resume());
        silent.listen(0, '127.0.0.1');
        await until(() => silent.listening);
        const address = silent.address();
        const port = typeof address === 'object' && address !== null ? address.port : 0;
        try {
          const connection = await connectionOf(user, ['HostName 127.0.0.1', `Port ${String(port)}`]);
          const connecting = connection.connect({ interactive: true, signal: abort.signal });
          setTimeout(() => abort.abort(), 300);
          await assert.rejects(connecting, isProblem('cancelled'));
          assert.equal(connection.state.kind, 'disconnected');
          await until(async () => (await sshChildren()).length === 0);
        } finally {
          silent.close();
        }
      });

      it('leaves no process and no file behind when it is disposed', async () => {
        const before = await temporaryDirectories();
        const user = someone({ password: [patPassword], sudoPassword: [patPassword] });
        const connection = await connect(user, asPat);
        assert.equal((await sshChildren()).length, client === 'openssh' ? 1 : 0);
        connection.dispose();
        await until(async () => (await sshChildren()).length === 0);
        await until(async () => (await temporaryDirectories()).join() === before.join());
      });

      it('says that nothing listens where nothing does', async () => {
        const connection = await connectionOf(someone(), ['HostName 127.0.0.1', 'Port 1']);
        await assert.rejects(connection.connect({ interactive: true }), isProblem('unreachable'));
        assert.ok(connection.state.kind === 'failed' && connection.state.retryAt === null);
      });

      if (client === 'openssh') {
        it('is chosen by itself for a jump host, with the reason in the log', async () => {
          const user = someone();
          const configFile = join(directory, 'config');
          const [knownAs = ''] = (await readFile(host.ssh.knownHostsFile, 'utf8')).split(' ');
          // The host jumps to itself, and is not everywhere to be reached from inside as it is from here.
          const lines = ['ProxyJump bastion', 'HostName 127.0.0.1', 'Port 22', `HostKeyAlias ${knownAs}`];
          await writeSshConfig(configFile, host, lines);
          const direct = (await readFile(configFile, 'utf8')).replace(
            ['Host box', ...lines].join('\n'),
            'Host bastion',
          );
          await writeFile(configFile, `${await readFile(configFile, 'utf8')}\n${direct}`);
          const connection = user.connection('box', { client: 'auto', configFile, helper });
          open.push({ connection, user });
          await connection.connect({ interactive: true });
          assert.ok(connection.state.kind === 'connected' && connection.state.client === 'openssh');
          assert.ok(user.log.some((line) => line.includes('ProxyJump is set')));
          await assertWorks(connection);
        });

        it('shares the connection that the configuration shares (ControlMaster)', async () => {
          const user = someone({ password: [patPassword], sudoPassword: [patPassword] });
          const lines = [
            ...asPat,
            'ControlMaster auto',
            `ControlPath ${join(directory, 'master')}`,
            'ControlPersist 60',
          ];
          try {
            await assertWorks(await connect(user, lines));
            await assertWorks(await connect(user, lines));
            assert.equal(user.asked.filter((one) => one.startsWith('password')).length, 1);
          } finally {
            await execa('ssh', ['-F', join(directory, 'config'), '-O', 'exit', 'box'], { reject: false });
          }
        });
      } else {
        it('needs no OpenSSH on this machine, and says so where it would', async () => {
          const { PATH } = process.env;
          process.env['PATH'] = directory;
          try {
            const connection = await connectionOf(someone(), [], { client: 'auto' });
            await connection.connect({ interactive: true });
            assert.ok(connection.state.kind === 'connected' && connection.state.client === 'ssh2');
            const jumping = await connectionOf(someone(), ['ProxyJump bastion'], { client: 'auto' });
            await assert.rejects(jumping.connect({ interactive: true }), isProblem('sshClientMissing'));
          } finally {
            process.env['PATH'] = PATH;
          }
        });

        it('uses no other algorithms than the configuration allows', async () => {
          const user = someone();
          const lines = [
            'KexAlgorithms ecdh-sha2-nistp384',
            'Ciphers aes256-ctr',
            'HostKeyAlgorithms ssh-ed25519',
          ];
          await assertWorks(await connect(user, lines));
          assert.ok(
            user.log.some((line) => line.includes('handshake: ecdh-sha2-nistp384, ssh-ed25519, aes256-ctr')),
          );
        });

        it('is chosen by itself for a plain configuration', async () => {
          const connection = await connectionOf(someone(), [], { client: 'auto' });
          await connection.connect({ interactive: true });
          assert.ok(connection.state.kind === 'connected' && connection.state.client === 'ssh2');
        });
      }
    });

    /** The ssh processes that this process started. */
    async function sshChildren(): Promise<string[]> {
      const { stdout } = await execa('ps', ['--ppid', String(process.pid), '-o', 'comm='], { reject: false });
      return stdout.split('\n').filter((name) => name.trim() === 'ssh');
    }
  });
}

async function temporaryDirectories(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) => /^forkpoint-.{6}$/.test(name)).sort();
}

/** Has sshd read its configuration anew, for which it starts itself anew, and waits until it listens again. */
async function reloadSshd(host: TestHost): Promise<void> {
  const listeners = async (): Promise<string[]> =>
    (await host.run(['ss', '-Htlne', 'sport = :22'])).match(/\bino:\d+/g) ?? [];
  const before = await listeners();
  assert.notDeepEqual(before, []);
  await host.run(['pkill', '-HUP', '--exact', '-o', 'sshd']);
  await until(async () => {
    const now = await listeners();
    return now.length === before.length && now.every((one) => !before.includes(one));
  });
}

/** Waits until `isTrue` says so. */
async function until(isTrue: () => boolean | Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await isTrue())) {
    if (Date.now() > deadline) throw new Error(`waited ${String(timeoutMs)} ms in vain`);
    await sleep(50);
  }
}

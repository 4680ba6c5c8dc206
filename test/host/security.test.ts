import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { ForkpointError } from '../../src/protocol/errors.ts';
import type { TestHost } from './machine/machine.ts';
import { makeRootfs } from './small/smallWorkspace.ts';
import { ask, endApi, failsWith, forkpoint, quote, sharedHost, TestWorkspace, until } from './workspace.ts';

/** What a shell would make something of, or a program take for an option or a path. */
const traps = [
  '$(touch /run/trapped)',
  '`touch /run/trapped`',
  "'; touch /run/trapped; '",
  '"; touch /run/trapped; "',
  '| touch /run/trapped',
  'a\ntouch /run/trapped',
  '--help',
  '-rf',
  '..',
  '../../../../run/trapped',
  '/run/trapped',
  '*',
  '%s%n',
  'a\u202eb',
  'x'.repeat(10_000),
];

/** A file from before the secrets: what holds one was written after it. */
const stamp = '/run/before-the-secrets';

/** Notes each command line that holds a word, of any process of the host, and how many it looked at. */
const watcher = `
import os, sys, time
word, seen = sys.argv[1].encode(), set()
while not os.path.exists('/tmp/watched-enough'):
    for pid in os.listdir('/proc'):
        if pid == str(os.getpid()) or not pid.isdigit(): continue
        for name in ('cmdline', 'environ'):
            try:
                with open('/proc/%s/%s' % (pid, name), 'rb') as file: text = file.read()
            except OSError: continue
            seen.add(text)
with open('/tmp/watched', 'w') as file:
    for text in seen:
        if word in text: file.write('HELD %r\\n' % text)
    file.write('%d podman create\\n' % sum(1 for text in seen if text.startswith(b'podman\\0') and b'\\0create\\0' in text))
`;

/** Names and kinds of files that nobody expects. */
const oddFiles = `
import os, socket
os.makedirs('/odd'); os.chdir('/odd')
for name in (b'new\\nline', b'\\xff\\xfe', b'a' * 255, b'-rf', b'\\x1b[31mred', b'$(touch ..)', 'right\\u202eleft'.encode()):
    with open(name, 'w') as file: file.write('odd')
os.mkfifo('fifo')
socket.socket(socket.AF_UNIX).bind('socket')
os.symlink('loop', 'loop'); os.symlink('/run/outside/through', 'outside'); os.symlink('../' * 40 + 'run/outside/up', 'up')
`;

/** A file deeper than a path may be long (PATH_MAX, 4,096 bytes). */
const deepFile = `
import os
os.makedirs('/deep'); os.chdir('/deep')
for depth in range(120):
    os.mkdir('d' * 60); os.chdir('d' * 60)
with open('deep', 'w') as file: file.write('deep')
`;

/** Swaps /etc and /etc/ssh with links that lead out for whoever follows them from outside, without end. Its argument is the root. */
const swapper = `
import ctypes, os, sys, time
root = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
def swap(name):
    # RENAME_EXCHANGE, renameat2(2): there is no moment without a name.
    if libc.renameat2(-100, (root + name).encode(), -100, (root + name + '.out').encode(), 2) != 0:
        with open(root + '/swap-failed', 'w') as file: file.write(name + os.strerror(ctypes.get_errno()))
    time.sleep(0.0005)
os.symlink('/run/outside', root + '/etc.out'); os.symlink('../' * 40 + 'run/outside-keys', root + '/etc/ssh.out')
with open(root + '/swapping', 'w'): pass
while True:
    # Mostly a link below a directory.
    swap('/etc/ssh'); time.sleep(0.004)
    swap('/etc'); swap('/etc')
    swap('/etc/ssh')
`;

/** How often what goes by chance is tried. */
const rounds = process.env['FORKPOINT_LONG'] === '1' ? 10 : 1;

describe('security', function () {
  this.timeout(180_000);

  const secret = `planted${randomBytes(12).toString('hex')}`;
  // At a place where that user may be, which find(1) wants.
  const asDev = ['env', '-C', '/', 'setpriv', '--reuid', 'dev', '--regid', 'dev', '--clear-groups', '--'];
  let host: TestHost;
  let workspace: TestWorkspace;

  before(async () => {
    host = await sharedHost();
    // As where systemd-tmpfiles was there before Podman.
    const storage = '/var/lib/containers/storage';
    await host.run([
      'sh',
      '-c',
      `podman info >/dev/null && chmod 755 ${storage} && chmod 644 ${storage}/db.sql`,
    ]);
    await host.run(['sh', '-c', `rm -rf /run/outside /tmp/watched*; mkdir /run/outside; touch ${stamp}`]);
    await host.run([
      ...asDev,
      'sh',
      '-c',
      `setsid -f python3 -c ${quote(watcher)} ${secret} >/dev/null 2>&1`,
    ]);
    workspace = await TestWorkspace.create(host, 'guarded', { env: { API_KEY: secret, LANG: 'C.UTF-8' } });
  });

  after(async () => {
    await host.run(['touch', '/tmp/watched-enough']);
    for (const { name } of await ask(host, 'containers/list', {}))
      await ask(host, 'containers/delete', { container: name, withSnapshots: true });
  });

  it("a secret of a workspace is in no log and no file but the pool's and the engine's, and in nothing that another user of the host can read", async () => {
    assert.equal(await workspace.sh('printf "%s %s" "$API_KEY" "$LANG"'), `${secret} C.UTF-8`);
    // Not in an argument: it is the workspace's own business who sees those.
    await workspace.write('/run/hold.py', 'import sys, time\nheld = sys.stdin.read()\ntime.sleep(100000)\n');
    await workspace.sh('setsid -f python3 /run/hold.py >/dev/null 2>&1', { input: secret });
    const { name } = await workspace.snapshot({ note: 'with a secret in memory' });
    await workspace.restore(name);
    const [fork] = await workspace.call('containers/copy', { name: 'guarded-fork', snapshot: name });
    assert.ok(fork?.workspace, JSON.stringify(fork?.error));
    await workspace.call('containers/stop', {});
    await workspace.call('containers/start', {});

    await host.run(['touch', '/tmp/watched-enough']);
    await until(async () => (await host.exec(['test', '-s', '/tmp/watched'])).exitCode === 0);
    const watched = await host.run(['cat', '/tmp/watched']);
    assert.match(watched, /^[1-9]\d* podman create$/m, 'it looked while there was something to see');
    assert.doesNotMatch(watched, /HELD/);

    const written = await filesHolding(secret);
    assert.ok(
      written.some((file) => /^\/var\/lib\/forkpoint\/snapshots\/.*\/memory\/pages-/.test(file)),
      'the images do hold it',
    );
    // The engine keeps what a container is made of, for root alone, which the search as another user proves.
    const kept =
      /^\/var\/lib\/forkpoint\/(snapshots|workspaces)\/|^\/var\/lib\/containers\/storage\/(overlay-containers\/|db\.sql)/;
    const elsewhere = written.filter((file) => !kept.test(file));
    assert.deepEqual(elsewhere, []);
    const places = ['/var', '/run', '/tmp', '/etc', '/srv', '/home', '/usr/local'];
    const seen = await host.exec([...asDev, 'grep', '-rlaF', '--devices=skip', secret, ...places]);
    assert.equal(seen.stdout, '');
  });

  it('a token of the API is in no file of the host, also after it was used', async () => {
    const { token } = await ask(host, 'api/token/create', { may: ['list'], allContainers: true });
    await ask(host, 'api/enable', {});
    try {
      const asked = `header = "Authorization: Bearer ${token}"\nurl = "http://127.0.0.1:7465/api/v1/containers"\n`;
      assert.match(await host.run(['curl', '-sS', '--config', '-'], { input: asked }), /"guarded"/);
      await ask(host, 'api/disable', {});
      const [, id = '', secretPart = ''] = /^fpt_([0-9a-f]{12})_(.+)$/.exec(token) ?? [];
      assert.notDeepEqual(await filesHolding(id), [], 'what it is known by is kept');
      assert.deepEqual(await filesHolding(secretPart), []);
    } finally {
      await endApi(host);
    }
  });

  it('another user of the host sees nothing of the pool, and can change nothing of the helper', async () => {
    for (const place of ['/var/lib/forkpoint', '/run/forkpoint', '/var/log/forkpoint'])
      assert.equal((await host.exec([...asDev, 'find', place, '-mindepth', '1'])).stdout, '', place);
    assert.notEqual((await host.exec([...asDev, 'ls', workspace.rootfs])).exitCode, 0);
    assert.equal(
      await host.run([
        ...asDev,
        'find',
        '/usr/local/lib/forkpoint',
        '/usr/local/bin',
        '-writable',
        '-not',
        '-type',
        'l',
      ]),
      '',
    );
    // Device files that a workspace's root makes open no device of the host.
    const options = await host.run(['findmnt', '-no', 'OPTIONS', '--target', '/var/lib/forkpoint']);
    assert.match(options, /\bnodev\b/);
  });

  it('a rule of sudo for the helper alone runs the helper alone, also where sudo passes the environment on', async () => {
    await host.run(['sh', '-c', 'id eve >/dev/null 2>&1 || useradd --create-home eve']);
    const rule = '/etc/sudoers.d/eve';
    await host.run(['sh', '-c', `umask 337; cat > ${rule}`], {
      input:
        'Defaults:eve !env_reset, !secure_path\neve ALL=(root) NOPASSWD:SETENV: /usr/local/bin/forkpoint\n',
    });
    try {
      const evil = 'require("node:fs").writeFileSync("/run/trapped", "");';
      await host.run(
        [
          ...['sh', '-c'],
          `cd /home/eve && cat > evil.js && for tool in node env sh podman btrfs criu; do printf '#!/bin/sh\\ntouch /run/trapped\\n' > $tool && chmod +x $tool; done`,
        ],
        { input: evil },
      );
      const asEve = (command: string): Promise<{ exitCode: number; stdout: string; stderr: string }> =>
        host.exec(['runuser', '-u', 'eve', '--', 'sh', '-c', command]);
      const listed = await asEve(
        'cd; NODE_OPTIONS="--require /home/eve/evil.js" NODE_PATH=/home/eve BASH_ENV=/home/eve/sh ENV=/home/eve/sh PATH=/home/eve:$PATH sudo -n /usr/local/bin/forkpoint containers list --json',
      );
      assert.equal(listed.exitCode, 0, listed.stderr);
      assert.ok(listed.stdout.includes('"guarded"'));
      assert.notEqual((await asEve('sudo -n id')).exitCode, 0);
      assert.notEqual((await asEve('sudo -n /usr/local/bin/../bin/env id')).exitCode, 0);
      await isUntrapped();
    } finally {
      await host.run(['rm', rule]);
    }
  });

  it('no text that a caller gives gets to a shell, or out of its place', async () => {
    for (const trap of traps) {
      for (const call of [
        ask(host, 'containers/create', { name: trap, rootfs: '/srv/nothing' }),
        ask(host, 'containers/show', { container: trap }),
        workspace.call('snapshots/create', { alias: trap }),
        workspace.call('snapshots/restore', { name: trap }),
        workspace.call('snapshots/delete', { name: trap }),
        workspace.call('containers/copy', { name: trap }),
      ])
        await failsWith(['name.invalid', 'request.invalid', 'workspace.notFound', 'snapshot.notFound'], call);
    }
    const note = traps.slice(0, -1).join(' ').replaceAll('\n', ' ');
    const { name } = await workspace.snapshot({ mode: 'stateless', note });
    assert.equal((await workspace.call('snapshots/show', { name })).note, note);
    for (const trap of traps.slice(0, 8))
      await host.exec(['forkpoint', 'snapshots', 'create', '-c', 'guarded', '--alias', trap, '--note', trap]);
    const made = await forkpoint(host, 'containers/create', [
      ...['odd', '--rootfs', '/srv/none', '--env', `A=${traps[0] ?? ''}`, '--', 'sh', '-c', traps[0] ?? ''],
    ]).catch((error: unknown) => error);
    assert.ok(made instanceof Error);
    await isUntrapped();
  });

  it('files of names and kinds that nobody expects are kept, compared and deleted, and lead nowhere', async () => {
    const before = await workspace.snapshot({ mode: 'stateless' });
    await workspace.write('/odd.py', oddFiles);
    await workspace.sh('python3 /odd.py');
    const count = Number(await workspace.sh('find /odd -not -type d | tr -cd "\\n" | wc -c'));
    const { name } = await workspace.snapshot({ mode: 'stateless' });
    await until(async () => (await workspace.call('snapshots/show', { name })).changedFiles !== null);
    const { changedFiles } = await workspace.call('snapshots/show', { name });
    // One name has a line break in it, and there is the program that made them.
    assert.equal(changedFiles?.added, count - 1 + 1);
    const preview = await workspace.call('snapshots/preview', { name: before.name });
    assert.ok(JSON.stringify(preview).length < 1_000_000);
    await workspace.write('/deep.py', deepFile);
    await workspace.sh('python3 /deep.py');
    const deep = await workspace.snapshot({ mode: 'stateless' });
    await workspace.sh('rm -r /odd /deep');
    await workspace.restore(deep.name, { safety: 'none' });
    assert.equal(await workspace.sh('cat /odd/-rf; find /deep -name deep -type f | wc -l'), 'odd1\n');
    await workspace.call('snapshots/preview', { name });
    await workspace.restore(before.name, { safety: 'none' });
    for (const gone of [name, deep.name]) await workspace.call('snapshots/delete', { name: gone });
    assert.equal(await host.run(['ls', '-A', '/run/outside']), '');
  });

  it('a volume at a link that leads out of the workspace stays in it', async () => {
    await host.run([
      ...['sh', '-c'],
      'rm -rf /srv/leading-out && mkdir -p /srv/leading-out && cp -a --reflink=auto /var/lib/forkpoint/test-template/. /srv/leading-out && ln -s /run/outside /srv/leading-out/data',
    ]);
    const made = await ask(host, 'containers/create', {
      name: 'leading-out',
      rootfs: '/srv/leading-out',
      volume: [{ name: 'data', path: '/data' }],
    }).catch((error: unknown) => error);
    if (!(made instanceof Error)) {
      const inside = new TestWorkspace(host, 'leading-out', '', '', '');
      await inside.try('echo out > /data/out; sync');
    }
    assert.equal(await host.run(['ls', '-A', '/run/outside']), '');
  });

  it('H52 paths that are swapped for links meanwhile lead no operation out of the workspace', async () => {
    const key = '/run/outside-keys/ssh_host_ed25519_key';
    const source = '/srv/swapping';
    await makeRootfs(host);
    await host.run(
      [
        ...['sh', '-euc'],
        `mkdir -p /run/outside-keys; echo untouched > ${key}
        rm -rf ${source}; cp -a /srv/small ${source}; mkdir -p ${source}/etc/ssh; cat > /run/swapper.py
        setsid -f python3 /run/swapper.py ${source} >/dev/null 2>&1`,
      ],
      { input: swapper },
    );
    const racing = await TestWorkspace.create(host, 'racing');
    await racing.write('/swapper.py', swapper);
    await racing.background("exec python3 /swapper.py ''");
    await until(async () => (await host.exec(['test', '-e', racing.inside('/swapping')])).exitCode === 0);
    const daemon = await host.run(['pgrep', '-f', 'helper.cjs daemon']);
    const outcomes: string[] = [];
    const attempt = async (what: string, call: Promise<unknown>): Promise<void> => {
      const failure = await call.then(
        () => null,
        (error: unknown) => ForkpointError.from(error),
      );
      outcomes.push(`${what}: ${failure?.code ?? 'done'}`);
      // What is refused is refused for a reason that is known.
      assert.doesNotMatch(
        `${failure?.code ?? ''} ${failure?.detail ?? ''}`,
        /^internal|inside Forkpoint/,
        what,
      );
    };
    try {
      for (let round = 0; round < rounds; round++) {
        const alias = `race-${String(round)}`;
        await attempt('create', ask(host, 'containers/create', { name: alias, rootfs: source }));
        await attempt('snapshot', racing.snapshot({ alias }));
        await attempt('restore', racing.restore(alias));
        await attempt('fork', racing.call('containers/copy', { name: `${alias}-fork` }));
        await attempt('promote', ask(host, 'containers/promote', { container: `${alias}-fork` }));
      }
    } finally {
      await host.run(['pkill', '-f', '^python3 /run/swapper.py']);
    }
    assert.ok(
      outcomes.some((outcome) => outcome.endsWith(': done')),
      outcomes.join('\n'),
    );
    for (const place of [racing.inside(''), source])
      assert.notEqual((await host.exec(['test', '-e', `${place}/swap-failed`])).exitCode, 0, place);
    assert.equal(
      await host.run(['ls', '-A', '/run/outside', '/run/outside-keys']),
      '/run/outside:\n\n/run/outside-keys:\nssh_host_ed25519_key\n',
    );
    assert.equal(await host.run(['cat', key]), 'untouched\n');
    assert.equal(await host.run(['pgrep', '-f', 'helper.cjs daemon']), daemon, 'the daemon has ended');
  });

  /** All files of the host that were written since {@link stamp} and hold a word. */
  async function filesHolding(word: string): Promise<string[]> {
    const script =
      'find / \\( -path /proc -o -path /sys -o -path /dev \\) -prune -o -type f -newercc "$2" -exec grep -laF -e "$1" {} + || true';
    const { stdout } = await host.exec(['sh', '-c', script, 'search', word, stamp]);
    return stdout.split('\n').filter((file) => file !== '');
  }

  async function isUntrapped(): Promise<void> {
    assert.notEqual((await host.exec(['test', '-e', '/run/trapped'])).exitCode, 0, 'the trap was sprung');
  }
});

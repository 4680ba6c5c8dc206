import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { freezerOf, type Freezer } from './freezer.ts';
import type { TestHost } from './machine/machine.ts';
import { mendPodman, ownFile, replacePodman, whenLogged } from './small/smallWorkspace.ts';
import { ask, failsWith, quote, sharedHost, TestWorkspace, until } from './workspace.ts';

/** Size of the pool's root, where the records are. */
const pool = '/var/lib/forkpoint';

/** A Podman that has no service, and takes its time to tell of a container. */
const slowToTell = `#!/bin/sh
case "$*" in
  "system service"*) exit 126;;
  "container inspect"*) sleep 1;;
esac
exec /usr/bin/podman "$@"
`;

describe('hazards', function () {
  this.timeout(90_000);
  let host: TestHost;
  let workspace: TestWorkspace;

  before(async () => {
    host = await sharedHost();
    workspace = await TestWorkspace.create(host, 'hazards', { volume: [{ name: 'data', path: '/data' }] });
    await workspace.snapshot({ alias: 'clean' });
  });

  /** What a test left running or lying about is gone for the next one. */
  afterEach(async () => {
    await workspace.restore('clean', { safety: 'none' });
  });

  after(async () => {
    await workspace.call('containers/delete', { withSnapshots: true });
  });

  /** Waits until the file has text, and answers it. */
  async function textOf(file: string): Promise<string> {
    let text = '';
    await until(async () => (text = (await workspace.try(`cat ${file}`)).stdout) !== '');
    return text;
  }

  /** Ends the daemon; the next call starts another, which reads all records again. */
  async function endDaemon(): Promise<void> {
    const pid = (await host.run(['pgrep', '--oldest', '-f', 'helper.cjs daemon'])).trim();
    await host.run(['kill', pid]);
    await until(async () => (await host.exec(['test', '-e', `/proc/${pid}`])).exitCode !== 0);
  }

  /** Changes a JSON file of the pool, while no daemon runs. */
  async function editRecord(file: string, expression: string): Promise<void> {
    await endDaemon();
    const program = `const fs=require('fs');const r=JSON.parse(fs.readFileSync(process.argv[1]));${expression};fs.writeFileSync(process.argv[1],JSON.stringify(r))`;
    await host.run(['node', '-e', program, file]);
  }

  it('H3 an option file left over from a lazy restore does not make a dump hang', async () => {
    const file = `${pool}/workspaces/${workspace.id}/criu.conf`;
    await host.run(['sh', '-c', `echo lazy-pages >> ${file}`]);
    const { freezeMs } = await workspace.snapshot();
    assert.ok(freezeMs < 10_000, `frozen for ${freezeMs} ms`);
    assert.doesNotMatch(await host.run(['cat', file]), /lazy-pages/);
  });

  it('H4 nested subvolumes are in the snapshot, come back, and are in the safety snapshot too', async () => {
    const nested = ['/srv/nested', '/srv/nested/inner', '/data/nested'];
    const volume = `${pool}/workspaces/${workspace.id}/volumes/data`;
    const onHost = (path: string): string =>
      path.startsWith('/data') ? volume + path.slice(5) : workspace.inside(path);
    for (const path of nested) await host.run(['btrfs', '-q', 'subvolume', 'create', onHost(path)]);
    await workspace.sh(nested.map((path) => `echo "in ${path}" > ${path}/file`).join('; '));
    const snapshot = await workspace.snapshot();
    assert.deepEqual([...snapshot.capture.nestedSubvolumes].sort(), [...nested].sort());
    await workspace.sh(nested.map((path) => `echo wreck > ${path}/file`).join('; '));

    const { safety } = await workspace.restore(snapshot.name);
    for (const path of nested) {
      assert.equal(await workspace.sh(`cat ${path}/file`), `in ${path}\n`);
      assert.equal(
        (await host.run(['stat', '-c', '%i', onHost(path)])).trim(),
        '256',
        `${path} is no subvolume`,
      );
    }
    await workspace.restore(String(safety));
    for (const path of nested) assert.equal(await workspace.sh(`cat ${path}/file`), 'wreck\n');
  });

  it('H5 nothing done before the kill is missing from the safety snapshot', async () => {
    // Each number is written to the file first and then told to the host: what the host heard must be in the file.
    await host.run(['sh', '-c', `setsid -f python3 -c ${quote(listener)} </dev/null >/dev/null 2>&1`]);
    await workspace.python('/root/teller.py', teller);
    await until(async () => Number(await host.run(['cat', '/run/heard'])) > 20);
    const { safety } = await workspace.restore('clean');
    const heard = Number(await host.run(['cat', '/run/heard']));
    await workspace.restore(String(safety));
    const written = Number(
      (
        await host.run(['cat', `${pool}/snapshots/${workspace.id}/${String(safety)}/rootfs/srv/number`])
      ).trim(),
    );
    assert.ok(written >= heard, `the host heard ${heard}, the safety snapshot has ${written}`);
    await host.run(['pkill', '-f', 'told to the host']);
  });

  it('H6 a restore asks before it throws away processes that hold over 2 GiB', async () => {
    await workspace.python('/root/large.py', large);
    await textOf('/srv/large');
    const snapshots = (await workspace.call('snapshots/list', {})).length;
    const pid = await workspace.pid();
    const { args } = await failsWith('safety.choiceNeeded', workspace.restore('clean'));
    assert.ok(Number(args['bytes']) > 2 ** 31);
    assert.equal(await workspace.pid(), pid);
    assert.equal((await workspace.call('snapshots/list', {})).length, snapshots);
    const { safety } = await workspace.restore('clean', { safety: 'stateless' });
    const kept = await workspace.call('snapshots/show', { name: String(safety) });
    assert.equal(kept.stateful, false);
    assert.equal(kept.statelessReason, 'the files alone were asked for');
  });

  it('H6 a restore asks where the safety snapshot turns out unable to hold the processes', async () => {
    await workspace.python('/root/tracer.py', tracer);
    await textOf('/srv/traced');
    const snapshots = (await workspace.call('snapshots/list', {})).length;
    const pid = await workspace.pid();
    await failsWith('safety.choiceNeeded', workspace.restore('clean'));
    assert.equal(await workspace.pid(), pid);
    assert.equal((await workspace.show()).state, 'running');
    assert.equal((await workspace.call('snapshots/list', {})).length, snapshots);
    assert.equal((await workspace.sh('kill -0 $(cat /srv/traced) && echo lives')).trim(), 'lives');
  });

  it('H7 POSIX shared memory and files in /dev/shm survive', async () => {
    await workspace.python('/root/shm.py', sharedMemory);
    await until(async () => Number(await workspace.sh('cat /srv/shm')) > 10);
    await workspace.sh('echo kept > /dev/shm/file');
    const snapshot = await workspace.snapshot();
    await workspace.sh('rm /dev/shm/*');
    await workspace.restore(snapshot.name);
    assert.equal(await workspace.sh('cat /dev/shm/file'), 'kept\n');
    // One process counts in the mapping, the other one writes down what it sees there.
    const before = Number(await workspace.sh('cat /srv/shm'));
    await until(async () => Number(await workspace.sh('cat /srv/shm')) > before);
  });

  it('H8 a round of copying memory ahead that fails takes nothing from this snapshot or the next', async () => {
    await workspace.write('/root/hold.py', readFileSync(ownFile('hold.py'), 'utf8'));
    await workspace.background('touch /churn; exec python3 /root/hold.py 160 2> /root/hold.err');
    await until(async () => (await workspace.try('test -s /stall')).exitCode === 0);
    await endDaemon();
    await host.run(['sh', '-euc', failingRounds]);
    try {
      await workspace.snapshot({ alias: 'after-failure' });
    } finally {
      await host.run(['rm', '-f', '/usr/local/sbin/criu', '/usr/local/sbin/runc']);
      // The next daemon finds out anew whether the kernel tracks memory.
      await endDaemon();
    }
    assert.equal(await host.run(['cat', '/run/rounds']), '1\n2\n');
    await workspace.snapshot({ alias: 'next' });
    for (const alias of ['after-failure', 'next']) {
      const { name } = await workspace.call('snapshots/show', { name: alias });
      const files = await host.run(['find', `${pool}/snapshots/${workspace.id}/${name}`, '-maxdepth', '2']);
      assert.doesNotMatch(files, /pre-dumps|memory\/parent/);
      await workspace.restore(alias, { safety: 'none' });
      await workspace.sh(`rm -f /churn /checked; echo ${alias} > /check`);
      assert.equal(await textOf('/checked'), `same ${alias}\n`);
    }
  });

  it('H9 a daemon that ends in order leaves no memory of a snapshot unwritten', async () => {
    await workspace.python(
      '/root/holder.py',
      "import os, time\nheld = os.urandom(300 << 20)\nopen('/root/holds', 'w').close()\nwhile True: time.sleep(60)\n",
    );
    await until(async () => (await workspace.try('test -e /root/holds')).exitCode === 0);
    const { safety } = await workspace.restore('clean');
    await endDaemon();
    const file = `${pool}/snapshots/${workspace.id}/${String(safety)}/snapshot.json`;
    const record = JSON.parse(await host.run(['cat', file])) as { durable: boolean; stateful: boolean };
    assert.deepEqual([record.stateful, record.durable], [true, true]);
  });

  it('H10 a snapshot during which somebody else thawed the workspace is discarded', async () => {
    const names = async (): Promise<string[]> =>
      (await workspace.call('snapshots/list', {})).map(({ name }) => name);
    const before = await names();
    await host.run([
      'sh',
      '-c',
      `setsid -f sh -c ${quote(thawer(await freezerOf(host, 'forkpoint-hazards')))} </dev/null >/dev/null 2>&1`,
    ]);
    await until(async () => (await host.exec(['test', '-e', '/run/thawing'])).exitCode === 0);
    try {
      // Where CRIU notices first, it is the dump that fails; it takes its own time-out of 10 s for that.
      await failsWith(['checkpoint.torn', 'checkpoint.impossible'], workspace.snapshot());
    } finally {
      await host.run(['rm', '/run/thawing']);
    }
    assert.deepEqual(await names(), before);
    assert.equal((await workspace.show()).state, 'running');
  });

  it('H11 files that are unlinked and open survive, also large ones and those with another name', async () => {
    await workspace.sh('mkdir /srv/h11');
    await workspace.python('/root/unlinked.py', unlinked);
    await textOf('/srv/unlinked');
    const listing = await workspace.sh('ls -A /srv/h11');
    const snapshot = await workspace.snapshot();
    await workspace.sh('echo wreck > /srv/h11/other; pkill -f "[u]nlinked.py"');
    await workspace.restore(snapshot.name);
    assert.equal(await workspace.sh('ls -A /srv/h11'), listing);
    await workspace.sh('touch /srv/ask');
    assert.equal(await textOf('/srv/answer'), 'whole');
    assert.equal(await workspace.sh('cat /srv/h11/other'), 'linked, written after');
  });

  it('H15 Podman agrees with what happened, restore after restore', async () => {
    for (let round = 0; round < 3; round++) {
      await workspace.restore('clean', { safety: 'none' });
      const container = `forkpoint-${workspace.name}`;
      const format = '{{.State.Status}} {{.State.Pid}} {{.HostConfig.RestartPolicy.Name}}';
      const [status, pid, policy] = (await host.run(['podman', 'inspect', '--format', format, container]))
        .trim()
        .split(' ');
      assert.equal(status, 'running');
      assert.equal(policy, 'no');
      assert.equal(await host.run(['readlink', `/proc/${String(pid)}/exe`]), '/.forkpoint/init\n');
      assert.equal((await workspace.sh('echo in')).trim(), 'in');
    }
    await workspace.call('containers/stop', {});
    assert.match(
      await host.run([
        'podman',
        'ps',
        '--all',
        '--filter',
        'name=forkpoint-hazards',
        '--format',
        '{{.Status}}',
      ]),
      /^Exited/,
    );
    assert.equal((await workspace.call('containers/start', {})).state, 'running');
  });

  it('H15 restores and starts a workspace that has just ended by itself, however far Podman is with its cleanup', async () => {
    for (let delayMs = 0; delayMs < 200; delayMs += 10) {
      const pid = await workspace.pid();
      await host.run(['sh', '-c', `kill -s KILL ${String(pid)}; sleep ${String(delayMs / 1000)}`]);
      if (delayMs % 20 === 0) assert.ok((await workspace.restore('clean', { safety: 'none' })).stateful);
      else assert.equal((await workspace.call('containers/start', {})).state, 'running');
      assert.equal((await workspace.sh('echo in')).trim(), 'in', `${String(delayMs)} ms after its end`);
    }
  });

  it('H15 restores a workspace that ends by itself while a restore looks at it', async () => {
    const pid = await workspace.pid();
    await replacePodman(host, slowToTell);
    try {
      const { stateful } = await whenLogged(
        host,
        'restore hazards: inspect',
        `kill -s KILL ${String(pid)}`,
        () => workspace.restore('clean', { safety: 'none' }),
      );
      assert.ok(stateful);
    } finally {
      await mendPodman(host);
    }
    assert.equal((await workspace.sh('echo in')).trim(), 'in');
  });

  it('H16 the container is made again after Podman has lost it, by start and by restore', async () => {
    await workspace.python('/root/counter.py', counter);
    await until(async () => Number(await workspace.sh('cat /srv/count')) > 5);
    const snapshot = await workspace.snapshot();
    await host.run(['podman', 'rm', '--force', '--time', '0', 'forkpoint-hazards']);
    assert.equal((await workspace.show()).state, 'missing');
    const restored = await workspace.restore(snapshot.name);
    assert.equal(restored.stateful, true);
    const count = Number(await workspace.sh('cat /srv/count'));
    assert.ok(count > 5);
    await until(async () => Number(await workspace.sh('cat /srv/count')) > count);

    await host.run(['podman', 'rm', '--force', '--time', '0', 'forkpoint-hazards']);
    const started = await workspace.call('containers/start', {});
    assert.equal(started.state, 'running');
    assert.equal(started.address, workspace.address);
    assert.ok(Number(await workspace.sh('cat /srv/count')) >= count);
  });

  it('H16 the hook of the workspace runs after every restore, and its failure is told', async () => {
    await workspace.sh('mkdir -p /etc/forkpoint');
    await workspace.write(
      '/etc/forkpoint/on-restore',
      '#!/bin/sh\necho "$FORKPOINT_NAME $FORKPOINT_SNAPSHOT" >> /srv/woken\ntest ! -e /srv/broken || { echo it hurts >&2; exit 3; }\n',
    );
    await workspace.sh('chmod +x /etc/forkpoint/on-restore');
    const whole = await workspace.snapshot();
    const live = await workspace.restore(whole.name, { safety: 'none' });
    assert.equal(live.hookFailure, null);
    assert.equal(await workspace.sh('cat /srv/woken'), `hazards ${whole.name}\n`);
    await workspace.sh('touch /srv/broken');
    const broken = await workspace.snapshot();
    const cold = await workspace.restore(broken.name, { safety: 'none', cold: true });
    assert.match(cold.hookFailure ?? '', /3.*it hurts/s);
    assert.equal(await workspace.sh('tail -n 1 /srv/woken'), `hazards ${broken.name}\n`);
    assert.equal((await workspace.show()).state, 'running');
  });

  it('H17 a jump of the clock expires nothing', async () => {
    const expiring = await workspace.snapshot({ expiry: 0.00003 });
    await editRecord(`${pool}/clock.json`, 'r.wallMs-=3600e3;r.distrustedUntilMs=0');
    try {
      // While no daemon runs: the one before, whose clock has not jumped, would rightly expire it.
      await until(() => Promise.resolve(Date.parse(expiring.expiresAt ?? '') < Date.now()));
      await workspace.call('snapshots/list', {});
      await until(async () =>
        /clock has jumped/.test((await ask(host, 'host/logs', { lines: 1000 })).join('\n')),
      );
      const names = (await workspace.call('snapshots/list', {})).map(({ name }) => name);
      assert.ok(names.includes(expiring.name));
    } finally {
      // Nothing would expire on this host for a day.
      await editRecord(`${pool}/clock.json`, 'r.distrustedUntilMs=0');
    }
  });

  it('H20 the address stays the same over restore, stop and start', async () => {
    const inside = async (): Promise<string> => (await workspace.sh('hostname -I')).trim();
    assert.equal(await inside(), workspace.address);
    await workspace.restore('clean');
    assert.equal(await inside(), workspace.address);
    await workspace.call('containers/stop', { timeout: 0 });
    await workspace.call('containers/start', {});
    assert.equal(await inside(), workspace.address);
    assert.equal((await workspace.show()).address, workspace.address);
  });

  it("H26 the init is the workspace's own file, and images that do not fit are refused before anything stops", async () => {
    assert.equal(await host.run(['readlink', `/proc/${await workspace.pid()}/exe`]), '/.forkpoint/init\n');
    assert.doesNotMatch(await workspace.sh('cat /proc/self/mountinfo'), /forkpoint\/init/);
    const snapshot = await workspace.snapshot();
    const record = `${pool}/snapshots/${workspace.id}/${snapshot.name}/snapshot.json`;
    for (const change of [
      "r.imageOrigin.cpuFlags.push('nonesuch')",
      "r.imageOrigin.criu='99.0'",
      "r.imageOrigin.architecture='riscv64'",
    ]) {
      const text = await host.run(['cat', record]);
      await editRecord(record, change);
      const pid = await workspace.pid();
      await failsWith('snapshot.incompatible', workspace.restore(snapshot.name));
      assert.equal(await workspace.pid(), pid);
      await host.run(['tee', record], { input: text });
    }
    await endDaemon();
    await host.run([
      'sh',
      '-c',
      `truncate -s 1 ${pool}/snapshots/${workspace.id}/${snapshot.name}/memory/inventory.img`,
    ]);
    const pid = await workspace.pid();
    await failsWith('snapshot.memoryDamaged', workspace.restore(snapshot.name));
    assert.equal(await workspace.pid(), pid);
  });

  it('H27 edited /etc/hosts, /etc/hostname and /etc/resolv.conf come back', async () => {
    const files = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'];
    await workspace.sh(files.map((file) => `echo '# mine' >> ${file}`).join('; '));
    const snapshot = await workspace.snapshot();
    assert.deepEqual(snapshot.capture.otherMounts, []);
    await workspace.sh(files.map((file) => `echo wreck > ${file}`).join('; '));
    await workspace.restore(snapshot.name);
    for (const file of files) assert.match(await workspace.sh(`cat ${file}`), /# mine\n$/);
  });

  it('H51 memory images and records are for root alone', async () => {
    await workspace.snapshot();
    const open = await host.run([
      'sh',
      '-c',
      `cd ${pool} && stat -c '%a %n' . snapshots snapshots/* snapshots/*/* workspaces workspaces/* journal trash && ` +
        "find snapshots workspaces -maxdepth 4 \\( -path '*/memory*' -o -name '*.json' -o -name criu.conf -o -path '*/work' \\) -printf '%m %p\\n'",
    ]);
    const wrong = open
      .trimEnd()
      .split('\n')
      .filter((line) => !/^[0-7]00 /.test(line));
    assert.deepEqual(wrong, []);
    assert.ok(open.includes('/memory/'));
  });

  it('H52 a root file system made to write elsewhere is refused or confined', async () => {
    await host.run([
      'sh',
      '-c',
      'rm -rf /srv/evil /run/outside; mkdir -p /srv/evil /run/outside; ln -s /run/outside /srv/evil/etc',
    ]);
    await failsWith('source.invalid', ask(host, 'containers/create', { name: 'evil', rootfs: '/srv/evil' }));
    await host.run([
      'sh',
      '-c',
      'rm /srv/evil/etc; mkdir /srv/evil/etc; ln -s /run/outside/hosts /srv/evil/etc/hosts; ln -s /run/outside /srv/evil/.forkpoint',
    ]);
    await failsWith('source.invalid', ask(host, 'containers/create', { name: 'evil', rootfs: '/srv/evil' }));
    await host.run(['rm', '/srv/evil/.forkpoint']);
    const archive =
      "import tarfile,io\nt=tarfile.open('/srv/evil.tar','w')\nl=tarfile.TarInfo('x');l.type=tarfile.SYMTYPE;l.linkname='/run/outside';t.addfile(l)\n" +
      "for n in ('x/through','../../../../../../run/outside/up','/run/outside/absolute'):\n f=tarfile.TarInfo(n);f.size=1;t.addfile(f,io.BytesIO(b'x'))\nt.close()";
    await host.run(['python3', '-c', archive]);
    for (const source of ['/srv/evil', '/srv/evil.tar']) {
      // What is made, or refused, is not the point here: only where it writes.
      await host.exec(['forkpoint', 'containers', 'create', 'evil', '--rootfs', source]);
      await host.exec(['forkpoint', 'containers', 'delete', '-c', 'evil']);
    }
    assert.equal(await host.run(['ls', '-A', '/run/outside']), '');
    assert.deepEqual(
      (await ask(host, 'containers/list', {})).map(({ name }) => name).filter((name) => name === 'evil'),
      [],
    );
  });

  it('H53 the space of a snapshot is an estimate near what the kernel counts', async () => {
    await workspace.sh('head -c 30000000 /dev/urandom > /srv/large; sync');
    const snapshot = await workspace.snapshot();
    await until(
      async () => (await workspace.call('snapshots/show', { name: snapshot.name })).exclusiveBytes !== null,
    );
    const { exclusiveBytes, memoryBytes } = await workspace.call('snapshots/show', { name: snapshot.name });
    const directory = `${pool}/snapshots/${workspace.id}/${snapshot.name}`;
    const du = await host.run([
      'btrfs',
      'filesystem',
      'du',
      '-s',
      '--raw',
      `${directory}/rootfs`,
      `${directory}/volumes/data`,
    ]);
    const counted = du
      .split('\n')
      .slice(1)
      .reduce((sum, line) => sum + Number(/^\s*\d+\s+(\d+)/.exec(line)?.[1] ?? 0), memoryBytes);
    assert.ok(
      Math.abs(Number(exclusiveBytes) - counted) < 3_000_000,
      `${String(exclusiveBytes)} estimated, ${counted} counted`,
    );
  });
});

/** On the host: keeps the highest number that it was told. */
const listener = `
# told to the host
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 5005))
high = 0
open('/run/heard', 'w').write('0')
while True:
    high = max(high, int(s.recv(64)))
    with open('/run/heard.new', 'w') as f: f.write(str(high))
    os.rename('/run/heard.new', '/run/heard')
`;

const teller = `
import os, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out = os.open('/srv/number', os.O_WRONLY | os.O_CREAT)
count = 0
while True:
    count += 1
    os.pwrite(out, b'%d' % count, 0)
    s.sendto(b'%d' % count, ('10.209.0.1', 5005))
    time.sleep(0.001)
`;

const large = `
import mmap, time
memory = mmap.mmap(-1, 2200 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000)
open('/srv/large', 'w').write('large')
time.sleep(1000)
`;

/**
 * From here on the second round of copying memory ahead fails, after the kernel has been told to note changes from then on.
 * Where it can't note them, it is said to, and the first round is one of zeros: what a dump made of it would be wrong, too.
 */
const failingRounds = `
  rm -f /run/rounds
  cat > /usr/local/sbin/criu <<'end'
#!/bin/sh
[ "$*" != "check --feature mem_dirty_track" ] || exit 0
PATH=/usr/sbin:/usr/bin:/sbin:/bin exec criu "$@"
end
  cat > /usr/local/sbin/runc <<'end'
#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
case "$*" in *--pre-dump*) ;; *) exec runc "$@" ;; esac
images=\${*#*--image-path }
images=\${images%% *}
echo "\${images##*/}" >> /run/rounds
runc "$@" || head -c 20M /dev/zero > "$images/pages-1.img"
[ "\${images##*/}" = 1 ]
end
  chmod 755 /usr/local/sbin/criu /usr/local/sbin/runc
`;

/** A process traced by another can't be dumped. */
const tracer = `
import ctypes, os, time
child = os.fork()
if child == 0:
    while True: time.sleep(1)
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE = 0x4206
assert libc.ptrace(PTRACE_SEIZE, child, 0, 0) == 0, os.strerror(ctypes.get_errno())
open('/srv/traced', 'w').write(str(child))
while True: time.sleep(1)
`;

const sharedMemory = `
import mmap, os, struct, time
fd = os.open('/dev/shm/mapping', os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 4096)
memory = mmap.mmap(fd, 4096)
if os.fork() == 0:
    count = 0
    while True:
        count += 1
        memory[:8] = struct.pack('q', count)
        time.sleep(0.005)
while True:
    with open('/srv/shm.new', 'w') as f: f.write(str(struct.unpack('q', memory[:8])[0]))
    os.rename('/srv/shm.new', '/srv/shm')
    time.sleep(0.01)
`;

const unlinked = `
import hashlib, os, time
large = open('/srv/h11/large', 'w+b'); content = os.urandom(3 << 20); large.write(content); large.flush(); os.unlink('/srv/h11/large')
linked = open('/srv/h11/linked', 'w+b'); linked.write(b'linked'); linked.flush(); os.link('/srv/h11/linked', '/srv/h11/other'); os.unlink('/srv/h11/linked')
open('/srv/unlinked', 'w').write('ready')
while not os.path.exists('/srv/ask'): time.sleep(0.02)
large.seek(0)
linked.write(b', written after'); linked.flush()
open('/srv/answer', 'w').write('whole' if large.read() == content else 'broken')
time.sleep(1000)
`;

const counter = `
import os, time
count = 0
while True:
    count += 1
    with open('/srv/count.new', 'w') as f: f.write(str(count))
    os.rename('/srv/count.new', '/srv/count')
    time.sleep(0.01)
`;

/**
 * Thaws the workspace whenever it stands still, as long as /run/thawing is there: the first time a moment after it froze,
 * then at once, for CRIU thaws and freezes it, too, and holds the processes meanwhile.
 */
function thawer({ file, freeze, thaw }: Freezer): string {
  return (
    `touch /run/thawing; delay=0.03; ` +
    `while [ -e /run/thawing ]; do grep -q ${freeze} ${file} && { sleep $delay; delay=0; echo ${thaw} > ${file}; }; done`
  );
}

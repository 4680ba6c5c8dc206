import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import { Client } from 'ssh2';
import type { Fork } from '../../src/protocol/operations.ts';
import type { Workspace } from '../../src/protocol/workspace.ts';
import type { Snapshot } from '../../src/protocol/snapshot.ts';
import { HeavyLoad, type Counts } from './heavyWorkspace.ts';
import { enterOptions, type TestHost } from './machine/machine.ts';
import { logLength, logSince, spoilImage } from './small/smallWorkspace.ts';
import { deleteWorkspaces, failsWith, forkpoint, sharedHost, TestWorkspace, until } from './workspace.ts';

/** Beside the freeze, what a busy machine may keep a program from running, in milliseconds; making the forks takes longer. */
const SCHEDULING_MS = 1_500;

/** Notes the longest time for which it did not run. */
const gapWatcher = `
import os, time
last, worst = time.monotonic(), 0
while True:
    time.sleep(0.001)
    now = time.monotonic()
    if now - last > worst:
        worst = now - last
        with open('/srv/gap.new', 'w') as file: file.write(str(round(worst * 1000)))
        os.rename('/srv/gap.new', '/srv/gap')
    last = now
`;

/** Says its name, index and origin; fails where it is told to. */
const hook = `#!/bin/sh
echo "$FORKPOINT_NAME $FORKPOINT_INDEX $FORKPOINT_ORIGIN" > /srv/hook
case $FORKPOINT_NAME in *sad*) echo "no token for this one" >&2; exit 3 ;; esac
`;

/** Joins its standard input and output to port 22 of an address. */
const relay = `
import os, socket, sys, threading
s = socket.create_connection((sys.argv[1], 22))
def up():
    while data := os.read(0, 65536): s.sendall(data)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536): os.write(1, data)
`;

/** The fork as the tests use workspaces. */
function workspaceOf(host: TestHost, fork: Fork): TestWorkspace {
  const made = workspaceIn(fork);
  return new TestWorkspace(host, made.name, made.id, made.rootfs, made.address);
}

function workspaceIn(fork: Fork): Workspace {
  assert.ok(fork.workspace !== null, `${fork.name}: ${JSON.stringify(fork.error)}`);
  return fork.workspace;
}

describe('forks of a busy workspace', function () {
  this.timeout(180_000);

  let host: TestHost;
  let original: TestWorkspace;
  let load: HeavyLoad;
  let forks: Fork[];
  let loads: HeavyLoad[];
  let counts: Counts;
  /** How long the daemon's log was before they were made, in bytes. */
  let logged: number;

  before(async () => {
    host = await sharedHost();
    original = await TestWorkspace.create(host, 'shop', {
      volume: [{ name: 'data', path: '/data' }],
      publish: [{ hostPort: 18080, containerPort: 8080 }],
      project: 'retail',
    });
    load = new HeavyLoad(original);
    await load.start();
    await original.sh(
      'mkdir -p /etc/forkpoint /run/sshd; ssh-keygen -A; echo 00000000000000000000000000000007 > /etc/machine-id',
    );
    await original.write('/etc/forkpoint/on-fork', hook);
    await original.sh('chmod 755 /etc/forkpoint/on-fork');
    await original.background('exec /usr/sbin/sshd -D');
    await original.python('/root/gap.py', gapWatcher);
    await until(async () => (await original.sh('ss -Htln sport = :22')) !== '');
    counts = await load.counts();
    await original.sh('rm -f /srv/gap');
    logged = await logLength(host);
    forks = await original.call('containers/copy', { name: 'try', count: 3 });
    loads = forks.map((fork) => new HeavyLoad(workspaceOf(host, fork)));
  });

  after(async () => {
    await deleteWorkspaces(host);
  });

  it('are made side by side from one moment, which the timeline shows', async () => {
    assert.deepEqual(
      forks.map(({ name, ok, stateful, hookFailure, origin }) => [
        name,
        ok,
        stateful,
        hookFailure,
        origin.name,
        origin.forkIndex,
      ]),
      ['try-1', 'try-2', 'try-3'].map((name, index) => [name, true, true, null, 'shop', index + 1]),
    );
    const list = await original.call('snapshots/list', {});
    assert.deepEqual(
      list
        .find(({ name }) => name === forks[0]?.origin.snapshot)
        ?.forks.map(({ name, state }) => [name, state]),
      ['try-1', 'try-2', 'try-3'].map((name) => [name, 'running']),
    );
    const tree = await host.run(['forkpoint', 'snapshots', 'list', '-c', 'shop', '--tree']);
    assert.match(tree, /fork "try-2", running/);
    assert.ok(forks.every((fork) => workspaceIn(fork).project === 'retail'));
    assert.ok(forks.every((fork) => workspaceIn(fork).operation === null));
  });

  it('H9 are awake before the snapshot that they began as is on the disk, where it is soon after', async () => {
    const { name } = await snapshotOfForks();
    await until(async () => (await snapshotOfForks()).durable);
    const log = await logSince(host, logged);
    const written = log.indexOf(`write ${original.id}/${name} to the disk`);
    assert.ok(written > 0, log);
    for (const fork of forks) {
      const awake = log.indexOf(`copy ${fork.name}: close, `);
      assert.ok(awake > 0 && awake < written, `${fork.name} at ${String(awake)}, ${String(written)}`);
    }
  });

  it('do not stop the original for longer than the freeze', async () => {
    const { freezeMs } = await snapshotOfForks();
    const gap = Number(await original.sh('cat /srv/gap'));
    assert.ok(gap < freezeMs + SCHEDULING_MS, `stood still for ${gap} ms, the freeze took ${freezeMs} ms`);
    await load.readCounter();
  });

  it('answer each on a port of its own, and count on in memory where the original was', async () => {
    const ports = forks.map((fork) => workspaceIn(fork).published.map(({ hostPort }) => hostPort));
    assert.equal(new Set([18080, ...ports.flat()]).size, 4, String(ports));
    for (const port of ports.flat()) {
      const seen = JSON.parse(
        await host.run(['curl', '-fsS', `http://127.0.0.1:${String(port)}/`]),
      ) as Counts;
      assert.equal(seen.secret, counts.secret);
      assert.ok(seen.requests > counts.requests && seen.ticks > counts.ticks, JSON.stringify(seen));
    }
  });

  it('count on in the file of the volume without a gap, and each for itself', async () => {
    const tails = [];
    for (const one of [load, ...loads]) {
      const before = (await one.readCounter()).length;
      await until(async () => (await one.readCounter()).length > before);
      tails.push(before);
    }
    for (const one of loads)
      assert.deepEqual((await one.processes()).slice(0, 3), (await load.processes()).slice(0, 3));
  });

  it('have their own transaction, terminal, files, shared memory and processes', async () => {
    const [first, second] = loads;
    assert.ok(first && second);
    await first.type('psql', 'commit;');
    await until(async () => (await first.sql('select count(*) from customers')) === '1001');
    for (const one of [load, second]) assert.equal(await one.sql('select count(*) from customers'), '1000');
    await first.type('shell', 'echo "$treasure of the first"');
    await until(async () => (await first.screen('shell')).includes('island of the first'));
    await first.workspace.sh('echo mine | tee /srv/own /data/own > /dev/shm/own');
    await first.workspace.background('exec -a only-here sleep 1000 || exec sleep 1000');
    for (const one of [load, second]) {
      assert.doesNotMatch(await one.screen('shell'), /of the first/);
      assert.equal(await one.workspace.sh('ls /srv/own /data/own /dev/shm/own 2>/dev/null || true'), '');
      assert.equal(
        await one.workspace.sh('pgrep -x sleep || true'),
        await load.workspace.sh('pgrep -x sleep || true'),
      );
    }
  });

  it('H25 are known by another name, machine id and host key than the original, sshd in memory included', async () => {
    const identities = [];
    for (const one of [original, ...loads.map(({ workspace }) => workspace)]) {
      const [file, kernel, machine, hosts] = (
        await one.sh(
          'cat /etc/hostname; uname -n; cat /etc/machine-id; grep -c "$(cat /etc/hostname)" /etc/hosts',
        )
      ).split('\n');
      assert.equal(file, one.name);
      assert.equal(kernel, one.name);
      assert.equal(hosts, '1');
      const onDisk = (await one.sh('cut -d" " -f2 /etc/ssh/ssh_host_ed25519_key.pub')).trim();
      await until(async () => (await servedHostKey(one.address)) === onDisk);
      identities.push([machine, onDisk]);
    }
    for (const which of [0, 1])
      assert.equal(new Set(identities.map((one) => one[which])).size, 4, `${which}`);
  });

  it('run the hook inside each, and say when it fails; the fork stays', async () => {
    for (const { workspace } of loads) {
      assert.equal(
        (await workspace.sh('cat /srv/hook')).trim(),
        `${workspace.name} ${workspace.name.slice(-1)} shop`,
      );
    }
    const [sad] = await copy({ name: 'sad' });
    assert.ok(sad?.ok);
    assert.match(String(sad.hookFailure), /exit 3: no token for this one/);
    assert.equal(workspaceIn(sad).state, 'running');
    await remove('sad');
  });

  it('can be forked in turn, and are independent of the snapshot that they began at', async () => {
    const second = loads[1];
    assert.ok(second);
    const [grand] = await second.workspace.call('containers/copy', { name: 'grand' });
    assert.ok(grand);
    const grandLoad = new HeavyLoad(workspaceOf(host, grand));
    const before = (await grandLoad.readCounter()).length;
    await original.call('snapshots/delete', { name: (await snapshotOfForks()).name });
    await until(async () => (await grandLoad.readCounter()).length > before);
    assert.equal((await grandLoad.workspace.sh('uname -n')).trim(), 'grand');
    await remove('grand');
  });

  it('of files alone are started from them, also where the snapshot holds processes', async () => {
    const files = await original.snapshot({ mode: 'stateless' });
    const [fromFiles] = await copy({ name: 'files', snapshot: files.name });
    const [cold] = await copy({ name: 'cold', cold: true, targetProject: 'trials' });
    for (const fork of [fromFiles, cold]) {
      assert.ok(fork);
      assert.equal(fork.stateful, false);
      const workspace = workspaceOf(host, fork);
      assert.equal((await workspace.sh('pgrep -x node || true')).trim(), '');
      assert.match(await workspace.sh('head -n 1 /data/counter'), /^start/);
    }
    assert.equal(workspaceIn(cold as Fork).project, 'trials');
    for (const name of ['files', 'cold']) await remove(name);
  });

  it('that fail leave nothing behind, and do not fail the others', async () => {
    // What was deleted before is not part of the sight.
    await until(async () => (await host.run(['ls', '/var/lib/forkpoint/trash'])) === '');
    const before = await sightOfPool();
    // The second of the two would publish a port that is in use.
    const { name } = await original.snapshot();
    const pair = [
      '-c',
      'shop',
      '--name',
      'pair',
      '--count',
      '2',
      '--snapshot',
      name,
      '--publish',
      '18079:8080',
    ];
    const told = await host.exec(['forkpoint', 'containers', 'copy', ...pair, '--json']);
    assert.equal(told.exitCode, 1, told.stderr);
    const [good, bad] = JSON.parse(told.stdout) as Fork[];
    assert.equal(good?.ok, true);
    assert.equal(bad?.error?.code, 'port.taken');
    await remove('pair-1');
    // The snapshot that was taken for it goes with it.
    const late = { name: 'late', publish: [{ hostPort: 18080, containerPort: 8080 }] };
    await failsWith('port.taken', original.call('containers/copy', late));

    await spoilImage(host, `/var/lib/forkpoint/snapshots/${original.id}/${name}`);
    await failsWith('workspace.forkFailed', copy({ name: 'broken', snapshot: name }));
    await failsWith('workspace.exists', copy({ name: 'shop', snapshot: name }));
    await original.call('snapshots/delete', { name });
    await until(async () => (await sightOfPool()) === before);
  });

  it('take the place of the original when promoted, and one Undo brings that back', async () => {
    const third = loads[2];
    assert.ok(third);
    const machineId = await original.sh('cat /etc/machine-id');
    const inFork = await third.workspace.snapshot({ alias: 'winner' });
    await third.workspace.sh('echo promoted > /srv/place');
    await original.sh('echo original > /srv/place');
    const counted = (await third.readCounter()).length;

    const promoted = await third.workspace.call('containers/promote', {});

    assert.equal(promoted.workspace.id, original.id);
    assert.equal(promoted.workspace.name, 'shop');
    assert.deepEqual(
      promoted.workspace.published.map(({ hostPort }) => hostPort),
      [18080],
    );
    assert.equal((await original.sh('cat /srv/place')).trim(), 'promoted');
    assert.ok((await load.readCounter()).length > counted);
    assert.equal(await load.sql('select count(*) from customers'), '1000');
    assert.equal(await original.sh('cat /etc/machine-id'), machineId);
    assert.equal((await original.sh('uname -n; cat /etc/hostname')).trim(), 'shop\nshop');
    const seen = JSON.parse(await host.run(['curl', '-fsS', 'http://127.0.0.1:18080/'])) as Counts;
    assert.equal(seen.secret, counts.secret);
    await failsWith('workspace.notFound', third.workspace.show());
    const list = await original.call('snapshots/list', {});
    const winner = list.find(({ alias }) => alias === 'winner');
    assert.equal(winner?.name, inFork.name);
    assert.equal(list.find(({ name }) => name === promoted.promoted)?.parent, winner.name);
    assert.equal(list.find(({ isHead }) => isHead)?.name, promoted.promoted);

    assert.equal(promoted.workspace.undo?.safety, promoted.safety);
    await original.restore(String(promoted.safety));
    assert.equal((await original.sh('cat /srv/place')).trim(), 'original');
    await load.readCounter();
    // A snapshot that came from the fork is one like any other now.
    await original.restore('winner');
    assert.equal((await original.sh('uname -n')).trim(), 'shop');
    await load.readCounter();
  });

  it('can not be promoted when there is nothing whose place they could take', async () => {
    await failsWith('workspace.isNoFork', original.call('containers/promote', {}));
  });

  function copy(params: {
    name: string;
    snapshot?: string;
    cold?: boolean;
    targetProject?: string;
  }): Promise<Fork[]> {
    return original.call('containers/copy', params);
  }

  /** The ed25519 key that the SSH server at an address proves to have. */
  async function servedHostKey(address: string): Promise<string> {
    const [command, ...args] = await host.enterArguments(['python3', '-c', relay, address]);
    const child = spawn(command, args, { ...enterOptions, stdio: ['pipe', 'pipe', 'ignore'] });
    const client = new Client();
    try {
      return await new Promise((resolve, reject) => {
        client.on('error', reject).connect({
          sock: Duplex.from({ readable: child.stdout, writable: child.stdin }),
          username: 'nobody',
          algorithms: { serverHostKey: ['ssh-ed25519'] },
          hostVerifier: (key: Buffer) => {
            resolve(key.toString('base64'));
            return false;
          },
        });
      });
    } finally {
      client.destroy();
      child.kill('SIGKILL');
    }
  }

  async function remove(name: string): Promise<void> {
    await forkpoint(host, 'containers/delete', ['-c', name, '--with-snapshots']);
  }

  async function snapshotOfForks(): Promise<Snapshot> {
    return original.call('snapshots/show', { name: String(forks[0]?.origin.snapshot) });
  }

  /** All that a fork could leave on the host. */
  async function sightOfPool(): Promise<string> {
    return host.run([
      'sh',
      '-c',
      'cd /var/lib/forkpoint; ls workspaces journal trash; podman ps --all --quiet | sort; ls /run/netns; pgrep -a criu || true',
    ]);
  }
});

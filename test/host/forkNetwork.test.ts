import assert from 'node:assert/strict';
import type { Fork } from '../../src/protocol/operations.ts';
import { readFileSync } from 'node:fs';
import type { TestHost } from './machine/machine.ts';
import { ownFile } from './small/smallWorkspace.ts';
import { deleteWorkspaces, quote, sharedHost, TestWorkspace, until } from './workspace.ts';

const MIB = 1024 ** 2;

/** Memory of the workspace that is forked ten times: enough to be woken lazily. */
const heldMib = process.env['FORKPOINT_LONG'] === '1' ? 1024 : 280;

/** What ten forks may add to the pool, in bytes: metadata, logs, and what their programs write; no image, no file. */
const ADDED_BYTES = 100 * MIB;

describe('ten forks of a workspace with connections', function () {
  this.timeout(300_000);

  let host: TestHost;
  let original: TestWorkspace;
  let neighbour: TestWorkspace;
  let forks: { fork: Fork; workspace: TestWorkspace }[];
  let addedBytes: number;

  before(async () => {
    host = await sharedHost();
    neighbour = await TestWorkspace.create(host, 'neighbour');
    await neighbour.python('/root/server.py', server);
    await host.run(['sh', '-c', `setsid -f python3 -c ${quote(server)} </dev/null >/dev/null 2>&1`]);
    original = await TestWorkspace.create(host, 'origin');
    await original.write('/hold.py', readFileSync(ownFile('hold.py'), 'utf8'));
    await original.background(`exec python3 /hold.py ${String(heldMib)}`);
    await until(async () => Number(await original.sh('cat /beats')) > 0);
    await original.python('/root/client.py', client(original.address, neighbour.address));
    await until(
      async () =>
        (await original.sh('ls /srv/')).split('\n').filter((name) => name.startsWith('count-')).length === 3,
    );
    const { name } = await original.snapshot();
    await host.run(['sync', '-f', '/var/lib/forkpoint']);
    const before = await usedBytes();
    const made = await original.call('containers/copy', { name: 'ten', count: 10, snapshot: name });
    forks = made.map((fork) => {
      assert.ok(fork.workspace, JSON.stringify(fork.error));
      const { id, rootfs, address } = fork.workspace;
      return { fork, workspace: new TestWorkspace(host, fork.name, id, rootfs, address) };
    });
    await host.run(['sync', '-f', '/var/lib/forkpoint']);
    addedBytes = (await usedBytes()) - before;
  });

  after(async () => {
    await host.exec(['pkill', '-f', 'outside server of forks']);
    // Eleven that are busy leave an emulated machine no time for anything else.
    await host.exec(['pkill', '-f', '^python3 /root/client.py']);
    await deleteWorkspaces(host);
  });

  it('add next to nothing to the disk', () => {
    assert.ok(
      addedBytes < ADDED_BYTES,
      `${String(Math.round(addedBytes / MIB))} MiB for ${String(heldMib)} MiB held`,
    );
  });

  it('H21 leave every connection of the original alone, idle and busy, to the outside and to a neighbour', async () => {
    const counts = (): Promise<number[]> =>
      Promise.all(
        ['outside', 'neighbour', 'own'].map(async (name) =>
          Number(await original.sh(`cat /srv/count-${name}`)),
        ),
      );
    const before = await counts();
    await until(async () => (await counts()).every((count, index) => count > (before[index] ?? 0)));
    assert.equal(
      await original.sh('touch /srv/ask-idle; sleep 0.5; cat /srv/ended-* 2>/dev/null || true'),
      '',
    );
    await until(async () => (await original.sh('cat /srv/idle')) === 'alive');
    // Who has the address, as a neighbour learns it that has forgotten all.
    const pid = String(await neighbour.pid());
    await host.run(['nsenter', `--net=/proc/${pid}/ns/net`, 'ip', 'neigh', 'flush', 'all']);
    await neighbour.sh(
      `python3 -c "import socket; socket.create_connection(('${original.address}', 7001), 5).close()"`,
    );
    const mac = (await original.sh('cat /sys/class/net/eth0/address')).trim();
    assert.match(await neighbour.sh(`ip neigh show ${original.address}`), new RegExp(mac));
  });

  it('H22 close what the original had with the outside at once, and what it had with itself lives on', async () => {
    for (const { workspace } of forks) {
      const ended = async (): Promise<string> => workspace.sh('ls /srv | grep -c ^ended- || true');
      await until(async () => (await ended()).trim() === '3');
      const before = Number(await workspace.sh('cat /srv/count-own'));
      await until(async () => Number(await workspace.sh('cat /srv/count-own')) > before);
    }
  });

  it('hold the memory of the original', async () => {
    for (const { workspace } of forks.slice(0, 2)) {
      await workspace.write('/check', workspace.name);
      await until(async () => (await workspace.sh('cat /checked')) !== '', 120_000);
      assert.equal(await workspace.sh('cat /checked'), `same ${workspace.name}`);
    }
  });

  it('can be snapshotted and put back, with the address that they have from the original', async () => {
    const [first] = forks;
    assert.ok(first);
    const { name } = await first.workspace.snapshot();
    await first.workspace.restore(name);
    const before = Number(await first.workspace.sh('cat /srv/count-own'));
    await until(async () => Number(await first.workspace.sh('cat /srv/count-own')) > before);
    const [grand] = await first.workspace.call('containers/copy', { name: 'grandchild', snapshot: name });
    assert.ok(grand?.workspace);
    const sources = await host.run([
      ...['nsenter', `--net=/proc/${await pidOf('grandchild')}/ns/net`],
      ...['nft', 'list', 'table', 'inet', 'forkpoint_foreign'],
    ]);
    for (const address of [original.address, first.workspace.address])
      assert.ok(sources.includes(address), sources);
  });

  async function pidOf(name: string): Promise<string> {
    return (await host.run(['podman', 'inspect', '--format', '{{.State.Pid}}', `forkpoint-${name}`])).trim();
  }

  /** Bytes of the pool that are in use. */
  async function usedBytes(): Promise<number> {
    const text = await host.run(['btrfs', 'filesystem', 'usage', '--raw', '/var/lib/forkpoint']);
    return Number(/^\s*Used:\s*(\d+)$/m.exec(text)?.[1]);
  }
});

/** Sends back what it gets. */
const server = `
# outside server of forks
import socket, threading
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('0.0.0.0', 6001)); s.listen(64)
def serve(c):
    while True:
        data = c.recv(4096)
        if not data: return
        c.sendall(data)
while True:
    c, _ = s.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
`;

/** Keeps a busy connection to the outside, to the neighbour and to its own address, and an idle one to the outside. */
function client(own: string, neighbour: string): string {
  return `
import os, socket, threading, time
def ended(name, problem):
    with open('/srv/ended-' + name, 'w') as file: file.write(repr(problem))
def put(name, text):
    with open('/srv/' + name + '.new', 'w') as file: file.write(text)
    os.rename('/srv/' + name + '.new', '/srv/' + name)
def echo(c):
    while True:
        data = c.recv(4096)
        if not data: return
        c.sendall(data)
s = socket.socket(); s.bind(('${own}', 7001)); s.listen(64)
def serve():
    while True:
        c, _ = s.accept()
        threading.Thread(target=echo, args=(c,), daemon=True).start()
def busy(name, address):
    try:
        c = socket.create_connection(address, 5); c.settimeout(60)
        count = 0
        while True:
            count += 1
            c.sendall(b'%08d' % count)
            got = c.recv(8, socket.MSG_WAITALL)
            assert got == b'%08d' % count, got
            put('count-' + name, str(count))
            time.sleep(0.01)
    except BaseException as problem: ended(name, problem)
def idle():
    c = socket.create_connection(('10.209.0.1', 6001), 5); c.settimeout(0.2)
    try:
        while True:
            if os.path.exists('/srv/ask-idle'):
                c.sendall(b'alive'); put('idle', c.recv(5).decode()); os.unlink('/srv/ask-idle')
            try:
                if not c.recv(1): raise EOFError('closed')
            except TimeoutError: pass
    except BaseException as problem: ended('idle', problem)
threading.Thread(target=serve).start()
threading.Thread(target=idle).start()
for args in (('outside', ('10.209.0.1', 6001)), ('neighbour', ('${neighbour}', 6001)), ('own', ('${own}', 7001))):
    threading.Thread(target=busy, args=args).start()
`;
}

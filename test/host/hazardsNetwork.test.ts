import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestHost } from './machine/machine.ts';
import { quote, sharedHost, TestWorkspace, until } from './workspace.ts';

/** For how long streams are snapshotted and restored; with FORKPOINT_LONG=1 for as many rounds as are given. */
const STREAM_MS = 30_000;
const LONG_ROUNDS = 200;
/** Found before the real one, and the file that makes it fail. */
const wrappedSs = '/usr/local/sbin/ss';
const failOnce = '/run/ss-fails-once';

describe('hazards of connections', function () {
  this.timeout(90_000);
  let host: TestHost;
  let workspace: TestWorkspace;

  before(async () => {
    host = await sharedHost();
    workspace = await TestWorkspace.create(host, 'connections');
    await workspace.snapshot({ alias: 'clean' });
  });

  afterEach(async () => {
    await workspace.restore('clean', { safety: 'none' });
  });

  after(async () => {
    await workspace.call('containers/delete', { withSnapshots: true });
  });

  async function onHost(program: string): Promise<void> {
    await host.run(['sh', '-c', `setsid -f python3 -c ${quote(program)} </dev/null >/dev/null 2>&1`]);
  }

  it('H22 a restore closes every connection to the outside at once, and none inside', async () => {
    await requireClosed();
    await host.run(['test', '-e', `/var/lib/forkpoint/workspaces/${workspace.id}/work/connections.closed`]);
  });

  it('H22 also where that can not be done before the processes run', async () => {
    // For one call, which is the action script's.
    await host.run(['sh', '-c', `cat > ${wrappedSs}; chmod 755 ${wrappedSs}`], {
      input: `#!/bin/sh\n[ ! -e ${failOnce} ] || { rm ${failOnce}; exit 1; }\nexec /usr/bin/ss "$@"\n`,
    });
    try {
      await requireClosed(() => host.run(['touch', failOnce]));
      assert.equal((await host.exec(['test', '-e', failOnce])).exitCode, 1, 'ss did not fail');
    } finally {
      await host.run(['rm', '-f', wrappedSs, failOnce]);
    }
  });

  async function requireClosed(prepare: () => Promise<unknown> = () => Promise.resolve()): Promise<void> {
    await onHost(outsideServer);
    // What is sent there is dropped: the connection stays half made.
    await host.run([
      'nft',
      'add table inet hole; add chain inet hole in { type filter hook input priority 0; }; add rule inet hole in tcp dport 5999 drop',
    ]);
    try {
      await workspace.write('/root/connections.py', connections(workspace.address));
      await workspace.background('exec python3 /root/connections.py 2> /root/connections.err');
      await until(async () => (await workspace.try('test -e /srv/ready')).exitCode === 0);
      const states = await host.run([
        'nsenter',
        `--net=/proc/${await workspace.pid()}/ns/net`,
        'ss',
        '-Htan',
      ]);
      for (const state of ['ESTAB', 'CLOSE-WAIT', 'SYN-SENT'])
        assert.match(states, new RegExp(`^${state} .*10\\.209\\.0\\.1:`, 'm'));

      const snapshot = await workspace.snapshot();
      await sleep(300);
      assert.equal(
        await workspace.sh('cat /srv/ended-*  2>/dev/null || true'),
        '',
        'a snapshot alone closes nothing',
      );
      assert.deepEqual(snapshot.capture.outsideConnections.length, 3);
      await prepare();
      await workspace.restore(snapshot.name);

      await until(async () => (await workspace.sh('ls /srv')).match(/ended-/g)?.length === 3, 3_000);
      const left = await host.run([
        'nsenter',
        `--net=/proc/${await workspace.pid()}/ns/net`,
        'ss',
        '-Htan',
        'dst',
        '10.209.0.1',
      ]);
      assert.equal(left, '');
      for (const name of ['v4', 'v6', 'mapped', 'own']) {
        const count = async (): Promise<number> => Number(await workspace.sh(`cat /srv/count-${name}`));
        const before = await count();
        await until(async () => (await count()) > before, 5_000);
      }
      const rules = await host.run([
        'nsenter',
        `--net=/proc/${await workspace.pid()}/ns/net`,
        'nft',
        'list',
        'ruleset',
      ]);
      assert.doesNotMatch(rules, /forkpoint|CRIU/i);
    } finally {
      await host.run(['nft', 'delete table inet hole']);
      await host.run(['pkill', '-f', 'outside server of H22']);
    }
  }

  it('H23 sixteen saturated streams over loopback lose no byte, round after round', async function () {
    const isLong = process.env['FORKPOINT_LONG'] === '1';
    this.timeout(isLong ? 3_600_000 : 150_000);
    await workspace.python('/root/streams.py', streams);
    await until(async () => (await workspace.sh('cat /srv/progress')) !== '');
    const endsAt = performance.now() + STREAM_MS;
    let rounds = 0;
    while (isLong ? rounds < LONG_ROUNDS : performance.now() < endsAt) {
      const snapshot = await workspace.snapshot();
      await workspace.restore(snapshot.name, { safety: 'none' });
      await workspace.call('snapshots/delete', { name: snapshot.name });
      const before = Number(await workspace.sh('cat /srv/progress'));
      await until(async () => Number(await workspace.sh('cat /srv/progress')) > before);
      assert.equal(
        await workspace.sh('cat /srv/broken 2>/dev/null || true'),
        '',
        `broken in round ${rounds + 1}`,
      );
      rounds++;
    }
    assert.ok(rounds > 0);
  });

  it('H24 half-open connections in a listen queue do not fail the dump', async () => {
    await workspace.python('/root/listener.py', queueListener);
    await until(async () => (await workspace.try('test -e /srv/listening')).exitCode === 0);
    // From an address that answers nothing, so that the third step of the handshake never comes.
    await host.run(['python3', '-c', halfOpen(workspace.address)]);
    const inside = await host.run([
      'nsenter',
      `--net=/proc/${await workspace.pid()}/ns/net`,
      'ss',
      '-Htn',
      'state',
      'syn-recv',
    ]);
    assert.notEqual(inside.trim(), '', 'no connection is half open');
    const snapshot = await workspace.snapshot();
    await workspace.restore(snapshot.name);
    assert.match(
      await host.run([
        'python3',
        '-c',
        `import socket;print(socket.create_connection(('${workspace.address}',7000),5).recv(9))`,
      ]),
      /hello/,
    );
  });
});

/** On the host: keeps connections to 5001, half-closes those to 5002, so that the other side is in CLOSE-WAIT. */
const outsideServer = `
# outside server of H22
import socket, threading, time
def serve(port, handle):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('0.0.0.0', port)); s.listen(9)
    kept = []
    while True:
        c, _ = s.accept(); kept.append(c); handle(c)
threading.Thread(target=serve, args=(5001, lambda c: None)).start()
serve(5002, lambda c: c.shutdown(socket.SHUT_WR))
`;

/** Inside: three connections to the outside and four inside, each in a thread of its own. */
function connections(own: string): string {
  return `
import socket, threading, time
OUTSIDE, OWN = '10.209.0.1', '${own}'
def ended(name, problem):
    with open('/srv/ended-' + name, 'w') as f: f.write(str(problem))
def established():
    c = socket.create_connection((OUTSIDE, 5001))
    try: ended('established', repr(c.recv(1)))
    except OSError as e: ended('established', e)
def closeWait():
    c = socket.create_connection((OUTSIDE, 5002)); c.recv(1)
    while True:
        try:
            if c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR): raise OSError('reset')
            if c.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 7: raise OSError('closed')
        except OSError as e: return ended('close-wait', e)
        time.sleep(0.02)
def synSent():
    try: socket.create_connection((OUTSIDE, 5999))
    except OSError as e: ended('syn-sent', e)
def pair(name, family, bind, connect):
    s = socket.socket(family); s.bind((bind, 0)); s.listen()
    c = socket.socket(family); c.connect((connect, s.getsockname()[1])); p, _ = s.accept()
    count = 0
    while True:
        count += 1
        c.sendall(b'%08d' % count); assert p.recv(8, socket.MSG_WAITALL) == b'%08d' % count
        with open('/srv/count-' + name, 'r+' if count > 1 else 'w') as f: f.write(str(count))
        time.sleep(0.01)
for target in (established, closeWait, synSent): threading.Thread(target=target).start()
for args in (('v4', socket.AF_INET, '127.0.0.1', '127.0.0.1'), ('v6', socket.AF_INET6, '::1', '::1'),
             ('mapped', socket.AF_INET6, '::', '::ffff:127.0.0.1'), ('own', socket.AF_INET, OWN, OWN)):
    threading.Thread(target=pair, args=args).start()
time.sleep(0.7)
open('/srv/ready', 'w').close()
`;
}

/** Sixteen processes stream numbered, checksummed blocks to sixteen others as fast as they can. */
const streams = `
import os, socket, struct, time, zlib
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(32)
for stream in range(16):
    if os.fork() == 0:
        c = socket.create_connection(s.getsockname()); block = os.urandom(65536); number = 0
        while True:
            number += 1
            head = struct.pack('QI', number, zlib.crc32(block, number & 0xffffffff))
            c.sendall(head + block)
    p, _ = s.accept()
    if os.fork() == 0:
        expected = 0
        def take(n):
            parts = b''
            while len(parts) < n:
                part = p.recv(n - len(parts))
                if not part: raise EOFError('closed')
                parts += part
            return parts
        try:
            while True:
                expected += 1
                number, crc = struct.unpack('QI', take(12)[:12]); block = take(65536)
                assert number == expected, (number, expected)
                assert crc == zlib.crc32(block, number & 0xffffffff), 'checksum'
                if stream == 0:
                    with open('/srv/progress.new', 'w') as f: f.write(str(number))
                    os.rename('/srv/progress.new', '/srv/progress')
        except BaseException as problem:
            with open('/srv/broken', 'a') as f: f.write('%d: %r\\n' % (stream, problem))
        time.sleep(1000)
    p.close()
time.sleep(10000)
`;

const queueListener = `
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('0.0.0.0', 7000)); s.listen(16)
open('/srv/listening', 'w').close()
while True:
    c, _ = s.accept(); c.sendall(b'hello'); c.close()
`;

/** On the host: sends the first step of a few handshakes from an address of the network that nobody has. */
function halfOpen(target: string): string {
  return `
import socket, struct
source, target = '10.209.0.250', '${target}'
def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for port in range(40001, 40005):
    tcp = struct.pack('!HHIIBBHHH', port, 7000, 1000, 0, 5 << 4, 2, 64240, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack('!BBH', 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack('!H', checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 40, 0, 0, 64, 6, 0, socket.inet_aton(source), socket.inet_aton(target))
    raw.sendto(ip + tcp, (target, 0))
`;
}

import assert from 'node:assert/strict';
import type { TestHost } from './machine/machine.ts';
import { daemonPid, endOfLog, SmallWorkspace, whenLogged } from './small/smallWorkspace.ts';
import { ask, sharedHost, until } from './workspace.ts';

const seen = '/run/seen-by-haste';
const gracePeriods = '/sys/kernel/rcu_expedited';

describe('what makes a restore quick', function () {
  this.timeout(120_000);
  let host: TestHost;
  let small: SmallWorkspace;

  before(async () => {
    host = await sharedHost();
    small = await SmallWorkspace.create(host, 'hasty');
    await ask(host, 'snapshots/create', { container: 'hasty', alias: 'target', mode: 'stateful' });
  });
  after(() => ask(host, 'containers/delete', { container: 'hasty', withSnapshots: true }));

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await endOfLog(host));
  });

  const restore = (): Promise<unknown> =>
    ask(host, 'snapshots/restore', { container: 'hasty', name: 'target', safety: 'none' });

  /** What there is in the middle of a restore, when the old processes are gone. */
  async function lookMeanwhile(): Promise<string> {
    await whenLogged(
      host,
      'snapshots/restore: swap\n',
      `{ cat ${gracePeriods}; cd /sys/class/net/forkpoint-hold0/master && cat carrier && ls brif && ip -oneline address show dev forkpoint-hold1; } > ${seen}`,
      restore,
    );
    return host.run(['cat', seen]);
  }

  /** Another test host on the same kernel may have them short, for a moment. */
  const untilLong = (): Promise<void> =>
    until(async () => (await host.run(['cat', gracePeriods])) === '0\n', 10_000);

  it('holds the network, so that the engine need not make it anew, and shortens grace periods, both meanwhile only', async () => {
    const bridge = async (): Promise<string> =>
      host.run(['sh', '-c', "ip -oneline address | sed -n 's/^\\([0-9]*\\): .* 10.209.0.1\\/16 .*/\\1/p'"]);
    const before = await bridge();
    assert.match(before, /^\d+\n$/);
    const meanwhile = await lookMeanwhile();
    assert.equal(meanwhile, '1\n1\nforkpoint-hold0\n', 'short, with a carrier, by one port, no address');
    await small.requireSound('running');
    assert.equal(await bridge(), before, 'the bridge was made anew');
    await untilLong();
  });

  it('leaves grace periods alone where somebody wants them short for good', async () => {
    await host.run(['tee', gracePeriods], { input: '1' });
    try {
      await restore();
      await small.requireSound('running');
      assert.equal(await host.run(['cat', gracePeriods]), '1\n');
    } finally {
      await host.run(['tee', gracePeriods], { input: '0' });
    }
  });

  it("is not lost to neighbours who still know the last who had a fork's address: no other gets it next", async () => {
    const addresses: (string | undefined)[] = [];
    for (let count = 0; count < 2; count++) {
      const [fork] = await ask(host, 'containers/copy', {
        container: 'hasty',
        name: 'next',
        snapshot: 'target',
      });
      addresses.push(fork?.workspace?.address);
      await ask(host, 'containers/delete', { container: 'next', withSnapshots: true });
    }
    assert.equal(new Set(addresses).size, 2, addresses.join());
  });

  it('is undone by the next daemon when one is killed', async () => {
    const kill = `kill -9 ${String(await daemonPid(host))}`;
    const command = [
      'forkpoint',
      'snapshots',
      'restore',
      '-c',
      'hasty',
      '--name',
      'target',
      '--safety',
      'none',
    ];
    const ended = await whenLogged(host, 'snapshots/restore: settle\n', kill, () => host.exec(command));
    assert.notEqual(ended.exitCode, 0, ended.stdout);
    await host.run(['forkpoint', 'containers', 'list']);
    await small.requireSound('running');
    await untilLong();
  });
});

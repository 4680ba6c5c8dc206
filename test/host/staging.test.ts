import assert from 'node:assert/strict';
import type { TestHost } from './machine/machine.ts';
import { logLength, logSince, SmallWorkspace, whenLogged } from './small/smallWorkspace.ts';
import { ask, sharedHost } from './workspace.ts';

const staging = '/run/forkpoint/staging';

describe('images that are written into memory first', function () {
  this.timeout(180_000);
  let host: TestHost;
  let small: SmallWorkspace;

  before(async () => {
    host = await sharedHost();
    small = await SmallWorkspace.create(host, 'staged');
    await small.requireSound('running');
  });
  after(() => ask(host, 'containers/delete', { container: 'staged', withSnapshots: true }));

  const list = (command: string): Promise<string> => host.run(['sh', '-c', command]);

  async function take(alias: string): Promise<{ steps: string[]; log: string; images: string }> {
    const before = await logLength(host);
    const { snapshot, timing } = await ask(host, 'snapshots/create', {
      container: 'staged',
      alias,
      mode: 'stateful',
    });
    return {
      steps: timing.map(({ step }) => step),
      log: await logSince(host, before),
      images: `/var/lib/forkpoint/snapshots/${small.id}/${snapshot.name}/memory`,
    };
  }

  /** The workspace is what it was: it checks its memory, files and connections against each other by itself. */
  async function requireRestorable(alias: string): Promise<void> {
    await ask(host, 'snapshots/restore', { container: 'staged', name: alias });
    await small.requireSound('running');
  }

  it('are in the pool when the snapshot is there, for root alone, and nowhere else', async () => {
    const { steps, images } = await take('moved');
    assert.ok(steps.indexOf('move') > steps.indexOf('dump'), steps.join());
    assert.ok(steps.indexOf('sync') > steps.indexOf('move'), steps.join());
    assert.equal(await list(`stat -f -c %T ${staging}; stat -c '%a %U' ${staging}`), 'tmpfs\n700 root\n');
    assert.equal(await list(`ls -A ${staging}`), '');
    assert.match(await list(`ls ${images}`), /^pages-1\.img$/m);
    assert.equal(await list(`find ${images} -type f -perm /077`), '');
    await requireRestorable('moved');
  });

  it('are written into the pool where the memory turns out to be too small, and hold the processes all the same', async () => {
    try {
      const { log, images } = await whenLogged(
        host,
        'snapshots/create: watch\n',
        `mount -o remount,size=1m ${staging}`,
        () => take('too-large'),
      );
      assert.match(log, /the memory of staged is dumped once more: .*No space left on device/s);
      assert.equal(await list(`ls -A ${staging}`), '');
      assert.match(await list(`ls ${images}`), /^pages-1\.img$/m);
      await requireRestorable('too-large');
    } finally {
      await host.run(['mount', '-o', 'remount,size=50%', staging]);
    }
  });

  it('go straight to the pool where they can not be written into memory, which the log says', async () => {
    await host.run(['umount', staging]);
    await host.run(['sh', '-c', `rmdir ${staging} && touch ${staging}`]);
    try {
      const { steps, log } = await take('direct');
      assert.equal(steps.includes('move'), false, steps.join());
      assert.match(log, /memory images go straight to the pool: EEXIST/);
      await requireRestorable('direct');
    } finally {
      await host.run(['rm', staging]);
    }
    assert.ok((await take('moved-again')).steps.includes('move'));
  });
});

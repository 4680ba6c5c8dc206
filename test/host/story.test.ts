import assert from 'node:assert/strict';
import type { Snapshot } from '../../src/protocol/snapshot.ts';
import type { Result } from '../../src/protocol/operations.ts';
import { HeavyLoad, type Counts } from './heavyWorkspace.ts';
import type { TestHost } from './machine/machine.ts';
import { workspaceTarInHost } from './machine/recipe.ts';
import { sharedHost, TestWorkspace, until } from './workspace.ts';

describe('the story: snapshot a busy workspace, wreck it, restore it', function () {
  this.timeout(60_000);
  let host: TestHost;
  let workspace: TestWorkspace;
  let load: HeavyLoad;
  let original: {
    files: Record<string, unknown>;
    processes: string[];
    counts: Counts;
    shell: string;
    psql: string;
  };
  let snapshot: Snapshot;
  let later: Snapshot;
  let restored: Result<'snapshots/restore'>;

  before(async function () {
    this.timeout(120_000);
    host = await sharedHost();
    workspace = await TestWorkspace.create(host, 'story', {
      rootfs: workspaceTarInHost,
      volume: [{ name: 'data', path: '/data' }],
      publish: [{ hostPort: 18080, containerPort: 8080 }],
    });
    load = new HeavyLoad(workspace);
    await load.start();
    original = {
      files: await load.describe('/srv/files', '/data/files', '/etc'),
      processes: await load.processes(),
      shell: await load.screen('shell'),
      psql: await load.screen('psql'),
      counts: await load.counts(),
    };
    snapshot = await workspace.snapshot({ alias: 'before-wreck' });
    later = await workspace.snapshot();
    await wreck();
    restored = await workspace.restore('before-wreck');
  });

  after(async () => {
    await workspace.call('containers/delete', { withSnapshots: true });
  });

  /** Drops the table, deletes files and changes others, ends processes, installs a package's files. */
  async function wreck(): Promise<void> {
    await workspace.sh('pkill -x psql; pkill -f "^node"; tmux kill-server');
    await load.sql('drop table customers');
    await workspace.sh(
      'rm -rf /srv/files /data/files /root/server.js; chmod 777 /etc/hosts; rm /etc/hostname',
    );
    await workspace.sh('mkdir -p /opt/package; for i in $(seq 300); do echo $i > /opt/package/$i; done');
    assert.equal(await load.sql("select to_regclass('customers')"), '');
  }

  describe('the snapshot', () => {
    it('holds the processes, and tells what it caught', () => {
      assert.equal(snapshot.stateful, true);
      assert.equal(snapshot.statelessReason, null);
      assert.equal(snapshot.durable, true);
      assert.ok(snapshot.freezeMs > 0 && snapshot.freezeMs < snapshot.totalMs);
      assert.ok(snapshot.memoryBytes > 2 ** 20);
      const names = snapshot.capture.kept.map(({ name }) => name);
      for (const name of ['init', 'postgres', 'psql', 'bash', 'node', 'python3', 'tmux: server']) {
        assert.ok(names.includes(name), `${name} is not in ${names.join(', ')}`);
      }
      assert.deepEqual(snapshot.capture.leftOut, []);
      assert.deepEqual(snapshot.capture.volumes, [{ name: 'data', path: '/data' }]);
      const listeners = snapshot.capture.listeners.map(({ protocol, address }) => `${protocol} ${address}`);
      assert.ok(listeners.includes('tcp [::]:8080'), listeners.join(', '));
      assert.ok(listeners.includes('unix /var/run/postgresql/.s.PGSQL.5432'), listeners.join(', '));
    });

    it('is the parent of the one after it', () => {
      assert.equal(snapshot.parent, null);
      assert.equal(later.parent, snapshot.name);
    });
  });

  describe('after the restore', () => {
    it('the workspace descends from the snapshot, and the safety snapshot from what it descended from', async () => {
      assert.equal(restored.restored, snapshot.name);
      assert.equal(restored.stateful, true);
      assert.ok(restored.downMs > 0 && restored.downMs < restored.totalMs);
      const { head, headAlias, generation, undo, state } = await workspace.show();
      assert.deepEqual(
        { head, headAlias, generation, state },
        { head: snapshot.name, headAlias: 'before-wreck', generation: 1, state: 'running' },
      );
      assert.equal(undo?.safety, restored.safety);
      const safety = await workspace.call('snapshots/show', { name: String(restored.safety) });
      assert.equal(safety.kind, 'safety');
      assert.equal(safety.stateful, true);
      assert.equal(safety.parent, later.name);
    });

    it('the node server counts on where it was, through the published port too', async () => {
      const counts = await load.counts();
      assert.equal(counts.secret, original.counts.secret);
      assert.equal(counts.requests, original.counts.requests + 1);
      assert.ok(counts.ticks >= original.counts.ticks);
      const outside = JSON.parse(await host.run(['curl', '-fsS', 'http://127.0.0.1:18080/'])) as Counts;
      assert.equal(outside.requests, original.counts.requests + 2);
      await until(async () => (await load.counts()).ticks > counts.ticks);
    });

    it('the same processes run', async () => {
      assert.deepEqual(await load.processes(), original.processes);
    });

    it('files have their content, modes, owners, times to the nanosecond, links, holes and attributes', async () => {
      assert.deepEqual(await load.describe('/srv/files', '/data/files', '/etc'), original.files);
    });

    it('what was installed since is gone', async () => {
      assert.equal((await workspace.try('test -e /opt/package')).exitCode, 1);
    });

    it('the counter goes on without a gap between memory and file', async () => {
      const { length } = await load.readCounter();
      await until(async () => (await load.readCounter()).length > length);
    });

    it('the table is back, without what was never committed', async () => {
      assert.equal(await load.sql('select count(*) from customers'), '1000');
    });

    it('the open psql session has its temporary table and commits its transaction', async () => {
      assert.equal(await load.screen('psql'), original.psql);
      await load.type('psql', 'select treasure from scratch;');
      await until(async () => (await load.screen('psql')).includes('4711'));
      await load.type('psql', 'commit;');
      await until(async () => (await load.sql('select count(*) from customers')) === '1001');
    });

    it('tmux shows the same lines, and its shell has its variable and its running job', async () => {
      assert.equal(await load.screen('shell'), original.shell);
      await load.type('shell', 'echo "found $treasure"; jobs');
      await until(async () => /found island[^]*Running/.test(await load.screen('shell')));
      const size = Number(await workspace.sh('stat -c %s /srv/job'));
      await until(async () => Number(await workspace.sh('stat -c %s /srv/job')) > size);
    });

    it('clocks and timers run: PostgreSQL takes new sessions and tells the time', async () => {
      assert.ok(
        Math.abs(Number(await load.sql('select extract(epoch from now())')) - Date.now() / 1000) < 60,
      );
    });
  });

  describe('undo', () => {
    it('brings the wreck back, processes included, and the head to where it was', async () => {
      const safety = String(restored.safety);
      const undone = await workspace.restore(safety);
      assert.equal(undone.stateful, true);
      assert.equal(undone.workspace.head, later.name);
      assert.equal(undone.workspace.generation, 2);
      assert.equal((await workspace.try('test -e /srv/files')).exitCode, 1);
      assert.equal((await workspace.sh('ls /opt/package')).trim().split('\n').length, 300);
      assert.equal(await load.sql("select to_regclass('customers')"), '');
      const names = (await load.processes()).join('\n');
      assert.doesNotMatch(names, /node|tmux|psql/);
      assert.match(names, /python3/);
      const { length } = await load.readCounter();
      await until(async () => (await load.readCounter()).length > length);
    });

    it('can itself be undone', async () => {
      const { undo } = await workspace.show();
      const redone = await workspace.restore(String(undo?.safety));
      assert.equal(redone.workspace.head, snapshot.name);
      assert.equal((await load.counts()).secret, original.counts.secret);
      assert.equal(await load.sql('select count(*) from customers'), '1001');
    });
  });
});

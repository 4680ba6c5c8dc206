import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { ForkpointError } from '../../../../src/protocol/errors.ts';
import { Fleet } from '../../../../src/extension/model/fleet.ts';
import { Host } from '../../../../src/extension/model/host.ts';
import type { HostChange, WorkspaceRestored } from '../../../../src/extension/model/host.ts';
import { nameOf, snapshot, workspace } from '../snapshots.ts';
import { ScriptedConnection } from './scriptedConnection.ts';

const pace = { burstMs: 5, leisureMs: 30, followingMs: 60 };
/** Longer than events are gathered, and than the answers take. */
const settled = () => sleep(120);

function count(connection: ScriptedConnection, name: string): number {
  return connection.requests.filter((request) => request === name).length;
}

describe('a host of the model', () => {
  const web = workspace('web', { generation: 3 });
  let connection: ScriptedConnection;
  let host: Host;
  let changes: HostChange[];
  let restores: WorkspaceRestored[];

  beforeEach(async () => {
    connection = new ScriptedConnection('build1');
    connection.workspaces = [web];
    connection.snapshots = [snapshot(1, 0, { isHead: true }), snapshot(0, null)];
    host = new Host(connection, pace);
    changes = [];
    restores = [];
    host.onDidChange((change) => changes.push(change));
    host.onDidRestore((restored) => restores.push(restored));
    await connection.connect();
    await settled();
  });
  afterEach(() => host.dispose());

  it('reads its workspaces when it is connected, and no snapshots before somebody asks', () => {
    assert.deepEqual(host.workspace(web.id), web);
    assert.deepEqual(connection.requests, ['host/info', 'containers/list']);
  });

  it('reads the snapshots of a workspace when a view asks, once', async () => {
    assert.equal(host.timeline(web.id).kind, 'loading');
    host.timeline(web.id);
    await settled();
    const timeline = host.timeline(web.id);
    assert.equal(timeline.kind === 'ready' ? timeline.value.current?.name : undefined, nameOf(1));
    assert.equal(count(connection, 'snapshots/list'), 1);
  });

  it('reads once for a burst of changes, and tells of a new snapshot when it is listed', async () => {
    host.setShown(true);
    await host.snapshots(web.id);
    connection.requests.length = 0;
    changes.length = 0;
    connection.snapshots = [snapshot(2, 1, { isHead: true }), ...connection.snapshots];
    for (let times = 0; times < 10; times++) connection.changes.fire({ workspace: web.id, created: null });
    connection.changes.fire({ workspace: web.id, created: nameOf(2) });
    await settled();
    assert.deepEqual([...connection.requests].sort(), ['containers/list', 'snapshots/list']);
    assert.deepEqual(
      changes.filter(({ created }) => created !== null),
      [{ workspace: web.id, created: nameOf(2) }],
    );
  });

  it('reads at leisure what follows right after a reading', async () => {
    host.setShown(true);
    await host.snapshots(web.id);
    connection.requests.length = 0;
    const lists = () => count(connection, 'snapshots/list');
    connection.changes.fire({ workspace: web.id, created: nameOf(1) });
    await sleep(15);
    connection.changes.fire({ workspace: web.id, created: null });
    await sleep(15);
    connection.changes.fire({ workspace: web.id, created: null });
    const read = lists();
    await settled();
    assert.ok(lists() <= read + 1, `${String(lists())} after ${String(read)}`);
  });

  it('tells of nothing when what it reads is what it knew', async () => {
    host.setShown(true);
    await host.snapshots(web.id);
    changes.length = 0;
    connection.changes.fire({ workspace: web.id, created: null });
    await settled();
    assert.equal(count(connection, 'snapshots/list'), 2);
    assert.deepEqual(changes, []);
  });

  it('reads no snapshots while no view shows them, and catches up when one does', async () => {
    host.setShown(true);
    await host.snapshots(web.id);
    host.setShown(false);
    connection.requests.length = 0;
    connection.changes.fire({ workspace: web.id, created: null });
    await settled();
    assert.equal(count(connection, 'snapshots/list'), 0);
    host.setShown(true);
    await settled();
    assert.equal(count(connection, 'snapshots/list'), 1);
  });

  it('does not miss a change that comes while it reads', async () => {
    host.setShown(true);
    await host.snapshots(web.id);
    let open: () => void = () => undefined;
    connection.gate = new Promise((resolve) => (open = resolve));
    connection.requests.length = 0;
    connection.changes.fire({ workspace: web.id, created: null });
    await settled();
    assert.equal(count(connection, 'snapshots/list'), 1);
    connection.changes.fire({ workspace: web.id, created: null });
    open();
    await settled();
    assert.equal(count(connection, 'snapshots/list'), 2);
  });

  it('keeps what was known while the connection is lost, and reads it again after', async () => {
    host.setShown(true);
    await host.snapshots(web.id);
    connection.become({
      kind: 'failed',
      problem: { code: 'connectionLost', args: { host: 'build1', problem: 'reset' }, detail: null },
      retryAt: null,
    });
    await settled();
    assert.equal(host.timeline(web.id).kind, 'ready');
    assert.notEqual(host.workspace(web.id), undefined);
    connection.requests.length = 0;
    await connection.connect();
    await settled();
    assert.deepEqual([...connection.requests].sort(), ['containers/list', 'host/info', 'snapshots/list']);
  });

  it('keeps why a list could not be read, and does not ask again by itself', async () => {
    connection.failure = new ForkpointError('command.failed', { command: 'btrfs', status: 1 });
    host.timeline(web.id);
    await settled();
    const timeline = host.timeline(web.id);
    assert.equal(timeline.kind === 'failed' ? timeline.error.code : undefined, 'command.failed');
    await settled();
    assert.equal(count(connection, 'snapshots/list'), 1);
    connection.failure = null;
    assert.equal((await host.snapshots(web.id)).length, 2);
  });

  it('knows a host without a pool', async () => {
    connection.hasPool = false;
    await host.refresh();
    assert.equal(host.needsPool, true);
    assert.deepEqual(host.workspaces, { kind: 'ready', value: [] });
  });

  it('H30: tells of a restore that the host tells, once', async () => {
    const restored = { workspace: web.id, generation: 4, restored: nameOf(0), safety: null };
    connection.restores.fire(restored);
    connection.restores.fire(restored);
    connection.workspaces = [{ ...web, generation: 4 }];
    await host.refresh();
    assert.deepEqual(
      restores.map(({ generation }) => generation),
      [4],
    );
  });

  it('H30: tells after a reconnect of a restore that happened meanwhile', async () => {
    connection.disconnect();
    connection.workspaces = [{ ...web, generation: 5 }];
    await connection.connect();
    await settled();
    assert.deepEqual(
      restores.map(({ workspace: id, generation }) => [id, generation]),
      [[web.id, 5]],
    );
  });

  it('H30: tells of no restore when it first hears of a workspace', () => assert.deepEqual(restores, []));
});

describe('the fleet', () => {
  it('keeps the hosts that stay, connected as they are, and ends the others', async () => {
    const made: ScriptedConnection[] = [];
    const fleet = new Fleet((id) => {
      const connection = new ScriptedConnection(id);
      made.push(connection);
      return connection;
    });
    let changes = 0;
    fleet.onDidChange(({ host }) => (changes += host === null ? 1 : 0));
    fleet.setHosts(['a', 'b']);
    await made[1]?.connect();
    fleet.setHosts(['b', 'c']);
    fleet.setHosts(['b', 'c']);
    assert.deepEqual(
      fleet.hosts.map(({ id, state }) => `${id} ${state.kind}`),
      ['b connected', 'c disconnected'],
    );
    assert.equal(made.length, 3);
    assert.equal(changes, 2);
    fleet.dispose();
  });
});

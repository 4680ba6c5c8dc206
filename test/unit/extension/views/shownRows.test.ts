import assert from 'node:assert/strict';
import { Fleet } from '../../../../src/extension/model/fleet.ts';
import { Nodes } from '../../../../src/extension/views/nodes.ts';
import type { Node } from '../../../../src/extension/views/nodes.ts';
import { ShownRows } from '../../../../src/extension/views/shownRows.ts';
import { ScriptedConnection } from '../model/scriptedConnection.ts';
import { nameOf, noForwards, snapshot, workspace } from '../snapshots.ts';

/** What of a row these tests change. */
function look(node: Node): string {
  if (node.kind === 'snapshot') return `${node.snapshot.alias ?? ''} ${String(node.isCurrent)}`;
  return node.kind === 'workspace' ? node.workspace.state : node.kind;
}

describe('the rows that the editor was given', () => {
  const web = workspace('web');
  const folded = new Set<string>();
  let connection: ScriptedConnection;
  let fleet: Fleet;
  let rows: ShownRows;

  beforeEach(async () => {
    connection = new ScriptedConnection('build1');
    connection.workspaces = [web];
    connection.snapshots = [snapshot(1, 0, { isHead: true }), snapshot(0, null)];
    fleet = new Fleet(() => connection);
    fleet.setHosts(['build1']);
    folded.clear();
    rows = new ShownRows(new Nodes(fleet, noForwards), look, (id) => folded.has(id));
    await connection.connect();
    await refresh();
  });
  afterEach(() => fleet.dispose());

  async function refresh(): Promise<void> {
    await fleet.host('build1')?.readyWorkspaces();
    await fleet.host('build1')?.refresh();
    await fleet.host('build1')?.snapshots(web.id);
  }

  /** Asks for all rows below one, as an editor in which all is unfolded. */
  function unfold(parent?: Node): Node[] {
    return rows.children(parent).flatMap((node) => [node, ...unfold(node)]);
  }

  function takeChanged(): (string | undefined)[] {
    return rows.takeChanged().map((node) => node?.id);
  }

  it('are not drawn again when nothing of them changed', async () => {
    unfold();
    await refresh();
    assert.deepEqual(takeChanged(), []);
  });

  it('are drawn again alone when they look different', async () => {
    unfold();
    connection.snapshots = [
      snapshot(1, 0, { isHead: true }),
      snapshot(0, null, { alias: 'before-migration' }),
    ];
    await refresh();
    assert.deepEqual(takeChanged(), [`host/build1/${web.id}/${nameOf(0)}`]);
    assert.deepEqual(takeChanged(), []);
  });

  it('are asked for again below the one row that lists others now', async () => {
    unfold();
    connection.snapshots = [snapshot(2, 1, { isHead: true }), snapshot(1, 0), snapshot(0, null)];
    await refresh();
    assert.deepEqual(takeChanged(), [`host/build1/${web.id}`]);
    unfold();
    assert.deepEqual(takeChanged(), []);
  });

  it('keep their objects, which hold the latest facts', async () => {
    const before = unfold().find(({ id }) => id.endsWith(nameOf(0)));
    connection.snapshots = [
      snapshot(1, 0, { isHead: true }),
      snapshot(0, null, { alias: 'before-migration' }),
    ];
    await refresh();
    rows.takeChanged();
    assert.equal(before?.kind === 'snapshot' ? before.snapshot.alias : undefined, 'before-migration');
    assert.equal(
      unfold().find(({ id }) => id === before?.id),
      before,
    );
  });

  it('are all asked for again when a host comes', () => {
    unfold();
    fleet.setHosts(['build1', 'build2']);
    assert.deepEqual(takeChanged(), [undefined]);
  });

  it('are left alone where they were never asked for', async () => {
    const [host] = rows.children(undefined);
    rows.children(host);
    connection.snapshots = [];
    await refresh();
    assert.deepEqual(takeChanged(), []);
  });

  it('are awaited from when the editor is told of a change until it has asked for them again', async () => {
    unfold();
    assert.equal(rows.isAwaited, false);
    connection.snapshots = [snapshot(2, 1, { isHead: true }), snapshot(1, 0), snapshot(0, null)];
    await refresh();
    takeChanged();
    assert.equal(rows.isAwaited, true);
    unfold();
    assert.equal(rows.isAwaited, false);
  });

  it('are not awaited below one that the user has folded', async () => {
    unfold();
    folded.add(`host/build1/${web.id}`);
    connection.snapshots = [snapshot(2, 1, { isHead: true }), snapshot(1, 0), snapshot(0, null)];
    await refresh();
    assert.notDeepEqual(takeChanged(), []);
    assert.equal(rows.isAwaited, false);
  });
});

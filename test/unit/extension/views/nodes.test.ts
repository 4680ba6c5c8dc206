import assert from 'node:assert/strict';
import type { SnapshotSummary } from '../../../../src/protocol/snapshot.ts';
import type { Workspace } from '../../../../src/protocol/workspace.ts';
import { Fleet } from '../../../../src/extension/model/fleet.ts';
import { Nodes } from '../../../../src/extension/views/nodes.ts';
import type { Node } from '../../../../src/extension/views/nodes.ts';
import { ScriptedConnection } from '../model/scriptedConnection.ts';
import { momentOf, nameOf, noForwards, snapshot, workspace } from '../snapshots.ts';

const web = workspace('web');

async function fleetWith(snapshots: SnapshotSummary[], isConnected = true) {
  const connection = new ScriptedConnection('build1');
  connection.workspaces = [web];
  connection.snapshots = snapshots;
  const fleet = new Fleet(() => connection);
  fleet.setHosts(['build1']);
  const [host] = fleet.hosts;
  assert.ok(host);
  if (isConnected) {
    await connection.connect();
    await host.readyWorkspaces();
    await host.snapshots(web.id);
  }
  return { fleet, connection, host, nodes: new Nodes(fleet, noForwards) };
}

/** All rows below a node, a line each, as deep as they are. */
function outline(nodes: Nodes, parents: readonly Node[] = nodes.roots(), indent = ''): string[] {
  return parents.flatMap((node) => [
    indent +
      (node.kind === 'message'
        ? node.message.kind
        : node.kind === 'snapshot'
          ? `${node.snapshot.name}${node.isCurrent ? '*' : ''}`
          : node.kind === 'older'
            ? `older ${String(node.count)}`
            : node.kind),
    ...outline(nodes, nodes.children(node), `${indent}  `),
  ]);
}

function allIds(nodes: Nodes, parents: readonly Node[] = nodes.roots()): string[] {
  return parents.flatMap((node) => [node.id, ...allIds(nodes, nodes.children(node))]);
}

describe('the rows of the Snapshots view', () => {
  it('are none without a host, so that the welcome shows', () => {
    assert.deepEqual(new Nodes(new Fleet(() => new ScriptedConnection('never')), noForwards).roots(), []);
  });

  it('begin, below a workspace, with the ports that are forwarded', async () => {
    const { fleet } = await fleetWith([snapshot(0, null)]);
    const forward = { host: 'build1', workspace: web.id, port: 3000, localPort: 3001 };
    const nodes = new Nodes(fleet, {
      of: (host, id) => (host === 'build1' && id === web.id ? [forward] : []),
    });
    assert.deepEqual(outline(nodes), ['host', '  workspace', '    forward', `    ${nameOf(0)}`]);
  });

  it('say what to do with a host that is not connected', async () => {
    const { nodes } = await fleetWith([], false);
    assert.deepEqual(outline(nodes), ['host', '  disconnected']);
  });

  it('say what to do with a host without a pool, and without workspaces', async () => {
    const { nodes, connection, host } = await fleetWith([]);
    connection.hasPool = false;
    await host.refresh();
    assert.deepEqual(outline(nodes), ['host', '  needsPool']);
    connection.hasPool = true;
    connection.workspaces = [];
    await host.refresh();
    assert.deepEqual(outline(nodes), ['host', '  noWorkspaces']);
  });

  it('say what to do with a workspace without snapshots', async () => {
    const { nodes } = await fleetWith([]);
    assert.deepEqual(outline(nodes), ['host', '  workspace', '    noSnapshots']);
  });

  it('keep what was known under a word about the lost connection', async () => {
    const { nodes, connection } = await fleetWith([snapshot(0, null, { isHead: true })]);
    const problem = {
      code: 'connectionLost' as const,
      args: { host: 'build1', problem: 'reset' },
      detail: null,
    };
    connection.become({ kind: 'failed', problem, retryAt: null });
    assert.deepEqual(outline(nodes), ['host', '  failed', '  workspace', `    ${nameOf(0)}*`]);
  });

  it('are the timeline, branches at their fork points and safety snapshots folded', async () => {
    const { nodes } = await fleetWith([
      snapshot(4, 1, { isHead: true }),
      snapshot(3, 2, { kind: 'safety' }),
      snapshot(2, 1),
      snapshot(1, 0),
      snapshot(0, null),
    ]);
    assert.deepEqual(outline(nodes), [
      'host',
      '  workspace',
      `    ${nameOf(4)}*`,
      '    branch',
      `      ${nameOf(2)}`,
      `    ${nameOf(1)}`,
      `    ${nameOf(0)}`,
      '    safety',
      `      ${nameOf(3)}`,
    ]);
  });

  it('are 50 of a workspace, and 50 more with each "Show older"', async () => {
    const all = Array.from({ length: 120 }, (_, number) =>
      snapshot(number, number === 0 ? null : number - 1, { isHead: number === 119 }),
    );
    const { nodes, host } = await fleetWith(all);
    const shown = () => outline(nodes).filter((line) => line.includes('snap-')).length;
    assert.equal(shown(), 50);
    assert.equal(outline(nodes).at(-1), '    older 70');
    nodes.showOlder(host, web.id);
    assert.equal(shown(), 100);
    nodes.showOlder(host, web.id);
    assert.equal(shown(), 120);
    assert.doesNotMatch(outline(nodes).join('\n'), /older/);
  });

  it('always reach to the current snapshot', async () => {
    const forks = Array.from({ length: 80 }, (_, index) => snapshot(index + 1, 0));
    const { nodes } = await fleetWith([...forks, snapshot(0, null, { isHead: true })]);
    assert.ok(outline(nodes).includes(`    ${nameOf(0)}*`));
  });

  it('have ids that differ, and stay the same when rows are made again', async () => {
    const { nodes } = await fleetWith([
      snapshot(4, 1, { isHead: true }),
      snapshot(3, 2, { kind: 'safety' }),
      snapshot(2, 1),
      snapshot(1, 0),
      snapshot(0, null),
    ]);
    const ids = allIds(nodes);
    assert.equal(new Set(ids).size, ids.length);
    assert.deepEqual(allIds(nodes), ids);
  });

  it('lead from a found snapshot up to its host, so that it can be revealed', async () => {
    const { nodes, host } = await fleetWith([
      snapshot(2, 0, { isHead: true }),
      snapshot(1, 0),
      snapshot(0, null),
    ]);
    const kinds: string[] = [];
    for (let node: Node | null | undefined = nodes.find(host, web.id, nameOf(1)); node; node = node.parent)
      kinds.push(node.kind);
    assert.deepEqual(kinds, ['snapshot', 'branch', 'workspace', 'host']);
  });

  /** A fork of `web` that began as the snapshot with that number. */
  function forkOf(name: string, number: number, more: Partial<Workspace> = {}): Workspace {
    return workspace(name, {
      origin: {
        workspace: web.id,
        name: 'web',
        snapshot: nameOf(number),
        forkIndex: 1,
        at: momentOf(number),
      },
      ...more,
    });
  }

  /** Names of projects, workspaces and snapshots, as deep as they are. */
  function names(nodes: Nodes, parents: readonly Node[] = nodes.roots(), indent = ''): string[] {
    return parents.flatMap((node) => [
      indent +
        (node.kind === 'workspace'
          ? node.workspace.name
          : node.kind === 'project'
            ? `(${node.project})`
            : node.kind === 'snapshot'
              ? node.snapshot.name
              : node.kind),
      ...(node.kind === 'workspace' && node.workspace.name !== 'web'
        ? []
        : names(nodes, nodes.children(node), `${indent}  `)),
    ]);
  }

  it('are forks below the snapshot that they began as, or below their origin when it is gone', async () => {
    const { nodes, connection, host } = await fleetWith([
      snapshot(1, 0, { isHead: true }),
      snapshot(0, null),
    ]);
    connection.workspaces = [web, forkOf('try-2', 0), forkOf('try-1', 0), forkOf('left', 7)];
    await host.refresh();
    assert.deepEqual(names(nodes), [
      'host',
      '  web',
      '    left',
      `    ${nameOf(1)}`,
      `    ${nameOf(0)}`,
      '      try-1',
      '      try-2',
    ]);
    const found = nodes.findWorkspace(host, forkOf('try-1', 0).id);
    assert.equal(found?.parent.kind, 'snapshot');
  });

  it('are projects with their workspaces, before those without; a fork with a project of its own stands there', async () => {
    const { nodes, connection, host } = await fleetWith([snapshot(0, null, { isHead: true })]);
    connection.workspaces = [
      web,
      workspace('api', { project: 'team' }),
      forkOf('try', 0, { project: 'team' }),
      forkOf('near', 0),
    ];
    await host.refresh();
    assert.deepEqual(names(nodes), [
      'host',
      '  (team)',
      '    api',
      '    try',
      '  web',
      `    ${nameOf(0)}`,
      '      near',
    ]);
  });

  it('are all listed where the origins of forks run in a circle', async () => {
    const { nodes, connection, host } = await fleetWith([]);
    const [one, two] = [workspace('one'), workspace('two')];
    const origin = (of: Workspace) => ({
      origin: { workspace: of.id, name: of.name, snapshot: nameOf(0), forkIndex: 1, at: momentOf(0) },
    });
    connection.workspaces = [
      { ...one, ...origin(two) },
      { ...two, ...origin(one) },
    ];
    await host.refresh();
    assert.deepEqual(names(nodes), ['host', '  one', '  two']);
  });
});

import assert from 'node:assert/strict';
import { explain, statesDuring, type Recorded } from '../../host/load/history.ts';
import { requireTrueLook, witnessOf, type LookName } from '../../host/load/looks.ts';
import {
  absent,
  next,
  type Change,
  type ChangeName,
  type Ended,
  type WorkspaceState,
} from '../../host/load/model.ts';
import { SnapshotNameSchema } from '../../../src/protocol/names.ts';
import type { Snapshot } from '../../../src/protocol/snapshot.ts';
import type { Workspace } from '../../../src/protocol/workspace.ts';
import { momentOf, nameOf, workspace } from '../extension/snapshots.ts';

const made: Change = { operation: 'made' };

function named(second: number): string {
  return `snap-20260304-1430${String(second).padStart(2, '0')}`;
}

/** A snapshot as the daemon shows one that was just taken of a workspace that runs. */
function shown(name: string, changed: Partial<Snapshot> = {}): Snapshot {
  return {
    ...{ name: SnapshotNameSchema.parse(name), alias: null, note: null, parent: null, isHead: true },
    ...{ createdAt: '2026-03-04T14:30:00.000Z', expiresAt: null, protected: false, stateful: true },
    ...{
      statelessReason: null,
      kind: 'manual',
      freezeMs: 1,
      totalMs: 1,
      memoryBytes: 1,
      exclusiveBytes: null,
    },
    ...{ changedFiles: null, durable: true },
    capture: {
      ...{ kept: [], leftOut: [], listeners: [], outsideConnections: [] },
      ...{ volumes: [], nestedSubvolumes: [], otherMounts: [] },
    },
    ...changed,
  };
}

function creation(name: string, changed: Partial<Snapshot> = {}): Ended<ChangeName> {
  const alias = changed.alias ?? undefined;
  return {
    operation: 'snapshots/create',
    params: { container: 'web', ...(alias === undefined ? {} : { alias }) },
    outcome: { kind: 'done', result: { snapshot: shown(name, changed), timing: [] } },
    isCancelled: false,
  };
}

function deletion(name: string): Ended<ChangeName> {
  return {
    operation: 'snapshots/delete',
    params: { container: 'web', name },
    outcome: { kind: 'done', result: { name: SnapshotNameSchema.parse(name), alias: null, timing: [] } },
    isCancelled: false,
  };
}

function refused(code: 'alias.taken' | 'snapshot.notFound', change: Ended<ChangeName>): Ended<ChangeName> {
  return { ...change, outcome: { kind: 'failed', code } };
}

function at<T>(began: number, ended: number, what: T): Recorded<T> {
  return { what, who: 'client', began, ended };
}

function list(...names: readonly string[]): Ended<LookName> {
  const result = names.map((name) => ({ ...shown(name), changedFiles: null, forks: [] }));
  return {
    operation: 'snapshots/list',
    params: { container: 'web' },
    outcome: { kind: 'done', result },
    isCancelled: false,
  };
}

describe('the model of the load test', () => {
  it('explains operations that overlapped by the order in which they can have happened', () => {
    const { states } = explain(absent, [
      at(1, 2, made),
      // Begun first, and yet it must have been second: the other's snapshot is its parent.
      at(3, 8, creation(named(2), { parent: SnapshotNameSchema.parse(named(1)) })),
      at(4, 9, creation(named(1))),
      at(5, 10, deletion(named(2))),
    ]);
    const last = states.at(-1);
    assert.deepEqual([...(last?.snapshots.keys() ?? [])], [named(1)]);
    assert.equal(last?.head, named(1));
  });

  it('notices an answer that no order explains', () => {
    const alias = 'before';
    const parent = SnapshotNameSchema.parse(named(1));
    const history = (second: Ended<ChangeName>): Recorded<Change>[] => [
      at(1, 2, made),
      at(3, 8, creation(named(1), { alias })),
      at(4, 9, second),
    ];
    explain(absent, history(refused('alias.taken', creation(named(2), { alias }))));
    assert.throws(() => explain(absent, history(creation(named(2), { alias, parent }))), /alias\.taken/);
  });

  it('notices that something was forgotten, or came back, in time', () => {
    const history = (began: number): Recorded<Change>[] => [
      at(1, 2, made),
      at(3, 4, creation(named(1))),
      at(began, began + 2, refused('snapshot.notFound', deletion(named(1)))),
    ];
    // It may have been asked for before there was one, not after.
    explain(
      absent,
      history(3).map((change) => ({ ...change, ended: change.ended + 1 })),
    );
    assert.throws(() => explain(absent, history(5)), /should do what it is asked/);
  });

  it('notices a wrong parent, head, or way back', () => {
    const state = explain(absent, [at(1, 2, made), at(3, 4, creation(named(1)))]).states.at(-1) ?? absent;
    assert.equal(typeof next(state, creation(named(2))), 'string');
    assert.equal(
      typeof next(state, creation(named(1), { parent: SnapshotNameSchema.parse(named(1)) })),
      'string',
    );
    const after = next(state, creation(named(2), { parent: SnapshotNameSchema.parse(named(1)) }));
    assert.notEqual(typeof after, 'string');
    const lost = next(after as WorkspaceState, deletion(named(1)));
    assert.equal((lost as WorkspaceState).snapshots.get(named(2))?.parent, null);
  });

  it('lets who looks meanwhile see what was before and after, and nothing else', () => {
    const order = explain(absent, [
      at(1, 2, made),
      at(3, 4, creation(named(1))),
      at(6, 10, deletion(named(1))),
    ]);
    const orders = new Map([['web', order]]);
    const look = (began: number, ended: number, what: Ended<LookName>): void =>
      requireTrueLook(at(began, ended, what), orders, (reference) => reference);
    assert.equal(statesDuring(order, { began: 4.5, ended: 5 }).length, 1);
    look(4.5, 5, list(named(1)));
    look(7, 8, list(named(1)));
    look(7, 8, list());
    look(11, 12, list());
    assert.throws(() => look(4.5, 5, list()), /is missing/);
    assert.throws(() => look(11, 12, list(named(1))), /there is no/);
    assert.throws(() => look(4.5, 5, list(named(1), named(1))), /twice/);
  });

  it('takes the order that was seen, where the answers admit several', () => {
    const noted = (note: string): Ended<ChangeName> => ({
      operation: 'snapshots/note',
      params: { container: 'web', name: named(1), note },
      outcome: { kind: 'done', result: { ...shown(named(1)), note } },
      isCancelled: false,
    });
    const history = [
      at(1, 2, made),
      at(3, 4, creation(named(1))),
      // Answered late, as one is whose connection was cut.
      at(5, 12, noted('first')),
      at(6, 8, noted('last')),
    ];
    const seen = (note: string): Recorded<Ended<LookName>> => {
      const look = list(named(1));
      assert.ok(look.operation === 'snapshots/list' && look.outcome.kind === 'done');
      const result = look.outcome.result.map((one) => ({ ...one, note }));
      return at(13, 14, { ...look, outcome: { kind: 'done', result } });
    };
    const noteAfter = (look: Recorded<Ended<LookName>>): string | null | undefined => {
      const witness = witnessOf(look, { id: 'ws-1', name: 'web' });
      assert.ok(witness !== null);
      const order = explain(absent, history, [witness]);
      requireTrueLook(look, new Map([['web', order]]), (reference) => reference);
      return order.states.at(-1)?.snapshots.get(named(1))?.note;
    };
    assert.equal(noteAfter(seen('first')), 'first');
    assert.equal(noteAfter(seen('last')), 'last');
    assert.throws(() => noteAfter(seen('neither')), /note of .* is "neither", and may be/);
    assert.equal(witnessOf(seen('last'), { id: 'ws-2', name: 'other' }), null);
  });

  it('lets a fork that came to nothing be seen while it was being made, if it said so', () => {
    const web = workspace('web');
    const origin = { workspace: web.id, name: web.name, snapshot: nameOf(1), forkIndex: 1, at: momentOf(1) };
    const fork = workspace('fork', { origin, operation: 'containers/copy' });
    const order = explain(absent, [
      at(1, 2, made),
      at(5, 8, {
        operation: 'containers/copy',
        params: { container: web.id, name: fork.name },
        outcome: { kind: 'failed', code: 'operation.cancelled' },
        isCancelled: true,
      }),
    ]);
    const look = (began: number, ended: number, ...seen: readonly Workspace[]): void =>
      requireTrueLook(
        at(began, ended, {
          operation: 'containers/list',
          params: {},
          outcome: { kind: 'done', result: [...seen] },
          isCancelled: false,
        }),
        new Map([[web.id, order]]),
        (reference) => reference,
      );
    look(6, 7, web, fork);
    assert.throws(() => look(3, 4, web, fork), /nobody made/);
    assert.throws(() => look(9, 10, web, fork), /nobody made/);
    assert.throws(() => look(6, 7, web, { ...fork, operation: null }), /nobody made/);
    const other = workspace('other', { origin, operation: 'containers/copy' });
    assert.throws(() => look(6, 7, web, other), /nobody made/);
    // And the snapshot that it was to begin as.
    const begun = { ...web, head: nameOf(1), snapshotCount: 1 };
    look(6, 7, begun);
    assert.throws(() => look(3, 4, begun), /its head can't be/);
    assert.throws(() => look(9, 10, begun), /its head can't be/);
    assert.throws(() => look(6, 7, { ...begun, snapshotCount: 2 }), /its snapshotCount can't be 2/);
  });
});

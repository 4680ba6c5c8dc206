import assert from 'node:assert/strict';
import type { OperationName, Result } from '../../../src/protocol/operations.ts';
import type { SnapshotSummary } from '../../../src/protocol/snapshot.ts';
import type { Workspace } from '../../../src/protocol/workspace.ts';
import { changesDuring, describe, statesDuring, type Order, type Recorded, type Witness } from './history.ts';
import { fieldsOf, find, shownFields, type Change, type Ended, type WorkspaceState } from './model.ts';

/** Operations that look at workspaces and change none. */
export type LookName = Extract<
  OperationName,
  'snapshots/list' | 'snapshots/show' | 'snapshots/preview' | 'containers/show' | 'containers/list'
>;

/** Names by which a workspace is asked for. */
interface Names {
  readonly id: string;
  readonly name: string;
}

/** What a look at a workspace, or at all of them, says of the order of its changes; null where it was at another one. */
export function witnessOf(look: Recorded<Ended<LookName>>, { id, name }: Names): Witness | null {
  const { what } = look;
  if (what.operation === 'containers/list')
    return { ...look, what: (order) => wrongInList(look, id, order) === null };
  const isAtIt = what.params.container === id || what.params.container === name;
  return isAtIt ? { ...look, what: (order) => wrongLookAt(look, order) === null } : null;
}

/** What was seen is what was there, though operations may have gone on meanwhile. */
export function requireTrueLook(
  look: Recorded<Ended<LookName>>,
  orders: ReadonlyMap<string, Order>,
  idOf: (reference: string) => string | undefined,
): void {
  const { what, who } = look;
  const problem =
    what.operation === 'containers/list' ? wrongList(look, orders) : wrongLook(look, orders, idOf);
  if (problem === null) return;
  const meanwhile = [...orders.values()].flatMap((order) => changesDuring(order, look).map(describe));
  assert.fail(
    [
      `${who}: ${what.operation}(${JSON.stringify(what.params)}): ${problem}`,
      'while there were under way:',
      ...meanwhile,
    ].join('\n  '),
  );
}

/** What a workspace can have been like while something looked at it. */
interface Possible {
  readonly states: readonly WorkspaceState[];
  /**
   * Calls that came to nothing, and had a snapshot of their own meanwhile, which was taken back: a fork of what is now, a
   * restore before it was decided. Their answers don't tell its name.
   */
  readonly passing: number;
}

function possibleDuring(order: Order, look: Recorded<unknown>): Possible {
  const hasPassed = ({ what }: Recorded<Change>): boolean =>
    what.operation !== 'made' &&
    what.outcome.kind === 'failed' &&
    ((what.operation === 'containers/copy' && what.params.snapshot === undefined) ||
      (what.operation === 'snapshots/restore' && what.params.safety !== 'none'));
  return {
    states: statesDuring(order, look),
    passing: changesDuring(order, look).filter(hasPassed).length,
  };
}

function wrongList(look: Recorded<Ended<LookName>>, orders: ReadonlyMap<string, Order>): string | null {
  const { what } = look;
  if (what.operation !== 'containers/list') return null;
  if (what.outcome.kind === 'failed') return `it failed with ${what.outcome.code}`;
  const stranger = what.outcome.result.find((one) => !orders.has(one.id) && !isBeingMade(one, look, orders));
  if (stranger !== undefined) return `nobody made ${JSON.stringify(stranger)}`;
  for (const [id, order] of orders) {
    const wrong = wrongInList(look, id, order);
    if (wrong !== null) return wrong;
  }
  return null;
}

/** What a list of all workspaces says of one. */
function wrongInList({ what, ...when }: Recorded<Ended<LookName>>, id: string, order: Order): string | null {
  if (what.operation !== 'containers/list' || what.outcome.kind === 'failed') return null;
  const possible = possibleDuring(order, { what, ...when });
  const { states } = possible;
  const workspace = what.outcome.result.find((one) => one.id === id);
  if (workspace === undefined) return states.every(({ exists }) => exists) ? `${id} is missing` : null;
  return states.some(({ exists }) => exists) ? wrongWorkspace(workspace, possible) : `${id} does not exist`;
}

/** Whether it says of itself that it is a fork under way, and is one that came to nothing later. */
function isBeingMade(
  { name, origin, head, operation }: Workspace,
  look: Recorded<unknown>,
  orders: ReadonlyMap<string, Order>,
): boolean {
  if (operation !== 'containers/copy' || head !== null) return false;
  const order = orders.get(origin?.workspace ?? '');
  if (order === undefined) return false;
  return changesDuring(order, look).some(
    ({ what }) =>
      what.operation === 'containers/copy' && what.params.name === name && what.outcome.kind === 'failed',
  );
}

function wrongLook(
  look: Recorded<Ended<LookName>>,
  orders: ReadonlyMap<string, Order>,
  idOf: (reference: string) => string | undefined,
): string | null {
  const { what } = look;
  if (what.operation === 'containers/list') return null;
  const order = orders.get(idOf(what.params.container) ?? '');
  return order === undefined ? 'the test does not know that workspace' : wrongLookAt(look, order);
}

function wrongLookAt(look: Recorded<Ended<LookName>>, order: Order): string | null {
  const { what } = look;
  if (what.operation === 'containers/list') return null;
  const possible = possibleDuring(order, look);
  const { states } = possible;
  if (what.outcome.kind === 'failed') {
    const { code } = what.outcome;
    if (code === 'workspace.notFound' && states.some(({ exists }) => !exists)) return null;
    const mayBeMissing =
      'name' in what.params && states.some((state) => !find(state, String(Reflect.get(what.params, 'name'))));
    return code === 'snapshot.notFound' && mayBeMissing ? null : `it failed with ${code}`;
  }
  if (!states.some(({ exists }) => exists)) return 'there is no such workspace';
  switch (what.operation) {
    case 'snapshots/list':
      return wrongSnapshots(what.outcome.result, possible);
    case 'containers/show':
      return wrongWorkspace(what.outcome.result, possible);
    case 'snapshots/show':
      return (
        wrongMeaning(what.params.name, what.outcome.result.name, states) ??
        wrongFields(shownFields(what.outcome.result), what.outcome.result.name, possible)
      );
    case 'snapshots/preview':
      return wrongMeaning(what.params.name, what.outcome.result.snapshot, states);
  }
}

function wrongMeaning(reference: string, name: string, states: readonly WorkspaceState[]): string | null {
  return states.some((state) => find(state, reference)?.name === name)
    ? null
    : `${reference} does not mean ${name}`;
}

function wrongSnapshots(shown: readonly SnapshotSummary[], possible: Possible): string | null {
  const { states, passing } = possible;
  const isKnown = ({ name }: SnapshotSummary): boolean => states.some(({ snapshots }) => snapshots.has(name));
  const strangers = shown.filter((one) => !isKnown(one));
  if (strangers.length > passing) return `there is no ${strangers.map(({ name }) => name).join(' and no ')}`;
  for (const [index, one] of shown.entries()) {
    const before = shown[index - 1];
    if (before !== undefined && before.createdAt < one.createdAt) return `${one.name} is out of order`;
    const wrong = isKnown(one) ? wrongFields(shownFields(one), one.name, possible) : null;
    if (wrong !== null) return wrong;
  }
  if (new Set(shown.map(({ name }) => name)).size < shown.length) return 'a snapshot is listed twice';
  const [first] = states;
  const missing = [...(first?.snapshots.keys() ?? [])].find(
    (name) => states.every(({ snapshots }) => snapshots.has(name)) && shown.every((one) => one.name !== name),
  );
  return missing === undefined ? null : `${missing} is missing`;
}

/** Each field by itself: what looks takes no turn, and an operation changes one file after another. */
function wrongFields(
  shown: Readonly<Record<string, unknown>>,
  name: string,
  { states, passing }: Possible,
): string | null {
  const possible = states.flatMap((state) => {
    const known = state.snapshots.get(name);
    return known === undefined ? [] : [fieldsOf(state, known)];
  });
  if (possible.length === 0) return `there is no ${name}`;
  for (const [field, value] of Object.entries(shown)) {
    const values = possible.map((one) => one[field]);
    // It is there before the head moves to it.
    if (field === 'isHead')
      values.push(...states.map(({ head }) => head === name), ...(passing > 0 ? [false] : []));
    if (!values.includes(value))
      return `${field} of ${name} is ${JSON.stringify(value)}, and may be ${JSON.stringify(values)}`;
  }
  return null;
}

function wrongWorkspace(shown: Workspace, { states, passing }: Possible): string | null {
  const present = states.filter(({ exists }) => exists);
  const { head: shownHead } = shown;
  const sizes = present.map(({ snapshots }) => snapshots.size);
  const isPossible = {
    head:
      present.some(({ head }) => head === shownHead) ||
      (passing > 0 && shownHead !== null && !present.some(({ snapshots }) => snapshots.has(shownHead))),
    generation: present.some(({ generation }) => generation === shown.generation),
    undo: present.some(({ undo }) => undo === (shown.undo?.safety ?? null)),
    snapshotCount:
      // One that was deleted while others were looked at.
      present.length < states.length ||
      (shown.snapshotCount >= Math.min(...sizes) && shown.snapshotCount <= Math.max(...sizes) + passing),
    // In the middle of an operation it may be stopped, frozen, or between two containers.
    state: states.length > 1 || shown.state === (present[0]?.isRunning === true ? 'running' : 'stopped'),
  };
  const wrong = Object.entries(isPossible).find(([, is]) => !is);
  return wrong === undefined
    ? null
    : `its ${wrong[0]} can't be ${JSON.stringify(Reflect.get(shown, wrong[0]))}`;
}

/** What the daemon says of a workspace at rest is what the model has, in every field and snapshot. */
export function requireSame(
  state: WorkspaceState,
  shown: Result<'containers/show'>,
  listed: Result<'snapshots/list'>,
): void {
  assert.deepEqual(
    {
      head: shown.head,
      generation: shown.generation,
      undo: shown.undo?.safety ?? null,
      state: shown.state,
      snapshotCount: shown.snapshotCount,
      operation: shown.operation,
      snapshots: byName(listed.map(shownFields)),
    },
    {
      head: state.head,
      generation: state.generation,
      undo: state.undo,
      state: state.isRunning ? 'running' : 'stopped',
      snapshotCount: state.snapshots.size,
      operation: null,
      snapshots: byName([...state.snapshots.values()].map((one) => fieldsOf(state, one))),
    },
    shown.name,
  );
  // The parents lead from each snapshot to a root.
  for (const { name } of listed) {
    const passed = new Set<string>();
    for (let one: string | null = name; one !== null; one = state.snapshots.get(one)?.parent ?? null) {
      assert.ok(!passed.has(one), `${one} descends from itself`);
      assert.ok(state.snapshots.has(one), `${one} is a parent, and is no more`);
      passed.add(one);
    }
  }
}

function byName(all: readonly Record<string, unknown>[]): Record<string, unknown>[] {
  return [...all].sort((a, b) => (String(a['name']) < String(b['name']) ? -1 : 1));
}

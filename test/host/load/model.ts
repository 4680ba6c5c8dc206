import type { ErrorCode } from '../../../src/protocol/errors.ts';
import type { OperationName, ParamsInput, Result } from '../../../src/protocol/operations.ts';
import type { Snapshot } from '../../../src/protocol/snapshot.ts';

/** What the model knows of a snapshot. */
export interface SnapshotState {
  readonly name: string;
  readonly alias: string | null;
  readonly note: string | null;
  readonly parent: string | null;
  readonly isProtected: boolean;
  readonly expires: boolean;
  readonly isStateful: boolean;
  readonly isSafety: boolean;
  /** Taken of a workspace that did not run: a restore of a safety snapshot of that kind leaves it stopped. */
  readonly wasStopped: boolean;
}

/** What the model knows of a workspace between two operations. Never changed; each operation makes another one. */
export interface WorkspaceState {
  /** Not before it is made, nor after it was deleted. */
  readonly exists: boolean;
  readonly isRunning: boolean;
  /** By name. */
  readonly snapshots: ReadonlyMap<string, SnapshotState>;
  readonly head: string | null;
  /** The safety snapshot that leads back before the last restore. */
  readonly undo: string | null;
  readonly generation: number;
}

/** Before it is made. */
export const absent: WorkspaceState = {
  exists: false,
  isRunning: false,
  snapshots: new Map(),
  head: null,
  undo: null,
  generation: 0,
};

/** Operations that change a workspace, as far as the model knows them. */
export type ChangeName = Extract<
  OperationName,
  | `snapshots/${'create' | 'alias' | 'note' | 'expiry' | 'protect' | 'unprotect' | 'delete' | 'restore'}`
  | `containers/${'start' | 'stop' | 'delete' | 'copy'}`
>;

/** How a call ended. */
export type Outcome<N extends OperationName> =
  | { readonly kind: 'done'; readonly result: Result<N> }
  | { readonly kind: 'failed'; readonly code: ErrorCode };

/** A call that has ended, whatever it was. */
export type Ended<N extends OperationName> = {
  [One in N]: {
    readonly operation: One;
    readonly params: ParamsInput<One>;
    readonly outcome: Outcome<One>;
    /** It was asked to end early, and may have. */
    readonly isCancelled: boolean;
  };
}[N];

/** What changes a workspace: a call, or that it was made. */
export type Change = Ended<ChangeName> | { readonly operation: 'made' };

/** What follows from a change: the state after it, or a word of why it can't have ended so. */
export type Next = WorkspaceState | string;

/** The state after a change that ended as it did, or why it can't have in this state. */
export function next(state: WorkspaceState, change: Change): Next {
  if (change.operation === 'made')
    return state.exists ? 'it was made twice' : { ...absent, exists: true, isRunning: true };
  const { outcome } = change;
  if (change.isCancelled && outcome.kind === 'failed' && outcome.code === 'operation.cancelled') return state;
  const expected = state.exists ? expectedFailure(state, change) : 'workspace.notFound';
  if (expected !== null)
    return outcome.kind === 'failed' && outcome.code === expected ? state : `should fail with ${expected}`;
  if (outcome.kind === 'failed') return `should do what it is asked, and failed with ${outcome.code}`;
  return afterSuccess(state, change);
}

/** The snapshot that a reference means. */
export function find(state: WorkspaceState, reference: string): SnapshotState | undefined {
  return [...state.snapshots.values()].find(({ name, alias }) => name === reference || alias === reference);
}

/** The failure that a change must end with; null where it must succeed. */
function expectedFailure(state: WorkspaceState, change: Ended<ChangeName>): ErrorCode | null {
  const { operation, params } = change;
  switch (operation) {
    case 'snapshots/create':
      if (params.alias !== undefined && holds(state, params.alias)) return 'alias.taken';
      return params.mode === 'stateful' && !state.isRunning ? 'checkpoint.impossible' : null;
    case 'containers/copy':
      if (params.name === TAKEN_NAME) return 'workspace.exists';
      return params.snapshot !== undefined && !find(state, params.snapshot) ? 'snapshot.notFound' : null;
    case 'containers/delete':
      if (state.snapshots.size > 0 && params.withSnapshots !== true) return 'workspace.hasSnapshots';
      return [...state.snapshots.values()].some(({ isProtected }) => isProtected)
        ? 'snapshot.protected'
        : null;
    case 'containers/start':
    case 'containers/stop':
      return null;
    default: {
      const meant = find(state, params.name);
      if (meant === undefined) return 'snapshot.notFound';
      if (operation === 'snapshots/delete' && meant.isProtected) return 'snapshot.protected';
      const isTaken =
        operation === 'snapshots/alias' &&
        params.alias !== null &&
        meant.alias !== params.alias &&
        holds(state, params.alias);
      return isTaken ? 'alias.taken' : null;
    }
  }
}

/** A workspace has this name from beginning to end: no fork can. */
export const TAKEN_NAME = 'load-0';

function holds(state: WorkspaceState, alias: string): boolean {
  return [...state.snapshots.values()].some((one) => one.alias === alias);
}

function afterSuccess(state: WorkspaceState, change: Ended<ChangeName>): Next {
  const { outcome } = change;
  if (outcome.kind === 'failed') return state;
  switch (change.operation) {
    case 'snapshots/create':
      return created(state, change);
    case 'snapshots/alias':
      return edited(state, change, { alias: change.params.alias });
    case 'snapshots/note':
      return edited(state, change, { note: change.params.note });
    case 'snapshots/expiry':
      return edited(state, change, { expires: change.params.expiry !== null });
    case 'snapshots/protect':
    case 'snapshots/unprotect':
      return edited(state, change, { isProtected: change.operation === 'snapshots/protect' });
    case 'snapshots/delete':
      return deleted(state, change);
    case 'snapshots/restore':
      return restored(state, change);
    case 'containers/start':
    case 'containers/stop': {
      const isRunning = change.operation === 'containers/start';
      if (
        change.outcome.kind === 'done' &&
        change.outcome.result.state !== (isRunning ? 'running' : 'stopped')
      )
        return `its state is ${change.outcome.result.state}`;
      return { ...state, isRunning };
    }
    case 'containers/delete': {
      const names = change.outcome.kind === 'done' ? change.outcome.result.deletedSnapshots : [];
      const wrong = differs('deletedSnapshots', [...names].sort(), [...state.snapshots.keys()].sort());
      return wrong ?? { ...absent };
    }
    case 'containers/copy':
      return forked(state, change);
  }
}

function created(
  state: WorkspaceState,
  { params, outcome }: Extract<Ended<ChangeName>, { operation: 'snapshots/create' }>,
): Next {
  if (outcome.kind === 'failed') return state;
  const { snapshot: shown } = outcome.result;
  const { alias = null, note = null, expiry, mode } = params;
  const made = snapshotTaken(state, shown.name, {
    alias,
    note,
    expires: expiry !== undefined,
    isStateful: state.isRunning && mode !== 'stateless',
  });
  const after = added(state, made);
  if (typeof after === 'string') return after;
  const moved = { ...after, head: made.name };
  return wrongSnapshot(moved, made, shown) ?? moved;
}

/** A snapshot of the workspace as it is. */
function snapshotTaken(
  state: WorkspaceState,
  name: string,
  taken: Pick<SnapshotState, 'alias' | 'note' | 'expires' | 'isStateful'>,
): SnapshotState {
  return {
    ...taken,
    name,
    parent: state.head,
    isProtected: false,
    isSafety: false,
    wasStopped: !state.isRunning,
  };
}

function added(state: WorkspaceState, made: SnapshotState): Next {
  if (state.snapshots.has(made.name)) return `there is a snapshot ${made.name} already`;
  return { ...state, snapshots: new Map([...state.snapshots, [made.name, made]]) };
}

function edited(
  state: WorkspaceState,
  { params, outcome }: { params: { name: string }; outcome: Outcome<'snapshots/note'> },
  change: Partial<SnapshotState>,
): Next {
  const before = find(state, params.name);
  if (before === undefined || outcome.kind === 'failed') return state;
  const after = { ...before, ...change };
  const moved = { ...state, snapshots: new Map([...state.snapshots, [after.name, after]]) };
  return wrongSnapshot(moved, after, outcome.result) ?? moved;
}

function deleted(
  state: WorkspaceState,
  { params, outcome }: Extract<Ended<ChangeName>, { operation: 'snapshots/delete' }>,
): Next {
  const leaving = find(state, params.name);
  if (leaving === undefined || outcome.kind === 'failed') return state;
  const { name, alias, parent } = leaving;
  const { result } = outcome;
  const wrong = differs('what was deleted', { name: result.name, alias: result.alias }, { name, alias });
  if (wrong !== null) return wrong;
  const staying = [...state.snapshots.values()].filter((one) => one.name !== name);
  return {
    ...state,
    snapshots: new Map(
      staying.map((one) => [one.name, one.parent === name ? { ...one, parent } : one] as const),
    ),
    head: state.head === name ? parent : state.head,
    undo: state.undo === name ? null : state.undo,
  };
}

function restored(
  state: WorkspaceState,
  { params, outcome }: Extract<Ended<ChangeName>, { operation: 'snapshots/restore' }>,
): Next {
  const target = find(state, params.name);
  if (target === undefined || outcome.kind === 'failed') return state;
  const { result } = outcome;
  const isStateful = target.isStateful && params.cold !== true;
  if ((result.safety === null) !== (params.safety === 'none')) return 'its safety snapshot was not asked for';
  const safety =
    result.safety === null
      ? null
      : {
          ...snapshotTaken(state, result.safety, {
            alias: null,
            note: `Before restoring ${target.name}`,
            expires: false,
            isStateful: state.isRunning && params.safety !== 'stateless',
          }),
          isSafety: true,
        };
  const kept = safety === null ? state : added(state, safety);
  if (typeof kept === 'string') return kept;
  const after: WorkspaceState = {
    ...kept,
    isRunning: isStateful || !(target.isSafety && !target.isStateful && target.wasStopped),
    head: target.isSafety ? target.parent : target.name,
    undo: result.safety,
    generation: state.generation + 1,
  };
  const { workspace } = result;
  return (
    differs(
      'what was restored',
      [result.restored, result.stateful, result.hookFailure],
      [target.name, isStateful, null],
    ) ??
    differs(
      'the workspace',
      [workspace.head, workspace.generation, workspace.undo?.safety ?? null, workspace.state],
      [after.head, after.generation, after.undo, after.isRunning ? 'running' : 'stopped'],
    ) ??
    after
  );
}

function forked(
  state: WorkspaceState,
  { params, outcome }: Extract<Ended<ChangeName>, { operation: 'containers/copy' }>,
): Next {
  if (outcome.kind === 'failed') return state;
  const [fork] = outcome.result;
  if (fork === undefined || outcome.result.length > 1 || !fork.ok) return 'it made no fork';
  const from = fork.origin.snapshot;
  const begun = params.snapshot === undefined ? null : find(state, params.snapshot);
  const made = snapshotTaken(state, from, {
    alias: null,
    note: `Where the fork "${params.name}" began`,
    expires: false,
    isStateful: state.isRunning && params.cold !== true,
  });
  const origin = begun ?? made;
  const wrong = differs(
    'the fork',
    [fork.name, from, fork.stateful, fork.hookFailure, fork.workspace?.state],
    [params.name, origin.name, origin.isStateful && params.cold !== true, null, 'running'],
  );
  if (wrong !== null) return wrong;
  if (begun !== null) return state;
  const after = added(state, made);
  return typeof after === 'string' ? after : { ...after, head: from };
}

/** Why a snapshot as it is shown is not the one that the model has; null when it is. */
export function wrongSnapshot(
  state: WorkspaceState,
  snapshot: SnapshotState,
  shown: Omit<Snapshot, 'capture' | 'changedFiles'>,
): string | null {
  return differs(`snapshot ${snapshot.name}`, shownFields(shown), fieldsOf(state, snapshot));
}

/** A snapshot's fields as clients see them, of those that the model knows. */
export function fieldsOf(state: WorkspaceState, one: SnapshotState): Record<string, unknown> {
  return {
    name: one.name,
    alias: one.alias,
    note: one.note,
    parent: one.parent,
    protected: one.isProtected,
    expires: one.expires,
    stateful: one.isStateful,
    isHead: state.head === one.name,
    kind: one.isSafety ? 'safety' : 'manual',
    wasStopped: one.wasStopped,
  };
}

/** The same fields, of what a client was shown. */
export function shownFields(shown: Omit<Snapshot, 'capture' | 'changedFiles'>): Record<string, unknown> {
  return {
    name: shown.name,
    alias: shown.alias,
    note: shown.note,
    parent: shown.parent,
    protected: shown.protected,
    expires: shown.expiresAt !== null,
    stateful: shown.stateful,
    isHead: shown.isHead,
    kind: shown.kind,
    wasStopped: !shown.stateful && shown.statelessReason === null,
  };
}

function differs(what: string, found: unknown, expected: unknown): string | null {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
  return one === other ? null : `${what} is ${one}, and should be ${other}`;
}

/** The same text for the same state. */
export function fingerprint(state: WorkspaceState): string {
  return JSON.stringify({ ...state, snapshots: [...state.snapshots].sort(([a], [b]) => (a < b ? -1 : 1)) });
}

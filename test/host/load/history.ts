import assert from 'node:assert/strict';
import { fingerprint, next, type Change, type WorkspaceState } from './model.ts';

/** Something that took a while. Moments are counted in the order in which the test saw them. */
export interface Recorded<T> {
  readonly what: T;
  readonly who: string;
  readonly began: number;
  readonly ended: number;
}

/** Changes in an order in which they could have happened one after another, and the states between them. */
export interface Order {
  readonly changes: readonly Recorded<Change>[];
  /** One before each change, and one after the last. */
  readonly states: readonly [WorkspaceState, ...WorkspaceState[]];
}

/** Whether an order can be the one in which things happened, by what somebody saw meanwhile. */
export type Witness = Recorded<(order: Order) => boolean>;

/** Some of the changes in some order. */
interface Path {
  readonly state: WorkspaceState;
  readonly before: Path | null;
  readonly last: Recorded<Change> | null;
  readonly length: number;
  /** All changes up to here are in it. */
  readonly whole: number;
  /** Changes from there on that are in it, too. */
  readonly ahead: ReadonlySet<number>;
}

/**
 * Finds an order of the changes in which the model explains how each of them ended, and in which none comes before
 * another that had ended when it began (linearizability; Wing and Gong, 1993). Of several, one that all witnesses admit:
 * the answers to two notes that were written at the same time do not tell which of them is the last.
 * @throws an assertion error that shows how far an explanation leads, where there is none. An order that is found and
 *   that a witness does not admit is returned where there is no better one: the witness can say what is wrong with it.
 */
export function explain(
  initial: WorkspaceState,
  history: readonly Recorded<Change>[],
  witnesses: readonly Witness[] = [],
): Order {
  const changes = [...history].sort((a, b) => a.began - b.began);
  const found = search(initial, changes, witnesses);
  if ('states' in found) return found;
  const unseen = search(initial, changes, []);
  return 'states' in unseen ? unseen : assert.fail(describeEnd(unseen, changes));
}

/** The order, or the farthest that was come. */
function search(
  initial: WorkspaceState,
  changes: readonly Recorded<Change>[],
  witnesses: readonly Witness[],
): Order | Path {
  const inTime = [...witnesses].sort((a, b) => a.ended - b.ended);
  /** Whoever looked can be asked once all is in the path that had begun when they had seen enough. */
  const isDue = ({ whole }: Path, { ended }: Witness): boolean =>
    ended <= (changes[whole]?.began ?? Infinity);
  const start: Path = {
    state: initial,
    before: null,
    last: null,
    length: 0,
    whole: 0,
    ahead: new Set(),
  };
  const seen = new Set<string>();
  const open = [start];
  let farthest = start;
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (path.length === changes.length) return orderOf(path);
    if (path.length > farthest.length) farthest = path;
    const steps = possibleNow(path, changes).flatMap((index) => follow(path, changes, index) ?? []);
    for (const step of steps) {
      const order = orderOf(step);
      const asked = inTime.filter((witness) => !isDue(path, witness) && isDue(step, witness));
      if (!asked.every(({ what }) => what(order))) continue;
      // What those have seen who are asked later tells two ways to the same state apart.
      const unasked = inTime.filter((witness) => !isDue(step, witness));
      const began = Math.min(...unasked.map((witness) => witness.began));
      const mark = [
        step.whole,
        [...step.ahead].sort((a, b) => a - b).join(),
        ...statesDuring(order, { began, ended: Infinity }).map(fingerprint),
      ].join(' ');
      if (seen.has(mark)) continue;
      seen.add(mark);
      open.push(step);
    }
  }
  return farthest;
}

/** Which changes may come next, those that ended first last: they are tried first. */
function possibleNow({ whole, ahead }: Path, changes: readonly Recorded<Change>[]): number[] {
  const found: number[] = [];
  let firstEnd = Infinity;
  for (let index = whole; index < changes.length; index += 1) {
    const change = changes[index];
    if (change === undefined || change.began > firstEnd) break;
    if (ahead.has(index)) continue;
    found.push(index);
    firstEnd = Math.min(firstEnd, change.ended);
  }
  const endOf = (index: number): number => changes[index]?.ended ?? Infinity;
  return found.filter((index) => (changes[index]?.began ?? 0) < firstEnd).sort((a, b) => endOf(b) - endOf(a));
}

function follow(path: Path, changes: readonly Recorded<Change>[], index: number): Path | null {
  const change = changes[index];
  const state = change === undefined ? '' : next(path.state, change.what);
  if (change === undefined || typeof state === 'string') return null;
  const ahead = new Set([...path.ahead, index]);
  let { whole } = path;
  while (ahead.delete(whole)) whole += 1;
  return { state, before: path, last: change, length: path.length + 1, whole, ahead };
}

function orderOf(path: Path): Order {
  const changes: Recorded<Change>[] = [];
  const states: [WorkspaceState, ...WorkspaceState[]] = [path.state];
  for (let one = path; one.before !== null && one.last !== null; one = one.before) {
    changes.push(one.last);
    states.push(one.before.state);
  }
  changes.reverse();
  states.reverse();
  return { changes, states };
}

function describeEnd(path: Path, changes: readonly Recorded<Change>[]): string {
  const recent = orderOf(path).changes.slice(-8).map(describe);
  const stuck = possibleNow(path, changes).map((index) => {
    const change = changes[index];
    const problem = change === undefined ? '' : next(path.state, change.what);
    return change === undefined || typeof problem !== 'string' ? '' : `${describe(change)}\n    ${problem}`;
  });
  return [
    'no order of the operations explains how they ended. The longest that does, its end:',
    ...recent,
    `which leads to ${fingerprint(path.state)}`,
    'and none of these can follow:',
    ...stuck,
  ].join('\n  ');
}

/** A recorded call in a line. */
export function describe({ what, who, began, ended }: Recorded<Change>): string {
  const when = `${String(began)}–${String(ended)} ${who}`;
  if (what.operation === 'made') return `${when}: made`;
  const { outcome } = what;
  const how = outcome.kind === 'failed' ? outcome.code : JSON.stringify(outcome.result).slice(0, 600);
  return `${when}: ${what.operation}(${JSON.stringify(what.params)})${what.isCancelled ? ' cancelled' : ''} → ${how}`;
}

/** The changes that were under way at the same time as something else. */
export function changesDuring(
  { changes }: Order,
  { began, ended }: Pick<Recorded<unknown>, 'began' | 'ended'>,
): readonly Recorded<Change>[] {
  return changes.filter((change) => change.began < ended && change.ended > began);
}

/** The states that something which took that long may have seen, also the one in part and the other in part. */
export function statesDuring(
  { changes, states }: Order,
  { began, ended }: Pick<Recorded<unknown>, 'began' | 'ended'>,
): readonly WorkspaceState[] {
  const notEndedBefore = changes.findIndex((change) => change.ended > began);
  const first = notEndedBefore < 0 ? changes.length : notEndedBefore;
  const begunBefore = changes.findLastIndex((change) => change.began < ended);
  return states.slice(first, Math.max(first, begunBefore + 1) + 1);
}

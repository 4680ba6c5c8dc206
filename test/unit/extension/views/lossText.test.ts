import assert from 'node:assert/strict';
import type { Preview } from '../../../../src/protocol/operations.ts';
import { restoreQuestion } from '../../../../src/extension/views/lossText.ts';
import { plain } from '../plainTranslator.ts';
import { momentOf, nameOf, snapshot, workspace } from '../snapshots.ts';

const now = Date.parse(momentOf(3));
const target = snapshot(0, null, { alias: 'before-ai-login' });
const process = (name: string) => ({ pid: 1, name, memoryBytes: 0 });
const known: Preview = {
  snapshot: nameOf(0),
  files: {
    added: 20,
    changed: 2,
    deleted: 1,
    first: ['a.ts', 'b.ts', 'c.ts', 'd.ts'].map((path) => ({ path, change: 'added' as const })),
  },
  started: [process('node'), process('node')],
  ended: [],
  outsideConnections: [],
  safety: { choice: 'stateful', reason: null, memoryBytes: 36 * 1024 * 1024 },
};
const detail = (preview: Preview | null, one = target) =>
  restoreQuestion(plain, workspace('web'), one, preview, now).detail;

describe('the question before a restore', () => {
  it('names workspace, snapshot and age', () => {
    assert.equal(
      restoreQuestion(plain, workspace('web'), target, known, now).message,
      'Restore "web" to "before-ai-login", taken 3 minutes ago?',
    );
  });

  it('is about undoing where it goes back to the safety snapshot of the last restore', () => {
    const undo = { safety: nameOf(0), safetyIsStateful: true, restored: nameOf(1), restoredAt: momentOf(0) };
    const { message } = restoreQuestion(
      plain,
      workspace('web', { undo }),
      snapshot(0, null, { kind: 'safety' }),
      known,
      now,
    );
    assert.equal(message, 'Undo the restore of "web", made 3 minutes ago?');
  });

  it('names what will be lost', () => {
    const text = detail(known);
    assert.match(text, /23 files changed since: a\.ts, b\.ts, c\.ts, …/);
    assert.match(text, /2 processes started since, which will end: node\n/);
    assert.match(text, /safety snapshot first, with its processes \(36\.00MB\)/);
  });

  it('says what is still being counted', () => {
    assert.match(detail({ ...known, files: null }), /2 processes[^]*Still counting: files/);
    assert.match(
      detail({ ...known, files: null, started: [], ended: [] }),
      /^Still counting what has changed since: files\./,
    );
    assert.match(detail(null), /still being counted/);
  });

  it('says so when nothing has changed', () => {
    const nothing = { ...known, files: { added: 0, changed: 0, deleted: 0, first: [] }, started: [] };
    assert.match(detail(nothing), /^Nothing has changed since\./);
  });

  it('says that a stateless snapshot starts the workspace anew', () => {
    assert.match(detail(known, { ...target, stateful: false }), /files only: the workspace starts anew/);
  });

  it('says that the next question is what to keep', () => {
    const asks = { choice: 'ask' as const, reason: 'it holds 3 GB', memoryBytes: 3_000_000_000 };
    assert.match(detail({ ...known, safety: asks }), /You are asked next/);
  });

  it('lets no file name forge a line', () => {
    const files = {
      added: 1,
      changed: 0,
      deleted: 0,
      first: [{ path: 'a\nNothing has changed since.', change: 'added' as const }],
    };
    assert.ok(!detail({ ...known, files }).includes('a\nNothing'));
  });
});

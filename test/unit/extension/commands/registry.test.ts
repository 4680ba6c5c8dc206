import assert from 'node:assert/strict';
import {
  commandIds,
  registerCommands,
  type CommandHandlers,
  type CommandId,
} from '../../../../src/extension/commands/registry.ts';

describe('the commands', () => {
  const row = { kind: 'snapshot' };
  let called: { id: CommandId; target: unknown; selection: unknown }[];
  let forgotten: number;
  let isRedrawing: boolean;
  let call: (id: CommandId, ...args: unknown[]) => Promise<void>;

  beforeEach(() => {
    called = [];
    forgotten = 0;
    isRedrawing = false;
    const registered = new Map<string, (...args: unknown[]) => Promise<void>>();
    const handlers = Object.fromEntries(
      commandIds.map((id) => [
        id,
        (target: unknown, selection: unknown) => {
          called.push({ id, target, selection });
          return Promise.resolve();
        },
      ]),
      // One for each id, as the type wants it.
    ) as unknown as CommandHandlers;
    registerCommands(
      {
        registerCommand: (id: string, handler: (...args: unknown[]) => Promise<void>) => {
          registered.set(id, handler);
          return { dispose: () => undefined };
        },
      },
      handlers,
      {
        isRedrawing: () => isRedrawing,
        onForgottenRow: () => forgotten++,
        onError: (id, error) => assert.fail(`${id}: ${String(error)}`),
      },
    );
    call = async (id, ...args) => registered.get(id)?.(...args);
  });

  it('work on the row and the selection that they are called on', async () => {
    await call('forkpoint.deleteSnapshots', row, [row]);
    assert.deepEqual(called, [{ id: 'forkpoint.deleteSnapshots', target: row, selection: [row] }]);
    assert.equal(forgotten, 0);
  });

  it('work on no row when they come from the palette or from a button of ours', async () => {
    isRedrawing = true;
    await call('forkpoint.stopWorkspace');
    await call('forkpoint.stopWorkspace', undefined);
    assert.equal(called.length, 2);
    assert.equal(forgotten, 0);
  });

  it('do nothing when the editor has forgotten the row, or one of the selected ones', async () => {
    await call('forkpoint.stopWorkspace', undefined, undefined);
    await call('forkpoint.deleteSnapshots', row, [row, undefined]);
    assert.deepEqual(called, []);
    assert.equal(forgotten, 2);
  });

  it('work on no row from the title of the view, but not while rows are drawn anew', async () => {
    await call('forkpoint.restoreLast', undefined, undefined);
    assert.equal(called.length, 1);
    isRedrawing = true;
    await call('forkpoint.restoreLast', undefined, undefined);
    assert.equal(called.length, 1);
    assert.equal(forgotten, 1);
  });
});

import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import type { Node } from '../../../../src/extension/views/nodes.ts';
import { OpenedRow } from '../../../../src/extension/views/openedRow.ts';

describe('the row that a click was on', () => {
  // Rows are told apart by their object alone.
  const [connect, other] = [{ id: 'connect' }, { id: 'other' }] as unknown as [Node, Node];
  let selection: Node[];
  let opened: OpenedRow;

  beforeEach(() => {
    selection = [];
    opened = new OpenedRow(() => selection, 300);
  });

  it('is the one that is selected', async () => {
    selection = [connect];
    assert.equal(await opened.find(), connect);
  });

  it('is waited for while the editor draws it anew', async () => {
    const found = opened.find();
    await setTimeout(120);
    selection = [connect];
    assert.equal(await found, connect);
  });

  it('is forgotten when it does not come back', async () => {
    assert.equal(await opened.find(), 'forgotten');
  });

  it('is none of several', async () => {
    selection = [connect, other];
    assert.equal(await opened.find(), 'forgotten');
  });

  it('is that of the last click: one that waits does nothing when another comes', async () => {
    const first = opened.find();
    selection = [other];
    const second = opened.find();
    assert.deepEqual(await Promise.all([first, second]), ['superseded', other]);
  });
});

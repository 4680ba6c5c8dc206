import { setTimeout } from 'node:timers/promises';
import type { Node } from './nodes.ts';
import { LONGEST_WAIT_MS } from './shownRows.ts';

const POLL_MS = 50;

/**
 * Finds the row that a click was on. The click has selected it, and the editor knows what is selected by the rows'
 * ids: while a row is drawn anew the selection lacks it, and has it again as soon as the editor has asked for it.
 */
export class OpenedRow {
  private clicks = 0;

  /** @param selection the rows that are selected, of those that the editor knows at the time */
  constructor(
    private readonly selection: () => readonly Node[],
    private readonly longestWaitMs = LONGEST_WAIT_MS,
  ) {}

  /**
   * The row that was just clicked; `forgotten` when the editor does not come to know it again, `superseded` when
   * another click came while this one waited.
   */
  async find(): Promise<Node | 'forgotten' | 'superseded'> {
    const click = ++this.clicks;
    const until = performance.now() + this.longestWaitMs;
    for (;;) {
      if (click !== this.clicks) return 'superseded';
      const [row, ...others] = this.selection();
      if (row !== undefined && others.length === 0) return row;
      if (performance.now() > until) return 'forgotten';
      await setTimeout(POLL_MS);
    }
  }
}

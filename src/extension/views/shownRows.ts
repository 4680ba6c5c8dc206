import type { Node, Nodes } from './nodes.ts';

/** The key of the rows at the top, which have no parent. */
const TOP = '';

/** The editor is not late after that time, but asks for nothing: the view is out of sight. */
export const LONGEST_WAIT_MS = 2_000;

/**
 * The rows that the editor was given. It knows a row by its object, so each keeps its object for as long as it is
 * listed, with the latest facts in it; and it is asked to draw only those again that look different now: whatever is
 * drawn again loses its tooltip and its menu.
 */
export class ShownRows {
  private readonly rows = new Map<string, Node>();
  /** How each row looked when the editor was last told. */
  private readonly looks = new Map<string, string>();
  /** The ids of the children that the editor was given, of the rows that it asked for them. */
  private readonly given = new Map<string, readonly string[]>();
  /**
   * When the editor was told to draw a row anew, and so forgot the children that it had of it, in milliseconds of
   * `performance.now()`; until it asks for them again.
   */
  private readonly awaited = new Map<string, number>();

  /**
   * @param look all that a row shows, as text to compare
   * @param isFolded whether the user has folded a row, below which the editor asks for nothing then
   */
  constructor(
    private readonly nodes: Nodes,
    private readonly look: (node: Node) => string,
    private readonly isFolded: (id: string) => boolean,
  ) {}

  /** The rows below one, for the editor to show. */
  children(parent: Node | undefined): Node[] {
    const children = this.read(parent);
    this.awaited.delete(keyOf(parent));
    this.given.set(
      keyOf(parent),
      children.map(({ id }) => id),
    );
    for (const child of children) this.looks.set(child.id, this.look(child));
    return children;
  }

  /** The rows that look different from what the editor has, outermost first; `undefined` stands for all of them. */
  takeChanged(): (Node | undefined)[] {
    const changed: (Node | undefined)[] = [];
    const change = (node: Node | undefined): void => {
      changed.push(node);
      this.expect(node);
    };
    const visit = (parent: Node | undefined): void => {
      const given = this.given.get(keyOf(parent));
      if (given === undefined) return;
      const children = this.read(parent);
      if (children.length !== given.length || children.some(({ id }, index) => id !== given[index])) {
        change(parent);
        // Asked for again with the row, or when it is unfolded.
        this.given.delete(keyOf(parent));
        return;
      }
      for (const child of children) {
        const look = this.look(child);
        if (look !== this.looks.get(child.id)) {
          this.looks.set(child.id, look);
          change(child);
        }
        visit(child);
      }
    };
    visit(undefined);
    return changed;
  }

  /** Whether the editor may not have asked yet for rows again that it has forgotten, but goes on showing. */
  get isAwaited(): boolean {
    const since = performance.now() - LONGEST_WAIT_MS;
    return [...this.awaited.values()].some((at) => at > since);
  }

  private expect(parent: Node | undefined): void {
    const key = keyOf(parent);
    if (!this.given.has(key) || this.isFolded(key)) return;
    this.awaited.set(key, performance.now());
    for (const child of this.read(parent)) this.expect(child);
  }

  private read(parent: Node | undefined): Node[] {
    const fresh = parent === undefined ? this.nodes.roots() : this.nodes.children(parent);
    return fresh.map((node) => this.keep(node));
  }

  private keep(fresh: Node): Node {
    const known = this.rows.get(fresh.id);
    if (known?.kind === fresh.kind) return Object.assign(known, fresh);
    this.rows.set(fresh.id, fresh);
    return fresh;
  }
}

function keyOf(parent: Node | undefined): string {
  return parent?.id ?? TOP;
}

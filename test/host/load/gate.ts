/** Lets many be at a thing together, or one alone. */
export class Gate {
  #inside = 0;
  #alone: Promise<void> | null = null;
  #whenEmpty: (() => void) | null = null;

  /** How many are there now. */
  get inside(): number {
    return this.#inside;
  }

  async among<T>(work: () => Promise<T>): Promise<T> {
    while (this.#alone !== null) await this.#alone;
    this.#inside += 1;
    try {
      return await work();
    } finally {
      this.#inside -= 1;
      if (this.#inside === 0) this.#whenEmpty?.();
    }
  }

  async alone<T>(work: () => Promise<T>): Promise<T> {
    while (this.#alone !== null) await this.#alone;
    let leave: () => void = () => undefined;
    this.#alone = new Promise((resolve) => (leave = resolve));
    try {
      if (this.#inside > 0) await new Promise<void>((resolve) => (this.#whenEmpty = resolve));
      return await work();
    } finally {
      this.#whenEmpty = null;
      this.#alone = null;
      leave();
    }
  }
}

/** A state that is there while any of those who want it are at work: the first brings it about, the last ends it. */
export class WhileAny {
  private users = 0;

  constructor(
    private readonly begin: () => void,
    private readonly end: () => void,
  ) {}

  /** Keeps it while `work` goes on, however that ends. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    if (this.users++ === 0) this.begin();
    try {
      return await work();
    } finally {
      if (--this.users === 0) this.end();
    }
  }
}

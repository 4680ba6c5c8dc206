import { Emitter } from '../model/emitter.ts';
import type { Disposable } from '../model/emitter.ts';

/** What runs in this window, for the status bar to show. */
export class Activity implements Disposable {
  private readonly running = new Set<{ readonly title: string }>();
  private readonly emitter = new Emitter<void>();

  readonly onDidChange = this.emitter.event;

  /** The title of what began last and still runs; null when nothing does. */
  get title(): string | null {
    return [...this.running].at(-1)?.title ?? null;
  }

  /** Shows `title` until the result is disposed. */
  begin(title: string): Disposable {
    const entry = { title };
    this.running.add(entry);
    this.emitter.fire();
    return {
      dispose: () => {
        this.running.delete(entry);
        this.emitter.fire();
      },
    };
  }

  dispose(): void {
    this.emitter.dispose();
  }
}

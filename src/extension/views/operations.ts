import { l10n, ProgressLocation, window } from 'vscode';
import type { LogOutputChannel } from 'vscode';
import { ForkpointError } from '../../protocol/errors.ts';
import type { RequestOptions } from '../hosts/host.ts';
import { hostLines } from '../hosts/hostText.ts';
import { HostProblemError } from '../hosts/problems.ts';
import { Emitter } from '../model/emitter.ts';
import type { Activity } from './activity.ts';
import { elapsedText } from './measures.ts';
import { stepText } from './stepTexts.ts';

/** How an operation ended. */
export type Outcome<T> =
  | { readonly kind: 'done'; readonly value: T; readonly ms: number }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly error: ForkpointError | HostProblemError };

/** What a running operation is given: pass it on with the request. */
export type OperationContext = Required<Pick<RequestOptions, 'onProgress'>> & {
  readonly signal: AbortSignal;
};

/** Work that is shorter shows in the view's bar and the status bar alone. */
const SHORT_WORK_MS = 2000;

/** Runs what takes time: shows that it runs, lets the user cancel it, and tells its story in the log. */
export class Operations {
  constructor(
    private readonly log: LogOutputChannel,
    private readonly activity: Activity,
  ) {}

  /**
   * @param title what goes on, in the form `Restoring "web" to "before-migration"`
   * @param task never left running: its promise is waited for after a cancel too
   */
  async run<T>(title: string, task: (context: OperationContext) => Promise<T>): Promise<Outcome<T>> {
    const startedAt = Date.now();
    const elapsed = () => Date.now() - startedAt;
    const cancellation = new AbortController();
    const watch = new ProgressWatch();
    this.log.info(`${title}: started`);

    const work = task({
      signal: cancellation.signal,
      onProgress: ({ step, isPastPointOfNoReturn }) => {
        if (step !== watch.step) this.log.info(`${title}: step "${step}" after ${elapsedText(elapsed())}`);
        watch.advance(step, isPastPointOfNoReturn);
      },
    });
    const settle = () => void (watch.isSettled = true);
    const settled = work.then(settle, settle);
    const shown = this.activity.begin(title);
    void window.withProgress({ location: { viewId: 'forkpoint.snapshots' } }, () => settled);
    const slow = setTimeout(
      () => void showNotification(title, watch, settled, () => cancellation.abort()),
      SHORT_WORK_MS,
    );
    try {
      const value = await work;
      this.log.info(`${title}: done in ${elapsedText(elapsed())}`);
      return { kind: 'done', value, ms: elapsed() };
    } catch (error) {
      if (isCancellation(error)) {
        this.log.info(`${title}: cancelled after ${elapsedText(elapsed())}`);
        return { kind: 'cancelled' };
      }
      const failure = error instanceof HostProblemError ? error : ForkpointError.from(error);
      this.log.error(`${title}: failed after ${elapsedText(elapsed())}: ${describe(failure)}`);
      return { kind: 'failed', error: failure };
    } finally {
      clearTimeout(slow);
      shown.dispose();
    }
  }
}

/** How far an operation is, for whoever shows it. */
class ProgressWatch {
  private readonly emitter = new Emitter<void>();
  readonly onDidAdvance = this.emitter.event;
  step = '';
  isPastPointOfNoReturn = false;
  isSettled = false;

  advance(step: string, isPastPointOfNoReturn: boolean): void {
    this.step = step;
    this.isPastPointOfNoReturn ||= isPastPointOfNoReturn;
    this.emitter.fire();
  }
}

/**
 * A notification with Cancel until the point of no return; a button can't be taken off a notification, so from there
 * on it is another one, which says so.
 */
async function showNotification(
  title: string,
  watch: ProgressWatch,
  settled: Promise<void>,
  cancel: () => void,
): Promise<void> {
  if (!watch.isPastPointOfNoReturn) {
    await window.withProgress(
      { location: ProgressLocation.Notification, title, cancellable: true },
      async (progress, token) => {
        token.onCancellationRequested(() => {
          progress.report({ message: l10n.t('Cancelling…') });
          cancel();
        });
        await new Promise<void>((resolve) => {
          const follow = () => {
            if (watch.isPastPointOfNoReturn) resolve();
            else if (!token.isCancellationRequested) progress.report({ message: stepText(l10n, watch.step) });
          };
          const subscription = watch.onDidAdvance(follow);
          void settled.then(() => {
            subscription.dispose();
            resolve();
          });
          follow();
        });
      },
    );
  }
  if (watch.isSettled) return;
  await window.withProgress(
    { location: ProgressLocation.Notification, title, cancellable: false },
    async (progress) => {
      const report = () => {
        const step = stepText(l10n, watch.step);
        progress.report({
          message:
            step === ''
              ? l10n.t("can't be cancelled any more")
              : l10n.t("{0} (can't be cancelled any more)", step),
        });
      };
      const subscription = watch.onDidAdvance(report);
      report();
      await settled;
      subscription.dispose();
    },
  );
}

function isCancellation(error: unknown): boolean {
  if (error instanceof HostProblemError) return error.code === 'cancelled';
  return error instanceof ForkpointError && error.code === 'operation.cancelled';
}

function describe(error: ForkpointError | HostProblemError): string {
  const parts = [`[${error.code}] ${error.message}`, error.hint, error.detail ?? ''];
  return hostLines(parts.filter((part) => part !== '').join('\n'));
}

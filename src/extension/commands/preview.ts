import type { Preview } from '../../protocol/operations.ts';
import type { SnapshotName } from '../../protocol/names.ts';
import type { Parts } from './parts.ts';
import type { WorkspaceTarget } from './target.ts';

/** The question opens with what is counted by then: a modal can't be changed while it is open. */
const PREVIEW_WAIT_MS = 1000;

/** What a restore would throw away, while it is being counted. */
interface RunningPreview {
  /** What is known as soon as all is, or after a second. */
  known(): Promise<Preview | null>;
  stop(): void;
}

/** Asks the host what going back to a snapshot would lose, while the user is asked something else or nothing yet. */
export function startPreview(
  { log }: Pick<Parts, 'log'>,
  { host, workspace }: WorkspaceTarget,
  snapshot: SnapshotName,
): RunningPreview {
  const cancellation = new AbortController();
  let latest: Preview | null = null;
  const whole = host.connection
    .request(
      'snapshots/preview',
      { container: workspace.id, name: snapshot },
      {
        signal: cancellation.signal,
        onProgress: ({ partial }) =>
          void readPreview(partial).then((preview) => (latest = preview ?? latest)),
      },
    )
    .then(
      (preview) => {
        latest = preview;
      },
      (error: unknown) => {
        // The question says that it is still counting; a host that can't answer fails what was asked for itself.
        if (!cancellation.signal.aborted) log.warn(`Preview of "${snapshot}" failed: ${String(error)}`);
      },
    );
  const deadline = new Promise<void>((resolve) => setTimeout(resolve, PREVIEW_WAIT_MS));
  return {
    known: async () => {
      await Promise.race([whole, deadline]);
      return latest;
    },
    stop: () => cancellation.abort(),
  };
}

/** What came in parts is checked before it is shown; the schemas are loaded by then for the connection. */
async function readPreview(partial: unknown): Promise<Preview | null> {
  if (partial === undefined) return null;
  const { PreviewSchema } = await import('../../protocol/operations.ts');
  const parsed = PreviewSchema.safeParse(partial);
  return parsed.success ? parsed.data : null;
}

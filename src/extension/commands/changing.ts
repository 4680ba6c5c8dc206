import type { OperationName, ParamsInput } from '../../protocol/operations.ts';
import { showFailure } from '../views/failures.ts';
import type { Parts } from './parts.ts';
import type { SnapshotTarget } from './target.ts';

/** Asks the host for a change of one snapshot; a failure is shown. */
export async function changeSnapshot<N extends Extract<OperationName, `snapshots/${string}`>>(
  { operations }: Pick<Parts, 'operations'>,
  title: string,
  { host, workspace, snapshot }: SnapshotTarget,
  operation: N,
  params: ParamsInput<N>,
): Promise<boolean> {
  const outcome = await operations.run(title, (context) =>
    host.connection.request(operation, params, context),
  );
  if (outcome.kind === 'failed') {
    showFailure(outcome.error, { host: host.id, workspace: workspace.id, snapshot: snapshot.name });
  }
  return outcome.kind === 'done';
}

import type { Params, Result } from '../../protocol/operations.ts';
import { readLastLines } from './logFile.ts';
import type { Paths } from './paths.ts';

/** Shows what the helper did. */
export function showLogs(paths: Paths, params: Params<'host/logs'>): Result<'host/logs'> {
  return readLastLines(paths.logFile, params.lines);
}

import type { Services } from '../service/services.ts';
import { examineHost } from './examineHost.ts';
import type { Log } from './log.ts';
import { showLogs } from './logs.ts';
import type { Paths } from './paths.ts';
import type { PoolMount } from './pool.ts';
import type { Run } from './run.ts';
import { setUpHost } from './setUpHost.ts';

/** The operations that work on a host without a pool. */
export type HostOperation = 'host/info' | 'host/setup' | 'host/logs';
export type HostServices = Pick<Services, HostOperation>;

/** What the operations on the host itself are made of. */
export interface HostParts {
  readonly paths: Paths;
  readonly run: Run;
  readonly log: Log;
  readonly pool: PoolMount;
}

/** The operations on the host itself. */
export function createHostServices(parts: HostParts): HostServices {
  return {
    'host/info': () => examineHost(parts),
    'host/setup': (params, call) => setUpHost(parts, params, call),
    'host/logs': (params) => Promise.resolve(showLogs(parts.paths, params)),
  };
}

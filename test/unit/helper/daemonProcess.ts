// A daemon process of its own under the directory given as the first argument, as `forkpoint daemon` is one under "/".
// Further arguments: its version, its digest. `host/trash` takes a second; `host/logs` tells the process id.
import { setTimeout as sleep } from 'node:timers/promises';
import { ALREADY_RUNNING_STATUS } from '../../../src/helper/host/daemonStatus.ts';
import { Daemon } from '../../../src/helper/doors/daemon.ts';
import { createLogFile } from '../../../src/helper/host/logFile.ts';
import { pathsUnder } from '../../../src/helper/host/paths.ts';
import { noReach, servicesWith } from './daemonHarness.ts';

async function main(): Promise<number> {
  const [root = '', version = '', digest = ''] = process.argv.slice(2);
  const paths = pathsUnder(root);
  const services = servicesWith({
    'host/trash': () => sleep(1000, []),
    'host/logs': () => Promise.resolve([String(process.pid)]),
  });
  const daemon = await Daemon.start({
    paths,
    log: createLogFile(paths.logFile),
    program: { version, file: '/test', digest },
    hostServices: {
      'host/info': services['host/info'],
      'host/setup': services['host/setup'],
      'host/logs': services['host/logs'],
    },
    pool: { ensure: () => Promise.resolve({ schema: 1, poolUuid: '', root: paths.pool }) },
    createServices: () =>
      Promise.resolve({
        services,
        reach: noReach,
        recover: () => Promise.resolve(),
        background: () => ({ stop: () => Promise.resolve(), hasWork: () => false, isBusy: () => false }),
      }),
    idleExitSeconds: 30,
    releaseMemory: () => undefined,
  });
  if (daemon === null) return ALREADY_RUNNING_STATUS;
  process.on('SIGTERM', () => void daemon.stop('SIGTERM'));
  await daemon.ended;
  return 0;
}

void main().then((status) => process.exit(status));

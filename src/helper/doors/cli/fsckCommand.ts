import { ForkpointError } from '../../../protocol/errors.ts';
import { checkHost, type DaemonAccess, type Report } from '../../fsck/fsck.ts';
import { fixOwnEnvironment } from '../../host/environment.ts';
import type { Log } from '../../host/log.ts';
import { createLogFile } from '../../host/logFile.ts';
import type { Paths } from '../../host/paths.ts';
import { thisProgram } from '../../host/program.ts';
import { startDaemon } from '../../host/startDaemon.ts';
import { Client } from '../client.ts';
import { connectIfServed, dial } from '../dial.ts';

/** A look changes nothing, the log included. */
const SILENT: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** Checks this host, and repairs what can be where that is asked for. */
export function checkThisHost(paths: Paths, options: { readonly repair: boolean }): Promise<Report> {
  fixOwnEnvironment();
  const log = options.repair ? createLogFile(paths.logFile) : SILENT;
  return checkHost({ ...options, now: new Date() }, { paths, log, daemon: daemonAt(paths) });
}

function daemonAt(paths: Paths): DaemonAccess {
  const program = thisProgram();
  return {
    isServing: async () => {
      const socket = await connectIfServed(paths.socket);
      socket?.destroy();
      return socket !== null;
    },
    retire: async () => {
      const socket = await connectIfServed(paths.socket);
      if (socket === null) return null;
      const client = new Client(socket);
      try {
        await client.hello(program);
        return await client.retire(program);
      } catch (error) {
        return ForkpointError.from(error).message;
      } finally {
        client.close();
      }
    },
    start: async () => {
      const client = await dial({ paths, program, startDaemon: () => startDaemon(paths, program) });
      client.close();
    },
  };
}

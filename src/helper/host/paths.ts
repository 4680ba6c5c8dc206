import * as path from 'node:path';

/** Every fixed place of the helper on its host, in one object that is handed over, so that a test can use others. */
export interface Paths {
  /** Root-only directory of the socket and the lock. */
  readonly runDirectory: string;
  readonly socket: string;
  /** Answers that a request repeated to the daemon's successor gets. */
  readonly answers: string;
  /** The file whose kernel lock makes a daemon the only one. */
  readonly lock: string;
  /** What this host was set up with, see hostFile.ts. */
  readonly hostFile: string;
  /** Where the pool is mounted, unless hostFile says otherwise. */
  readonly pool: string;
  /** The loop file that host/setup makes. */
  readonly poolFile: string;
  readonly logDirectory: string;
  readonly logFile: string;
  /** Holds one directory for each installed helper, named by its digest. */
  readonly libraryDirectory: string;
  /** The command that users and clients call. */
  readonly launcher: string;
  readonly unitFile: string;
}

/** The places under `root`; a host's are those under `/`. */
export function pathsUnder(root: string): Paths {
  const at = (place: string): string => path.join(root, place);
  return {
    runDirectory: at('run/forkpoint'),
    socket: at('run/forkpoint/forkpoint.sock'),
    answers: at('run/forkpoint/answers'),
    lock: at('run/forkpoint/lock'),
    hostFile: at('etc/forkpoint/host.json'),
    pool: at('var/lib/forkpoint'),
    poolFile: at('var/lib/forkpoint-pool.img'),
    logDirectory: at('var/log/forkpoint'),
    logFile: at('var/log/forkpoint/helper.log'),
    libraryDirectory: at('usr/local/lib/forkpoint'),
    launcher: at('usr/local/bin/forkpoint'),
    unitFile: at('etc/systemd/system/forkpoint.service'),
  };
}

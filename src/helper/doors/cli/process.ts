import { ForkpointError } from '../../../protocol/errors.ts';
import { pathsUnder } from '../../host/paths.ts';
import { thisProgram } from '../../host/program.ts';
import { startDaemon } from '../../host/startDaemon.ts';
import { dial } from '../dial.ts';
import { runCommandLine } from './commandLine.ts';

/** Exit status of a program ended by Ctrl-C, as shells report it. */
const INTERRUPTED_STATUS = 130;

/** Runs this process as the command `forkpoint`. */
export function runAsCommand(args: readonly string[]): Promise<number> {
  const interruption = new AbortController();
  process.on('SIGINT', () => {
    // The first asks the daemon to cancel, and the answer is waited for; the second leaves it to it.
    if (interruption.signal.aborted) process.exit(INTERRUPTED_STATUS);
    interruption.abort();
  });
  // A reader that has seen enough ("| head") is no failure.
  process.stdout.on('error', () => process.exit(0));
  const paths = pathsUnder('/');
  const requireRoot = (): void => {
    if (process.getuid?.() !== 0) throw new ForkpointError('host.needsRoot');
  };
  return runCommandLine(args, {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    showsProgress: process.stderr.isTTY,
    interrupted: interruption.signal,
    paths,
    connect: async () => {
      requireRoot();
      const program = thisProgram();
      return dial({ paths, program, startDaemon: () => startDaemon(paths, program) });
    },
    checkHost: async (options) => {
      requireRoot();
      // Loaded for this command alone: all others would wait for it.
      const { checkThisHost } = await import('./fsckCommand.ts');
      return checkThisHost(paths, options);
    },
  });
}

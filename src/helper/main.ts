import { ForkpointError } from '../protocol/errors.ts';
import { describeFailure, exitStatusOf, FAILED } from './doors/cli/failure.ts';

/** Chooses the door. Each is loaded alone, so that a client that only dials doesn't wait for what the daemon needs. */
async function open(args: readonly string[]): Promise<number> {
  const [verb, ...rest] = args;
  switch (verb) {
    case 'daemon': {
      const { runDaemon } = await import('./doors/daemon.ts');
      return runDaemon({ alsoToJournal: rest.includes('--journal') });
    }
    case 'dial-stdio': {
      const { dialStdio } = await import('./doors/stdio.ts');
      return dialStdio(rest);
    }
    case 'install': {
      const { installHere } = await import('./doors/install.ts');
      return installHere(rest);
    }
    case 'port-relay': {
      const { relayPorts } = await import('./doors/portRelay.ts');
      return relayPorts(rest[0] ?? '');
    }
    default: {
      const { runAsCommand } = await import('./doors/cli/process.ts');
      return runAsCommand(args);
    }
  }
}

// Node ends a process that waits for nothing that can come, with status 0: that must not look like an answer.
process.once('beforeExit', () => {
  process.stderr.write(
    describeFailure(new ForkpointError('internal', { problem: 'it ended without an answer' })),
  );
  process.exit(FAILED);
});

open(process.argv.slice(2)).then(
  (status) => process.exit(status),
  (error: unknown) => {
    const failure = ForkpointError.from(error);
    process.stderr.write(describeFailure(failure));
    process.exit(exitStatusOf(failure));
  },
);

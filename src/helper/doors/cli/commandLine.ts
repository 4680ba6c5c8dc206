import { CommanderError, type Command } from 'commander';
import * as z from 'zod';
import { ForkpointError } from '../../../protocol/errors.ts';
import type { OperationName, Result, Timing } from '../../../protocol/operations.ts';
import { TimingSchema } from '../../../protocol/operations.ts';
import type { Report } from '../../fsck/fsck.ts';
import { readLastLines } from '../../host/logFile.ts';
import type { Paths } from '../../host/paths.ts';
import { checkParameters } from '../parameters.ts';
import type { Client } from '../client.ts';
import { carry } from './carrying.ts';
import { renderReport } from './fsckReport.ts';
import {
  describeFailure,
  exitStatusOf,
  exitStatusOfResult,
  FAILED,
  failureAsJson,
  MISUSED,
  SUCCEEDED,
} from './failure.ts';
import { buildProgram, type Request } from './program.ts';
import { render, renderTiming } from './render.ts';

/** What the command line is given of the world. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Whether stderr is a terminal, on which progress is shown. */
  readonly showsProgress: boolean;
  /** Aborted by Ctrl-C. */
  readonly interrupted: AbortSignal;
  readonly paths: Paths;
  /** Reaches the daemon; rejected with `host.needsRoot` for anyone but root. */
  connect(): Promise<Client>;
  /** Checks pool and host, also when the daemon does not answer; rejected with `host.needsRoot` for anyone but root. */
  checkHost(options: { readonly repair: boolean }): Promise<Report>;
}

const TimedSchema = z.object({ timing: TimingSchema });
const NamedSchema = z.object({ name: z.string() });

/** Erases the line of the terminal that the cursor is in (ECMA-48: CR, EL). */
const ERASE_LINE = '\r\u001b[2K';

/** Runs one command of the command line; `args` are the words after `forkpoint`. Answers the exit status. */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<number> {
  const wantsJson = args.slice(0, args.includes('--') ? args.indexOf('--') : undefined).includes('--json');
  const complain = (failure: ForkpointError): number => {
    terminal.err(wantsJson ? failureAsJson(failure) : describeFailure(failure));
    return exitStatusOf(failure);
  };
  let status = SUCCEEDED;
  const program = buildProgram({
    run: async (request) => {
      status = await runRequest(request, terminal);
    },
    carry: async (command) => {
      status = await carry(command, () => terminal.connect());
    },
    checkHost: async ({ repair, asJson }) => {
      const report = await terminal.checkHost({ repair });
      terminal.out(asJson ? `${JSON.stringify(report, null, 2)}\n` : renderReport(report));
      status = report.problems.length === 0 ? SUCCEEDED : FAILED;
    },
    showLog: (lines) => {
      if (process.getuid?.() !== 0) throw new ForkpointError('host.needsRoot');
      terminal.out(
        readLastLines(terminal.paths.logFile, lines)
          .map((line) => `${line}\n`)
          .join(''),
      );
    },
  });
  const output = {
    writeOut: (text: string) => terminal.out(text),
    writeErr: (text: string) => terminal.err(text),
    // Usage errors are told below, in the form that was asked for.
    outputError: () => undefined,
  };
  const configure = (command: Command): void => {
    command.configureOutput(output);
    command.commands.forEach(configure);
  };
  configure(program);
  try {
    await program.parseAsync(args, { from: 'user' });
    return status;
  } catch (error) {
    if (!(error instanceof CommanderError)) return complain(ForkpointError.from(error));
    if (error.exitCode === 0) return SUCCEEDED;
    // "forkpoint" and "forkpoint snapshots" alone have shown the help.
    if (error.code === 'commander.help') return MISUSED;
    return complain(
      new ForkpointError('request.invalid', {
        problem: error.message.replace(/^error: /, '').replaceAll('\n', ' '),
      }),
    );
  }
}

async function runRequest(request: Request, terminal: Terminal): Promise<number> {
  const { operation, asJson, showsTiming } = request;
  checkParameters(operation, request.params);
  const client = await terminal.connect();
  const showsSteps = terminal.showsProgress && !asJson;
  try {
    const result = await client.call(operation, request.params, {
      signal: terminal.interrupted,
      onProgress: ({ step }) => {
        if (showsSteps && step !== '') terminal.err(`${ERASE_LINE}${operation}: ${step} …`);
      },
    });
    if (showsSteps) terminal.err(ERASE_LINE);
    show(request, result, terminal);
    if (showsTiming && !asJson)
      for (const { title, timing } of timingsOf(result)) terminal.out(`\n${renderTiming(timing, title)}\n`);
    return exitStatusOfResult(operation, result);
  } catch (error) {
    if (showsSteps) terminal.err(ERASE_LINE);
    throw error;
  } finally {
    client.close();
  }
}

function show<N extends OperationName>(
  { operation, params, asJson }: Request & { readonly operation: N },
  result: Result<N>,
  terminal: Terminal,
): void {
  const text = asJson ? JSON.stringify(result, null, 2) : render(operation, result, Date.now(), params);
  terminal.out(`${text}\n`);
}

/** What a result says of its steps: one timing, or, of forks, one of each under its name. */
function timingsOf(result: unknown): { title?: string; timing: Timing }[] {
  if (Array.isArray(result))
    return result.flatMap((one) =>
      timingsOf(one).map(({ timing }) => ({ title: NamedSchema.parse(one).name, timing })),
    );
  const { data } = TimedSchema.safeParse(result);
  return data === undefined ? [] : [data];
}

import { Argument, Command, Option } from 'commander';
import * as path from 'node:path/posix';
import type * as z from 'zod';
import { isOperationName, operations, type OperationName } from '../../../protocol/operations.ts';
import { ForkpointError } from '../../../protocol/errors.ts';
import { NAME_PATTERN, visible } from '../../../protocol/names.ts';
import { helperVersion } from '../../host/program.ts';
import type { Carrying } from './carrying.ts';
import { kebabCase, spell, type Spelling } from './spelling.ts';

/** What a person asked for. */
export interface Request {
  readonly operation: OperationName;
  /** As written, not yet checked against the table. */
  readonly params: Readonly<Record<string, unknown>>;
  readonly asJson: boolean;
  readonly showsTiming: boolean;
}

/** What the command line does with what was asked for. */
export interface Actions {
  run(request: Request): Promise<void>;
  /** Joins this process's standard input and output to something in a workspace. */
  carry(command: Carrying): Promise<void>;
  /** Checks pool and host without the daemon. */
  checkHost(options: { readonly repair: boolean; readonly asJson: boolean }): Promise<void>;
  /** Shows the log without the daemon. */
  showLog(lines: number): void;
}

const groups: Readonly<Record<string, string>> = {
  containers: 'Workspaces: containers whose whole state can be snapshotted',
  snapshots: 'Snapshots of a workspace',
  terminal: 'Terminals in a workspace',
  ports: 'Ports of a workspace',
  ssh: 'SSH into a workspace',
  host: 'This host: its health, its pool, its log',
  api: 'The HTTP API, which is off until it is switched on',
  'api/token': 'Tokens of the HTTP API',
};

const epilogue = `
Snapshots are named by name or alias, workspaces by id or name. Every command takes --json.
Exit status: 0 done, 1 failed, 2 not understood.

Examples:
  forkpoint containers create web --rootfs ./debian --publish 8080:80 -- /usr/sbin/nginx
  forkpoint snapshots create -c web --alias before-migration --expiry 7
  forkpoint snapshots restore -c web --name before-migration
  forkpoint fsck`;

/** Builds the command line from the table of operations. */
export function buildProgram(actions: Actions): Command {
  const program = new Command('forkpoint')
    .description('Snapshots and restores workspace containers: files, processes and memory')
    .version(helperVersion, '--version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .addHelpText('after', epilogue)
    .showSuggestionAfterError()
    .exitOverride();
  const commands = new Map<string, Command>();
  for (const [group, description] of Object.entries(groups)) {
    const parent = commands.get(path.dirname(group)) ?? program;
    const command = parent.command(path.basename(group)).description(description);
    commands.set(group, command.helpCommand(false).exitOverride());
  }
  for (const name of Object.keys(operations)) {
    const group = commands.get(path.dirname(name));
    if (isOperationName(name) && group !== undefined) addOperation(group, name, actions);
  }
  for (const [group, command] of commands) addCarrying(group, command, actions);
  program
    .command('fsck')
    .description(
      'Look for damage to workspaces and snapshots, and for what a crash has left; 1 when there is some',
    )
    .option('--repair', 'mend what can be mended; deletes nothing that could be an only copy')
    .option('--json', 'print the report, or the error, as JSON')
    .exitOverride()
    .action(({ repair = false, json = false }: { repair?: boolean; json?: boolean }) =>
      actions.checkHost({ repair, asJson: json }),
    );
  program
    .command('logs')
    .description('Show what the helper did, also when its daemon does not answer')
    .addOption(
      new Option('-n, --lines <count>', 'how many of the last lines').default(200).argParser(readCount),
    )
    .exitOverride()
    .action(({ lines }: { lines: number }) => actions.showLog(lines));
  return program;
}

/** The commands that are no operations, because bytes go through them. */
function addCarrying(group: string, command: Command, actions: Actions): void {
  const add = (verb: string, description: string): Command =>
    command
      .command(verb)
      .description(description)
      .requiredOption('-c, --container <id>', 'Id or name of the workspace')
      .exitOverride();
  const container = (options: { container: string }): string => checkedName(options.container);
  if (group === 'terminal') {
    add('exec', 'Run a command inside; input, output and exit status are its own')
      .argument('<command...>', 'the command and its arguments, after --')
      .action((words: string[], options: { container: string }) =>
        actions.carry({ kind: 'exec', container: container(options), command: words }),
      );
    add('attach', 'Open a terminal inside that snapshots keep, or come back to it')
      .option('--session <name>', 'name of the session', 'main')
      .action((options: { container: string; session: string }) =>
        actions.carry({ kind: 'attach', container: container(options), session: options.session }),
      );
  }
  if (group === 'ports') {
    add('dial', 'Join standard input and output to a port, loopback ones included')
      .addArgument(new Argument('<port>', 'the port').argParser(readPortNumber))
      .action((port: number, options: { container: string }) =>
        actions.carry({ kind: 'dial', container: container(options), port }),
      );
  }
  if (group === 'ssh') {
    add('proxy', "Join standard input and output to the workspace's SSH server: for ProxyCommand").action(
      (options: { container: string }) =>
        actions.carry({ kind: 'dial', container: container(options), port: 'ssh' }),
    );
  }
}

function checkedName(text: string): string {
  if (!NAME_PATTERN.test(text)) throw new ForkpointError('name.invalid', { name: visible(text) });
  return text;
}

function readPortNumber(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw new ForkpointError('request.invalid', { problem: `"${visible(text)}" is not a port` });
  return port;
}

function addOperation(group: Command, operation: OperationName, actions: Actions): void {
  const { description, params, cli } = operations[operation];
  const command = group.command(path.basename(operation)).description(description).exitOverride();
  const shape: Readonly<Record<string, z.ZodType>> = params.shape;
  const spellings = Object.entries(shape).map(([name, schema]) => spell(name, schema));
  const positionals = spellings.filter(({ name }) => cli.positionals?.includes(name));
  const rest = spellings.find(({ name }) => name === cli.rest);
  const options = spellings.filter((spelling) => !positionals.includes(spelling) && spelling !== rest);

  for (const { name, description: text, isRequired } of positionals) {
    command.argument(isRequired ? `<${name}>` : `[${name}]`, text);
  }
  if (rest !== undefined) command.argument(`[${rest.name}...]`, `${rest.description}, after --`);
  for (const spelling of options) command.addOption(optionFor(spelling, cli.clears === spelling.name));
  if (cli.clears !== undefined)
    command.addOption(new Option('--clear', `remove the ${cli.clears}`).conflicts(cli.clears));
  command.option('--json', 'print the result, or the error, as JSON');
  command.option('--timing', 'print how long each step took');

  command.action(async () => {
    const given: Readonly<Record<string, unknown>> = command.opts();
    const values: Record<string, unknown> = {};
    positionals.forEach(({ name }, index) => (values[name] = command.args[index]));
    if (rest !== undefined && command.args.length > positionals.length) {
      values[rest.name] = command.args.slice(positionals.length);
    }
    for (const { name } of options) if (given[name] !== undefined) values[name] = given[name];
    if (cli.clears !== undefined) {
      if (given['clear'] === true) values[cli.clears] = null;
      else if (values[cli.clears] === undefined) {
        throw new ForkpointError('request.invalid', {
          problem: `give --${kebabCase(cli.clears)} or --clear`,
        });
      }
    }
    await actions.run({
      operation,
      params: values,
      asJson: given['json'] === true,
      showsTiming: given['timing'] === true,
    });
  });
}

function optionFor(spelling: Spelling, canBeCleared: boolean): Option {
  const { name, description, placeholder, choices, defaultValue } = spelling;
  const short = name === 'container' ? '-c, ' : '';
  const flags = `${short}--${kebabCase(name)}${placeholder === null ? '' : ` <${placeholder}>`}`;
  const shown =
    typeof defaultValue === 'string' || typeof defaultValue === 'number'
      ? ` (default: ${String(defaultValue)})`
      : '';
  const option = new Option(flags, `${description}${shown}`);
  if (choices !== null) option.choices(choices);
  else if (placeholder !== null) option.argParser(spelling.parse);
  if (spelling.isRequired && !canBeCleared) option.makeOptionMandatory();
  return option;
}

function readCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) {
    throw new ForkpointError('request.invalid', { problem: `"${text}" is not a number of lines` });
  }
  return count;
}

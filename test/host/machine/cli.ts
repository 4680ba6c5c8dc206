import { Command, InvalidArgumentError, Option } from 'commander';
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { provideArtefacts } from './build.ts';
import { bootHost, defaultHostName, endHost, enterOptions, findHost, listHosts } from './machine.ts';
import { provideImages } from '../vm/images.ts';
import { installPrerequisites } from './prerequisites.ts';
import { report } from './progress.ts';
import { TestHostError } from './testHostError.ts';

interface NameOption {
  readonly name: string;
}

const program = new Command('host')
  .description('A real Debian host in its own namespaces, to run Forkpoint on.')
  .enablePositionalOptions();

program
  .command('prepare')
  .description('install what the machine lacks (apt-get) and build what hosts are made from')
  .option('--yes', 'install without asking', false)
  .option('--vm', "the virtual machine's images too", false)
  .action(async ({ yes, vm }: { yes: boolean; vm: boolean }) => {
    await installPrerequisites({ assumeYes: yes });
    await provideArtefacts();
    if (vm) await provideImages();
  });

program
  .command('up')
  .description('boot a host; prints one line of JSON')
  .option('--name <name>', "the host's name", defaultHostName)
  .option('--pool-size <GiB>', 'size of the btrfs pool; its file is sparse', parseGibibytes)
  .addOption(new Option('--cgroups <version>', 'which cgroups it sees').choices(['1', '2']))
  .option(
    '--vm',
    'a whole virtual machine, with systemd and a kernel of its own; several times slower',
    false,
  )
  .option('--replace', 'end a host of that name first', false)
  .option('--no-helper', 'leave the helper to be installed by others')
  .action(
    async (
      options: NameOption & {
        poolSize?: number;
        cgroups?: '1' | '2';
        vm: boolean;
        replace: boolean;
        helper: boolean;
      },
    ) => {
      const started = Date.now();
      const host = await bootHost({
        name: options.name,
        ...(options.vm ? { machine: 'vm' as const } : {}),
        ifRunning: options.replace ? 'replace' : 'refuse',
        installsHelper: options.helper,
        ...(options.poolSize === undefined ? {} : { poolSizeBytes: options.poolSize }),
        ...(options.cgroups === undefined ? {} : { cgroupVersion: options.cgroups === '1' ? 1 : 2 }),
      });
      report(`"${host.name}" is up after ${((Date.now() - started) / 1000).toFixed(1)} s`);
      process.stdout.write(`${JSON.stringify(host.description)}\n`);
    },
  );

program
  .command('exec')
  .description("run a command as root in a host; stdin, stdout and exit status are the command's")
  .option('--name <name>', "the host's name", defaultHostName)
  .argument('<command...>')
  .passThroughOptions()
  .action(async (argv: string[], { name }: NameOption) => {
    const host = await findHost(name);
    await become(await host.enterArguments(argv), enterOptions);
  });

program
  .command('ssh')
  .description('open a shell in a host as user "dev", or run a command')
  .option('--name <name>', "the host's name", defaultHostName)
  .argument('[command...]')
  .passThroughOptions()
  .action(async (argv: string[], { name }: NameOption) => {
    const host = await findHost(name);
    await become(['ssh', ...host.sshArguments(), ...argv], {});
  });

program
  .command('down')
  .description('end a host; nothing of it remains')
  .option('--name <name>', "the host's name", defaultHostName)
  .option('--all', 'end every host', false)
  .action(async ({ name, all }: NameOption & { all: boolean }) => {
    for (const host of all ? await listHosts() : [name]) await endHost(host);
  });

function parseGibibytes(text: string): number {
  const gibibytes = Number(text);
  if (!(gibibytes >= 1)) throw new InvalidArgumentError('Give a number of GiB, at least 1.');
  return Math.round(gibibytes * 1024 ** 3);
}

/** Runs a command with this process's stdio and ends as it ended. */
async function become(
  [command, ...args]: [string, ...string[]],
  options: { cwd?: string; env?: NodeJS.ProcessEnv },
): Promise<void> {
  const child = spawn(command, args, { stdio: 'inherit', ...options });
  // The terminal sends these to the child, too, which decides what they mean.
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, () => undefined);
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof TestHostError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

import { installEditor } from './install.ts';
import { installPrerequisites } from './prerequisites.ts';

/** `tsx test/workbench/editor/cli.ts prepare [--yes]`: everything that the workbench tests need, ahead of time. */
async function main([verb, ...flags]: readonly string[]): Promise<number> {
  const unknown = flags.filter((flag) => flag !== '--yes');
  if (verb !== 'prepare' || unknown.length > 0) {
    process.stderr.write('Usage: tsx test/workbench/editor/cli.ts prepare [--yes]\n');
    return 2;
  }
  await installPrerequisites({ assumeYes: flags.includes('--yes') });
  await installEditor((line) => process.stderr.write(`${line}\n`));
  return 0;
}

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  },
);

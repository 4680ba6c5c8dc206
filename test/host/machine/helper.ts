import { execa } from 'execa';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { installProgram } from '../../../src/protocol/install.ts';
import { repositoryDirectory } from './paths.ts';
import { report } from './progress.ts';
import { TestHostError } from './testHostError.ts';

const helperFile = join(repositoryDirectory, 'dist/helper.cjs');
/** An emulated machine takes long to start Node. */
const installTimeoutMs = 300_000;

/**
 * Installs the built helper as the extension does: the install program goes to `node -` under sudo over SSH.
 * Where it is not built, says so on stderr and does nothing.
 * @param sshArguments arguments of `ssh` that reach the host as a user who may sudo without a password
 * @throws {TestHostError} with what the helper said when it can't be installed
 */
export async function installHelper(sshArguments: readonly string[]): Promise<void> {
  if (!existsSync(helperFile)) {
    report('no helper is installed: dist/helper.cjs is not built ("npm run build" does it)');
    return;
  }
  const program = installProgram(
    (await readFile(helperFile)).toString('base64'),
    randomBytes(8).toString('hex'),
  );
  const { exitCode, stdout, stderr } = await execa(
    'ssh',
    [...sshArguments, 'sudo', '-n', '/usr/bin/node', '-'],
    {
      input: program,
      timeout: installTimeoutMs,
      reject: false,
    },
  );
  if (exitCode !== 0) {
    throw new TestHostError(
      `The helper could not be installed on the test host. It said: ${stderr || stdout}`,
    );
  }
}

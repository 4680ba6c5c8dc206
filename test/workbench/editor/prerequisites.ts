import { constants } from 'node:fs';
import { access, readdir } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { execa } from 'execa';

/** `editor` is what {@link installEditor} needs to build; `browser` is what opens its window. */
export type Purpose = 'editor' | 'browser';

/** A Debian package, and how to see that what it brings is there already, whoever installed it. */
interface Prerequisite {
  package: string;
  purpose: Purpose;
  isPresent: () => Promise<boolean>;
}

const prerequisites: readonly Prerequisite[] = [
  {
    package: 'python3',
    purpose: 'editor',
    isPresent: async () => (await findProgram('python3')) !== undefined,
  },
  { package: 'make', purpose: 'editor', isPresent: async () => (await findProgram('make')) !== undefined },
  { package: 'g++', purpose: 'editor', isPresent: async () => (await findProgram('g++')) !== undefined },
  { package: 'chromium', purpose: 'browser', isPresent: async () => (await findBrowser()) !== undefined },
  // Chromium only recommends fonts; without any, every letter is an empty box.
  { package: 'fonts-dejavu-core', purpose: 'browser', isPresent: hasFonts },
];

/**
 * Installs the missing Debian packages with apt. Asks first when someone is at the terminal, unless `assumeYes`;
 * otherwise it says what it installs and goes on. Throws a sentence that names the packages when it can't.
 */
export async function installPrerequisites({
  assumeYes,
  purposes = ['editor', 'browser'],
}: {
  assumeYes: boolean;
  purposes?: readonly Purpose[];
}): Promise<void> {
  const missing: string[] = [];
  for (const prerequisite of prerequisites) {
    if (purposes.includes(prerequisite.purpose) && !(await prerequisite.isPresent()))
      missing.push(prerequisite.package);
  }
  if (missing.length === 0) return;
  const names = missing.join(' ');
  const apt = await findProgram('apt-get');
  if (apt === undefined) {
    throw new Error(
      `This machine lacks ${names} (Debian's names) and has no apt-get: install them, then try again.`,
    );
  }
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && (await findProgram('sudo')) === undefined) {
    throw new Error(
      `This machine lacks ${names}. Install them as root ("apt-get install ${names}"), then try again.`,
    );
  }
  if (
    !assumeYes &&
    process.stdin.isTTY &&
    process.stderr.isTTY &&
    !(await confirm(`Install ${names} with apt?`))
  ) {
    throw new Error(`The workbench needs ${names}: "apt-get install ${names}", then try again.`);
  }

  process.stderr.write(`Installing ${names} with apt…\n`);
  const [program, ...prefix] = isRoot
    ? (['env', 'DEBIAN_FRONTEND=noninteractive', apt] as const)
    : (['sudo', 'env', 'DEBIAN_FRONTEND=noninteractive', apt] as const);
  for (const args of [
    ['update', '-qq'],
    ['install', '-y', '-qq', '--no-install-recommends', ...missing],
  ]) {
    const { exitCode, all } = await execa(program, [...prefix, ...args], { reject: false, all: true });
    if (exitCode !== 0) {
      throw new Error(`"apt-get ${args.join(' ')}" failed:\n${all.split('\n').slice(-8).join('\n')}`);
    }
  }
}

/** The Chromium that drives the tests: `CHROMIUM_PATH`, or the first of the usual names on the PATH. */
export async function findBrowser(): Promise<string | undefined> {
  const chosen = process.env['CHROMIUM_PATH'];
  if (chosen !== undefined && chosen !== '') return chosen;
  for (const name of ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']) {
    const found = await findProgram(name);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function findProgram(name: string): Promise<string | undefined> {
  for (const directory of (process.env['PATH'] ?? '').split(path.delimiter)) {
    const file = path.join(directory, name);
    const isExecutable = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (directory !== '' && isExecutable) return file;
  }
  return undefined;
}

async function hasFonts(): Promise<boolean> {
  const families = await readdir('/usr/share/fonts/truetype').catch((): string[] => []);
  return families.length > 0;
}

async function confirm(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^(y(es)?)?$/i.test((await terminal.question(`${question} [Y/n] `)).trim());
  } finally {
    terminal.close();
  }
}

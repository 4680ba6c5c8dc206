import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import { MEMORY_ENVIRONMENT, SEARCH_PATH } from './environment.ts';
import type { Paths } from './paths.ts';

/** Where a helper with that digest is installed. */
export function helperFile(paths: Paths, digest: string): string {
  return path.join(paths.libraryDirectory, digest, 'helper.cjs');
}

/** The helper that the launcher starts; null when there is no launcher of ours. */
export function currentHelper(paths: Paths): { digest: string; file: string } | null {
  let text: string;
  try {
    text = readFileSync(paths.launcher, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
  const digest = /\/([0-9a-f]{64})\/helper\.cjs/.exec(text)?.[1];
  return digest === undefined ? null : { digest, file: helperFile(paths, digest) };
}

/**
 * The launcher's text: the helper, run by `node` with an environment in which nothing is the caller's (H50). TERM is
 * kept for the terminal's sake; env(1) passes it as one word whatever it holds. The daemon drops what is for its own memory.
 */
export function launcherText(node: string, helper: string): string {
  const memory = Object.entries(MEMORY_ENVIRONMENT).map(([name, value]) => `${name}=${value}`);
  return `#!/bin/sh
# Forkpoint: starts the helper, written by its installation.
exec /usr/bin/env -i PATH=${SEARCH_PATH} LANG=C.UTF-8 HOME=/root ${memory.join(' ')} TERM="\${TERM:-dumb}" ${quote(node)} ${quote(helper)} "$@"
`;
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

import type * as library from './ssh2Bundle.ts';

/** What is used of ssh2. */
export type Ssh2Library = typeof library;

/** Loads ssh2 from its own bundle beside this program's. */
export function loadBundledSsh2(): Promise<Ssh2Library> {
  // The build leaves this path alone, and so the file is found beside dist/extension.js when it is first needed.
  // oxlint-disable-next-line typescript/no-require-imports
  return Promise.resolve(require('./ssh2.js') as Ssh2Library);
}

import { createHash } from 'node:crypto';
import { readFileSync, realpathSync } from 'node:fs';
import { version } from '../../../package.json';

/** The helper that runs here. */
export interface Program {
  readonly version: string;
  /** Its one file. */
  readonly file: string;
  /** SHA-256 of the file, in hexadecimal. */
  readonly digest: string;
}

/** Reads which helper this process runs. */
export function thisProgram(): Program {
  const file = realpathSync(process.argv[1] ?? '');
  return { version, file, digest: digestOf(readFileSync(file)) };
}

/** Version of this helper. */
export const helperVersion: string = version;

/** SHA-256 of `bytes`, in hexadecimal. */
export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

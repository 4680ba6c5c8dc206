import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { HelperProgram } from './host.ts';

/** Reads the helper that came with the extension (dist/helper.cjs), once. */
export function helperProgramReader(file: string, version: string): () => Promise<HelperProgram> {
  let program: Promise<HelperProgram> | null = null;
  return () => (program ??= read(file, version));
}

async function read(file: string, version: string): Promise<HelperProgram> {
  const bytes = await readFile(file);
  return {
    base64: bytes.toString('base64'),
    digest: createHash('sha256').update(bytes).digest('hex'),
    version,
  };
}

import { rename, writeFile } from 'node:fs/promises';

/** Writes a file so that a reader finds the old one or the whole new one. It may be lost with the power; see durableFile.ts. */
export async function replaceFile(file: string, content: string | Uint8Array, mode: number): Promise<void> {
  await writeFile(`${file}.tmp`, content, { mode });
  await rename(`${file}.tmp`, file);
}

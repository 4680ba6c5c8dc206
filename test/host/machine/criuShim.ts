import { execa } from 'execa';
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { artefactsDirectory, ownFile } from './paths.ts';
import { report } from './progress.ts';

/** Where the wrapped CRIU lies in the host; its name stays `criu`, which is what `ps` shows. */
const realCriu = 'usr/lib/test-host/criu';
const shimInHost = 'usr/lib/test-host/criu-rlimit-shim.so';

/**
 * Wraps the host's `criu` so that it works without CAP_SYS_RESOURCE, and says so in one line.
 * @param root the cached root that CRIU is taken from
 * @param upper the host's own layer, which the wrapper goes to
 */
export async function wrapCriu(root: string, upper: string): Promise<void> {
  report('CAP_SYS_RESOURCE is missing on this machine: criu runs with a shim, in the test host only');
  await mkdir(join(upper, 'usr/lib/test-host'), { recursive: true });
  await mkdir(join(upper, 'usr/sbin'), { recursive: true });
  await copyFile(await compileShim(), join(upper, shimInHost));
  await copyFile(join(root, 'usr/sbin/criu'), join(upper, realCriu));
  await chmod(join(upper, realCriu), 0o755);
  await writeFile(
    join(upper, 'usr/sbin/criu'),
    `#!/bin/sh\nLD_PRELOAD=/${shimInHost} exec /${realCriu} "$@"\n`,
    { mode: 0o755 },
  );
}

/** The compiled shim, from the cache when its source is unchanged. */
async function compileShim(): Promise<string> {
  const source = ownFile('criu-rlimit-shim.c');
  const digest = createHash('sha256')
    .update(await readFile(source))
    .digest('hex')
    .slice(0, 16);
  const compiled = join(artefactsDirectory, `criu-rlimit-shim-${digest}.so`);
  if (existsSync(compiled)) return compiled;
  await mkdir(artefactsDirectory, { recursive: true });
  const partial = `${compiled}.${process.pid}`;
  await execa('gcc', ['-shared', '-fPIC', '-O2', '-o', partial, source]);
  await rename(partial, compiled);
  return compiled;
}

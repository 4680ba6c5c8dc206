import { readFile } from 'node:fs/promises';
import * as os from 'node:os';
import type { ImageOrigin } from '../catalogue/records.ts';
import { compareVersions } from '../host/version.ts';
import type { Run } from '../host/run.ts';

/** Reads what the images of this host depend on. */
export async function readImageOrigin(run: Run, runtime: string): Promise<ImageOrigin> {
  const [criu, oci, cpuinfo] = await Promise.all([
    run('criu', ['--version']),
    run(runtime, ['--version']),
    readFile('/proc/cpuinfo', 'utf8'),
  ]);
  return {
    kernel: os.release(),
    architecture: os.arch(),
    criu: /^Version:\s*(\S+)/m.exec(criu.stdout)?.[1] ?? 'unknown',
    runtime: oci.stdout.split('\n', 1)[0] ?? runtime,
    cpuFlags: (/^flags\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '').split(' ').filter(Boolean).sort(),
  };
}

/** Why images of `origin` can't be woken where `here` is; null when they can. Kernels may differ: CRIU adapts to them. */
export function incompatibility(origin: ImageOrigin, here: ImageOrigin): string | null {
  if (origin.architecture !== here.architecture) {
    return `they were made on ${origin.architecture}, this host is ${here.architecture}`;
  }
  if (compareVersions(origin.criu, here.criu) > 0) {
    return `they were made by CRIU ${origin.criu}, this host has the older ${here.criu}`;
  }
  const missing = origin.cpuFlags.filter((flag) => !here.cpuFlags.includes(flag));
  // Programs choose their code by these when they start, and would meet an illegal instruction.
  if (missing.length > 0) return `this processor lacks ${missing.slice(0, 5).join(', ')}`;
  return null;
}

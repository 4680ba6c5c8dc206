import { chmod, stat } from 'node:fs/promises';
import * as path from 'node:path';
import { RIGHTS_OF_OTHERS } from '../host/rights.ts';
import type { Run } from '../host/run.ts';
import { PODMAN_ENVIRONMENT } from './podmanEnvironment.ts';

/**
 * Podman's database, which holds the environment of all containers. Podman makes it for everybody to read, in a directory of
 * root alone; but where systemd-tmpfiles makes that directory first, everybody may enter it (Debian's podman.conf in
 * /usr/lib/tmpfiles.d has only the mode of a directory below).
 * @throws `command.failed`
 */
export async function findDatabase(run: Run): Promise<string> {
  const { stdout } = await run('podman', ['info', '--format', '{{.Store.GraphRoot}}'], {
    env: PODMAN_ENVIRONMENT,
  });
  return path.join(stdout.trim(), 'db.sql');
}

/** Takes others' rights to a database away; what SQLite puts beside it gets the same. Older versions of Podman have none. */
export async function closeDatabase(file: string): Promise<void> {
  const mode = await modeOf(file);
  if (mode !== null && (mode & RIGHTS_OF_OTHERS) !== 0) await chmod(file, mode & ~RIGHTS_OF_OTHERS);
}

/** Whether others than its owner may come near to it. */
export async function isReachable(file: string): Promise<boolean> {
  return (((await modeOf(path.dirname(file))) ?? 0) & RIGHTS_OF_OTHERS) !== 0;
}

async function modeOf(place: string): Promise<number | null> {
  return stat(place).then(
    (stats) => stats.mode & 0o7777,
    () => null,
  );
}

/** Directories that the helper's commands are looked for in; nothing of the caller's. */
export const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Names a step at which the daemon kills itself; set by the tests of crashes only. */
const CRASH_SWITCH = 'FORKPOINT_CRASH_AT';

/** The environment of the daemon and of all its commands: nothing of the caller's reaches them (H50). */
export function fixedEnvironment(inherited: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const crashAt = inherited[CRASH_SWITCH];
  return {
    PATH: SEARCH_PATH,
    LANG: 'C.UTF-8',
    HOME: '/root',
    ...(crashAt === undefined ? {} : { [CRASH_SWITCH]: crashAt }),
  };
}

/**
 * What the C library reads when the daemon starts, mallopt(3): one arena for all threads of Node, instead of up to eight
 * for each processor that keep what was freed in them; and what is freed at the end of it is given back, however much had
 * been asked for before.
 */
export const MEMORY_ENVIRONMENT = { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '131072' } as const;

/** Replaces this process's environment by the fixed one. */
export function fixOwnEnvironment(): void {
  const fixed = fixedEnvironment();
  for (const name of Object.keys(process.env)) {
    if (!Object.hasOwn(fixed, name)) Reflect.deleteProperty(process.env, name);
  }
  Object.assign(process.env, fixed);
}

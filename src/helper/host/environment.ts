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

/** Replaces this process's environment by the fixed one. */
export function fixOwnEnvironment(): void {
  const fixed = fixedEnvironment();
  for (const name of Object.keys(process.env)) {
    if (!Object.hasOwn(fixed, name)) Reflect.deleteProperty(process.env, name);
  }
  Object.assign(process.env, fixed);
}

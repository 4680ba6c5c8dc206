import type { Parts } from './parts.ts';
import type { CommandHandler } from './registry.ts';

/** Show Log: the story of every operation, with its times. */
export function showLog({ log }: Parts): CommandHandler {
  return () => {
    log.show();
    return Promise.resolve();
  };
}

import { hostLines } from './hostText.ts';

/** Where a connection tells its story, one line a step; a `vscode.LogOutputChannel` is one. Never given a secret. */
export interface Log {
  debug(line: string): void;
  info(line: string): void;
  warn(line: string): void;
  error(line: string): void;
}

/** The log of one host: its lines begin with the host as the user spells it, whatever the host has sent. */
export function logOfHost(log: Log, id: string): Log {
  const tell =
    (write: (line: string) => void) =>
    (line: string): void =>
      write(`[${id}] ${hostLines(line)}`);
  return {
    debug: tell((line) => log.debug(line)),
    info: tell((line) => log.info(line)),
    warn: tell((line) => log.warn(line)),
    error: tell((line) => log.error(line)),
  };
}

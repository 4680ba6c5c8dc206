/** Where a connection tells its story, one line a step; a `vscode.LogOutputChannel` is one. Never given a secret. */
export interface Log {
  debug(line: string): void;
  info(line: string): void;
  warn(line: string): void;
  error(line: string): void;
}

/** How a command is run inside a container. */
export interface ExecOptions {
  /** Whether it reads what it is given on its standard input. */
  readonly isInteractive: boolean;
  /** Whether it gets a terminal of its own; its output and errors are then one stream. */
  readonly hasTerminal: boolean;
  /** Environment variables beside the container's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** The container's own user unless given. */
  readonly user?: string;
}

/** Arguments for Podman that run `argv` inside a container, with the exit status of `argv`. */
export function execArguments(
  engine: { readonly container: string },
  options: ExecOptions,
  argv: readonly string[],
): string[] {
  return [
    'exec',
    ...(options.isInteractive ? ['--interactive'] : []),
    // Ctrl-P is a key of shells and editors, which Podman would hold back to see whether Ctrl-Q follows.
    ...(options.hasTerminal ? ['--tty', '--detach-keys='] : []),
    ...(options.user === undefined ? [] : [`--user=${options.user}`]),
    ...Object.entries(options.env ?? {}).map(([name, value]) => `--env=${name}=${value}`),
    engine.container,
    ...argv,
  ];
}

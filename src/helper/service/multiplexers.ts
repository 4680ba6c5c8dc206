import { multiplexers, type Multiplexer } from '../../protocol/reach.ts';

/** Lines of scrollback that a session keeps. */
const HISTORY_LINES = 10_000;

/**
 * Sets \`$shell\`: the user's own, or bash where that is a plain sh; and \`$command\`, which runs it. Plain shells open
 * /dev/tty for job control, and CRIU dumps no process that holds it beside a pseudo-terminal whose other end is in another
 * process (tty_verify_ctty() in criu/tty.c). So they do without.
 */
const CHOOSE_SHELL = `shell=\${SHELL:-$(sed -n "s/^$(id -un):.*://p" /etc/passwd 2>/dev/null)}
[ -x "$shell" ] || shell=/bin/sh
case \${shell##*/} in sh | dash | ash | busybox) [ ! -x /bin/bash ] || shell=/bin/bash ;; esac
SHELL=$shell
export SHELL
case \${shell##*/} in
sh | dash | ash | busybox) command="exec $shell -i +m" ;;
*) command="exec $shell -l" ;;
esac`;

/** How a terminal multiplexer is told what a session needs. Each script is for `sh`, with the session's name as `$1`. */
interface Spelling {
  /** Begins a session that nobody is attached to; prints "new" unless it is there already. */
  readonly begin: string;
  /** Attaches to it; whoever was attached before is sent away. */
  readonly attach: string;
  /** Prints the last `$2` lines that have left the screen, and what is on it, with colours. */
  readonly history: string;
  /** Ends it and what runs in it. */
  readonly end: string;
}

/** Screen's sockets are in a directory that its package's start script makes, and no such script ran. */
const SCREEN = 'SCREENDIR="${HOME:-/root}/.screen"; export SCREENDIR; mkdir -p -m 700 "$SCREENDIR"';

const DTACH = 'socket="/tmp/.forkpoint-dtach-$(id -u)-$1"';

/**
 * Their servers leave the process that started them and so become children of the workspace's init, which a snapshot
 * keeps. They hold no descriptor of that process: one from outside would not let itself be dumped.
 */
const spellings: Readonly<Record<Multiplexer, Spelling>> = {
  tmux: {
    // A server of its own (-L), so that its options are not those of the user's sessions. It does without the
    // alternate screen: so what scrolls off goes to the scrollback of the terminal that is attached.
    begin: `tmux -L forkpoint has-session -t "=$1" 2>/dev/null || {
  tmux -u -L forkpoint set-option -g history-limit ${String(HISTORY_LINES)} ';' set-option -g status off ';' \\
    set-option -g default-terminal screen-256color ';' set-option -s escape-time 10 ';' \\
    set-option -ga terminal-overrides ',xterm*:Tc:smcup@:rmcup@' ';' \\
    new-session -d -s "$1" "$command" </dev/null >/dev/null && echo new
}`,
    attach: 'exec tmux -u -L forkpoint attach-session -d -t "=$1"',
    history: 'tmux -u -L forkpoint capture-pane -p -e -S "-$2" -t "=$1:"',
    end: 'tmux -L forkpoint kill-session -t "=$1"',
  },
  screen: {
    begin: `${SCREEN}
screen -S "forkpoint-$1" -Q select . >/dev/null 2>&1 || {
  screen -U -h ${String(HISTORY_LINES)} -dmS "forkpoint-$1" sh -c "$command" </dev/null >/dev/null 2>&1 && echo new
}`,
    attach: `${SCREEN}
exec screen -U -d -r "forkpoint-$1"`,
    history: ':',
    end: `${SCREEN}
screen -S "forkpoint-$1" -X quit`,
  },
  dtach: {
    begin: `${DTACH}
kill -0 "$(cat "$socket.pid" 2>/dev/null)" 2>/dev/null || {
  rm -f "$socket"
  dtach -n "$socket" -r winch sh -c "echo \\$\\$ > '$socket.pid'; $command" </dev/null >/dev/null 2>&1 && echo new
}`,
    attach: `${DTACH}
exec dtach -a "$socket" -r winch`,
    history: ':',
    end: `${DTACH}
kill -s HUP "$(cat "$socket.pid")"`,
  },
};

/** The package managers that are looked for, with the command that installs tmux or an SSH server. */
const packageManagers = {
  'apt-get': { tmux: 'apt-get update && apt-get install -y tmux', sshd: 'apt-get install openssh-server' },
  dnf: { tmux: 'dnf install -y tmux', sshd: 'dnf install openssh-server' },
  apk: { tmux: 'apk add tmux', sshd: 'apk add openssh-server' },
  zypper: { tmux: 'zypper --non-interactive install tmux', sshd: 'zypper install openssh-server' },
  pacman: { tmux: 'pacman -S --noconfirm tmux', sshd: 'pacman -S openssh' },
} as const;

/** Script for `sh` that prints the first package manager that is there. */
export const FIND_PACKAGE_MANAGER = `for manager in ${Object.keys(packageManagers).join(' ')}; do
  command -v "$manager" >/dev/null 2>&1 && { echo "manager $manager"; break; }
done`;

/** The command that installs a package, by what {@link FIND_PACKAGE_MANAGER} printed; null when that is nothing we know. */
export function installCommand(printed: string, what: 'tmux' | 'sshd'): string | null {
  const name = /^manager (\S+)$/m.exec(printed)?.[1];
  const known: Readonly<Record<string, Readonly<Record<'tmux' | 'sshd', string>>>> = packageManagers;
  return name === undefined ? null : (known[name]?.[what] ?? null);
}

/** Script that finds the multiplexer and begins the session `$1` under it where it is not there yet. */
export const BEGIN_SESSION = `${FIND_PACKAGE_MANAGER}
${CHOOSE_SHELL}
for multiplexer in ${multiplexers.join(' ')}; do
  command -v "$multiplexer" >/dev/null 2>&1 || continue
  echo "multiplexer $multiplexer"
  case $multiplexer in
${multiplexers.map((name) => `${name}) ${spellings[name].begin} ;;`).join('\n')}
  esac
  exit
done`;

/** What {@link BEGIN_SESSION} printed. */
export function readBegun(printed: string): { multiplexer: Multiplexer | null; isNew: boolean } {
  const name = /^multiplexer (\S+)$/m.exec(printed)?.[1];
  return {
    multiplexer: multiplexers.find((known) => known === name) ?? null,
    isNew: /^new$/m.test(printed),
  };
}

/**
 * Waits until the terminal has the size that it is given from outside, for a second at most. A multiplexer that began
 * before would take it for 80 x 24, and resize what runs in the session to that and back: stty(1) sets rows and columns
 * one after the other, and tmux tells a pane of no more than one resize in 250 ms.
 */
const AWAIT_SIZE = `tries=0
while [ $tries -lt 50 ]; do
  case $(stty size 2>/dev/null) in '0 '* | *' 0') sleep 0.02 2>/dev/null || break ;; *) break ;; esac
  tries=$((tries + 1))
done`;

/** Command that attaches to a session. */
export function attachCommand(multiplexer: Multiplexer, session: string): string[] {
  return ['sh', '-c', `${AWAIT_SIZE}\n${spellings[multiplexer].attach}`, 'sh', session];
}

/** Command that prints what a session has shown. */
export function historyCommand(multiplexer: Multiplexer, session: string, lines: number): string[] {
  return ['sh', '-c', spellings[multiplexer].history, 'sh', session, String(lines)];
}

/** Command that ends a session. */
export function endCommand(multiplexer: Multiplexer, session: string): string[] {
  return ['sh', '-c', spellings[multiplexer].end, 'sh', session];
}

/** A shell without a multiplexer: the user's own where there is one. */
export const PLAIN_SHELL: readonly string[] = [
  'sh',
  '-c',
  `${AWAIT_SIZE}
${CHOOSE_SHELL}
exec "$shell" -l`,
];

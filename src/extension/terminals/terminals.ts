import { randomBytes } from 'node:crypto';
import { l10n, TerminalExitReason, ThemeColor, ThemeIcon, window } from 'vscode';
import type { Terminal } from 'vscode';
import type { WorkspaceId } from '../../protocol/names.ts';
import { hostText } from '../hosts/hostText.ts';
import type { Memory } from '../model/currentChoice.ts';
import type { Disposable } from '../model/emitter.ts';
import type { Fleet } from '../model/fleet.ts';
import type { Host } from '../model/host.ts';
import { WorkspaceTerminal } from './workspaceTerminal.ts';

const KEY = 'terminals';

/** A tab as a window remembers it. */
interface Remembered {
  readonly host: string;
  readonly workspace: WorkspaceId;
  readonly name: string;
  readonly session: string;
  /** It was the tab in front. */
  readonly isActive: boolean;
}

/** A window that is about to load again closes its terminals one by one: none of those comes to the front by that. */
const ACTIVE_SETTLES_MS = 500;

/** How long after the start the editor may open a shell of its own in a panel that it finds empty. */
const OWN_SHELL_MS = 15_000;

/** The terminals of this window. Those that are open when it is reloaded are opened again. */
export class Terminals implements Disposable {
  readonly #fleet: Fleet;
  readonly #memory: Memory;
  readonly #open = new Map<
    Terminal,
    { readonly remembered: Omit<Remembered, 'isActive'>; readonly pty: WorkspaceTerminal }
  >();
  readonly #subscriptions: Disposable[];
  /** The terminal in front, whosever it is. */
  #active: Terminal | undefined;
  #settling: NodeJS.Timeout | undefined;
  /** Where to bring one of ours back to the front, waits for the editor's own shell to take its place. */
  #returning: Disposable | undefined;
  /** Workspaces for which installing a multiplexer was offered. */
  readonly #offered = new Set<string>();

  /** @param memory that of the window's folder (H33) */
  constructor(fleet: Fleet, memory: Memory) {
    this.#fleet = fleet;
    this.#memory = memory;
    this.#subscriptions = [
      window.onDidCloseTerminal((terminal) => this.#didClose(terminal)),
      window.onDidChangeActiveTerminal((terminal) => this.#didActivate(terminal)),
    ];
  }

  /** Opens a tab with a shell of its own. */
  create(host: Host, workspace: { readonly id: WorkspaceId; readonly name: string }): void {
    // What was in front before the reload is so no more.
    this.#returning?.dispose();
    const session = `tab-${randomBytes(4).toString('hex')}`;
    this.#show({ host: host.id, workspace: workspace.id, name: workspace.name, session }, host).show();
    this.#remember();
  }

  /** Opens again what was open when the window was last closed or reloaded. */
  resume(): void {
    const remembered = this.#memory.get(KEY);
    if (!Array.isArray(remembered)) return;
    for (const entry of remembered as unknown[]) {
      if (!isRemembered(entry)) continue;
      const host = this.#fleet.host(entry.host);
      if (host === undefined) continue;
      const terminal = this.#show(entry, host);
      if (entry.isActive) this.#bringBack(terminal);
    }
  }

  dispose(): void {
    clearTimeout(this.#settling);
    this.#returning?.dispose();
    for (const subscription of this.#subscriptions) subscription.dispose();
  }

  /**
   * Shows a terminal again that was in front. The editor fills a panel that it finds empty with a shell of its own, which
   * is in front then; where it doesn't, the panel is hidden, and stays so.
   */
  #bringBack(terminal: Terminal): void {
    const show = (active: Terminal | undefined): void => {
      if (active === undefined || active === terminal) return;
      this.#returning?.dispose();
      terminal.show(true);
    };
    const subscription = window.onDidChangeActiveTerminal(show);
    const timer = setTimeout(() => {
      subscription.dispose();
    }, OWN_SHELL_MS);
    this.#returning = {
      dispose: () => {
        clearTimeout(timer);
        subscription.dispose();
      },
    };
    show(window.activeTerminal);
  }

  #didActivate(terminal: Terminal | undefined): void {
    if (terminal === undefined) return;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      this.#active = terminal;
      this.#remember();
    }, ACTIVE_SETTLES_MS);
  }

  #show(remembered: Omit<Remembered, 'isActive'>, host: Host): Terminal {
    const { workspace, name, session } = remembered;
    const pty = new WorkspaceTerminal({ host, workspace, name, session }, ({ multiplexer, install }) => {
      if (multiplexer === null) this.#offerMultiplexer(pty, `${host.id}/${workspace}`, name, install);
    });
    const terminal = window.createTerminal({
      name,
      pty,
      iconPath: new ThemeIcon('package'),
      color: new ThemeColor('terminal.ansiGreen'),
      // The editor would keep the tab over a reload without anything behind it.
      isTransient: true,
    });
    this.#open.set(terminal, { remembered, pty });
    return terminal;
  }

  #didClose(terminal: Terminal): void {
    const closed = this.#open.get(terminal);
    if (closed === undefined) return;
    // The window goes: it is to be there again, and so is its session.
    if (terminal.exitStatus?.reason === TerminalExitReason.Shutdown) return;
    if (terminal.exitStatus?.reason === TerminalExitReason.User) closed.pty.end();
    this.#open.delete(terminal);
    this.#remember();
  }

  #remember(): void {
    void this.#memory.update(
      KEY,
      [...this.#open].map(([terminal, { remembered }]): Remembered => ({
        ...remembered,
        isActive: terminal === this.#active,
      })),
    );
  }

  #offerMultiplexer(pty: WorkspaceTerminal, key: string, name: string, install: string | null): void {
    if (install === null || this.#offered.has(key)) return;
    this.#offered.add(key);
    const button = l10n.t('Install tmux');
    void window
      .showInformationMessage(
        l10n.t(
          'Terminals of "{0}" are not part of snapshots without tmux. Install it by "{1}" in this terminal?',
          name,
          hostText(install),
        ),
        button,
      )
      .then((answer) => {
        if (answer === button) pty.sendText(`${install}\r`);
        this.#offered.delete(key);
      });
  }
}

/** What it names is checked by the host. */
function isRemembered(value: unknown): value is Remembered {
  if (typeof value !== 'object' || value === null) return false;
  const { host, workspace, name, session, isActive } = value as Partial<Record<string, unknown>>;
  return (
    typeof isActive === 'boolean' &&
    typeof host === 'string' &&
    typeof name === 'string' &&
    typeof workspace === 'string' &&
    typeof session === 'string'
  );
}

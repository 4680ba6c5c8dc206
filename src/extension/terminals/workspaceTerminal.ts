import { EventEmitter, l10n } from 'vscode';
import type { Pseudoterminal, TerminalDimensions } from 'vscode';
import { ForkpointError } from '../../protocol/errors.ts';
import type { WorkspaceId } from '../../protocol/names.ts';
import type { Terminal } from '../../protocol/reach.ts';
import type { TerminalSize } from '../../protocol/streams.ts';
import type { HostStream } from '../hosts/streams.ts';
import type { Host } from '../model/host.ts';
import { failureText } from '../views/failures.ts';

/** Size before the editor has told one. */
const FIRST_SIZE: TerminalSize = { columns: 80, rows: 24 };

/** How much of a session's scrollback a tab asks for that did not see it. */
const HISTORY_LINES = 5000;

/** A shell that ends by itself this soon after it was attached, several times, is not attached again, in milliseconds. */
const HASTE_MS = 3000;
const HASTY_ENDS = 3;

/** How long after a tab was closed it is told by whom, at most, in milliseconds. */
const LEAVING_MS = 2000;

/** What is typed before the shell is there waits for it, up to that much, in UTF-16 units: a key held down is not a command. */
const TYPED_AHEAD_LIMIT = 4096;

/** What a tab shows. */
export interface TerminalPlace {
  readonly host: Host;
  readonly workspace: WorkspaceId;
  readonly name: string;
  readonly session: string;
}

/**
 * A terminal of a workspace in a tab. It attaches to a session of the workspace's multiplexer, and again whenever it was
 * sent away: by a snapshot or restore, or with the connection.
 */
export class WorkspaceTerminal implements Pseudoterminal {
  readonly #place: TerminalPlace;
  readonly #onOpened: (terminal: Terminal) => void;
  readonly #written = new EventEmitter<string>();
  readonly #closed = new EventEmitter<number>();
  readonly onDidWrite = this.#written.event;
  readonly onDidClose = this.#closed.event;
  #size = FIRST_SIZE;
  #stream: HostStream | null = null;
  /** Typed while there was no shell; half a line would be worse than none. */
  #typedAhead = '';
  #isClosed = false;
  #leaving: NodeJS.Timeout | undefined;
  /** Lines above the screen are in this tab already. */
  #hasHistory = false;
  /** Wakes {@link #connected} when the tab is closed. */
  #wake: () => void = () => undefined;

  /** @param onOpened told each time that it is attached */
  constructor(place: TerminalPlace, onOpened: (terminal: Terminal) => void) {
    this.#place = place;
    this.#onOpened = onOpened;
  }

  open(size: TerminalDimensions | undefined): void {
    if (size !== undefined) this.#size = clamp(size);
    this.#run().catch((error: unknown) => {
      const { message, next } = failureText(ForkpointError.from(error));
      this.#note(next === '' ? message : `${message} ${next}`);
      this.#closed.fire(1);
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#wake();
    // Whether the user closed it or the window goes is told a moment later, see end().
    this.#leaving = setTimeout(() => this.#stream?.destroy(), LEAVING_MS);
  }

  /** Ends the session, with what runs in it: the user has closed the tab. */
  end(): void {
    clearTimeout(this.#leaving);
    this.#stream?.endSession();
  }

  handleInput(data: string): void {
    // Backpressure is the stream's: what can't be sent yet waits in it.
    if (this.#stream !== null) this.#stream.write(data);
    else if (this.#typedAhead.length + data.length <= TYPED_AHEAD_LIMIT) this.#typedAhead += data;
  }

  setDimensions(size: TerminalDimensions): void {
    this.#size = clamp(size);
    this.#stream?.resize(this.#size);
  }

  /** Types into the terminal. */
  sendText(text: string): void {
    this.handleInput(text);
  }

  async #run(): Promise<void> {
    let hastyEnds = 0;
    for (let isFirst = true; ; isFirst = false) {
      await this.#connected(isFirst);
      if (this.#wasClosed()) return;
      const { host, workspace, session } = this.#place;
      const attachedAt = Date.now();
      let stream: HostStream;
      try {
        stream = await host.connection.openStream({
          kind: 'terminal',
          container: workspace,
          session,
          size: this.#size,
          historyLines: this.#hasHistory ? 0 : HISTORY_LINES,
        });
      } catch (error) {
        const failure = ForkpointError.from(error);
        // The connection went away meanwhile, or the workspace stands still for a moment.
        if (failure.code !== 'daemon.unreachable' || this.#wasClosed()) throw failure;
        continue;
      }
      this.#stream = stream;
      const { terminal } = stream.opened;
      if (terminal !== null) this.#introduce(terminal, isFirst);
      this.#hasHistory = true;
      stream.resize(this.#size);
      stream.setEncoding('utf8');
      stream.on('error', () => undefined);
      stream.on('data', (text: string) => this.#written.fire(text));
      if (this.#typedAhead !== '') stream.write(this.#typedAhead);
      this.#typedAhead = '';
      const end = await stream.over;
      this.#stream = null;
      if (this.#wasClosed()) return;
      const isKept = terminal !== null && terminal.multiplexer !== null;
      const wasTaken = end.wasLost || end.wasSentAway;
      if (!isKept || (!wasTaken && end.status === 0)) {
        if (end.wasLost) this.#note(l10n.t('The connection was lost, and with it this shell.'));
        this.#closed.fire(end.wasLost ? 1 : (end.status ?? 1));
        return;
      }
      hastyEnds = !wasTaken && Date.now() - attachedAt < HASTE_MS ? hastyEnds + 1 : 0;
      if (hastyEnds >= HASTY_ENDS) {
        this.#closed.fire(end.status ?? 1);
        return;
      }
    }
  }

  /** Asked anew after each wait. */
  #wasClosed(): boolean {
    return this.#isClosed;
  }

  /** Waits for the host to be connected; nothing is asked for it (H36). */
  async #connected(isFirst: boolean): Promise<void> {
    const { host } = this.#place;
    if (host.state.kind === 'connected') return;
    this.#note(
      isFirst
        ? l10n.t('Waiting for "{0}" to be connected…', host.id)
        : l10n.t('The connection to "{0}" was lost. Waiting for it…', host.id),
    );
    await new Promise<void>((resolve) => {
      const listener = host.onDidChange(() => {
        if (host.state.kind === 'connected') done();
      });
      const done = (): void => {
        listener.dispose();
        resolve();
      };
      this.#wake = done;
    });
  }

  #introduce(terminal: Terminal, isFirst: boolean): void {
    this.#onOpened(terminal);
    if (terminal.multiplexer === null)
      this.#note(
        l10n.t(
          'This terminal is not part of snapshots: there is no tmux, screen or dtach in "{0}".',
          this.#place.name,
        ),
      );
    else if (!isFirst && terminal.isNew)
      this.#note(l10n.t('The shell that was here is not in the restored snapshot. This is a new one.'));
  }

  /** A line of ours among the shell's. */
  #note(text: string): void {
    this.#written.fire(`\r\n\u001b[2m${text}\u001b[0m\r\n`);
  }
}

function clamp({ columns, rows }: TerminalDimensions): TerminalSize {
  return { columns: Math.min(5000, Math.max(1, columns)), rows: Math.min(5000, Math.max(1, rows)) };
}

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { chromium, type Browser, type Locator, type Page } from 'playwright-core';
import { until, type Deadline } from './deadline.ts';
import { findBrowser } from './prerequisites.ts';

/** Where screenshots go; git ignores it and CI keeps it. */
const screenshotDirectory = path.resolve('test-results', 'screenshots');

/** One row of a tree view, as a user sees it. */
export interface TreeRow {
  label: string;
  /** The dimmed text after the label; empty when there is none. */
  description: string;
  /** 1 for the outermost rows. */
  level: number;
  /** `undefined` for a row that can't be expanded. */
  isExpanded: boolean | undefined;
  isSelected: boolean;
  /** The name of its codicon, such as `history`; `undefined` when it has another icon or none. */
  icon: string | undefined;
}

/** An entry of a quick pick. */
export interface PickItem {
  label: string;
  description: string;
  detail: string;
}

/** What a quick pick or an input box shows around its list. */
export interface QuickInput {
  title: string;
  placeholder: string;
  value: string;
  /** The prompt, or what is wrong with the value. */
  message: string;
}

/** A modal dialog. */
export interface Dialog {
  message: string;
  detail: string;
  buttons: string[];
}

/** A notification, in a toast or in the notification centre. */
export interface Notification {
  severity: 'info' | 'warning' | 'error';
  message: string;
  buttons: string[];
}

/** An entry of the status bar. */
export interface StatusBarItem {
  /** Without its icons. */
  text: string;
  /** The names of its codicons, such as `history` or `loading`. */
  icons: string[];
  /** What a screen reader says: the text, then the tooltip. */
  ariaLabel: string;
  kind: 'error' | 'warning' | 'prominent' | 'standard';
}

/** Starts the Chromium in which windows are opened. Close it when done; its windows close with it. */
export async function launchBrowser(): Promise<Browser> {
  const executablePath = await findBrowser();
  if (executablePath === undefined) {
    throw new Error(
      'There is no Chromium: "apt-get install chromium fonts-dejavu-core", or set CHROMIUM_PATH to one.',
    );
  }
  return chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    // The suite decides what Ctrl-C means.
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  });
}

/**
 * A window of the workbench, driven as a user drives it. Every method waits for what it needs and rejects, saying what
 * it waited for, when that doesn't come.
 */
export class EditorWindow {
  private constructor(
    /** For what no method here does. */
    readonly page: Page,
  ) {}

  /** Opens a window at an address made by `Workbench.url`, and waits until the workbench is drawn. */
  static async open(
    browser: Browser,
    url: string,
    {
      theme = 'dark',
      width = 1400,
      height = 900,
    }: { theme?: 'dark' | 'light'; width?: number; height?: number } = {},
  ): Promise<EditorWindow> {
    // A context of its own: windows share neither storage nor cookies, as two machines wouldn't.
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme });
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    const window = new EditorWindow(page);
    // What counts is that the workbench is drawn; a busy machine takes long to load all of it.
    await page.goto(url, { waitUntil: 'commit', timeout: 60_000 });
    await window.ready();
    return window;
  }

  /** Reloads the window, as `Developer: Reload Window` does. */
  async reload(): Promise<void> {
    await this.page.reload();
    await this.ready();
  }

  /** Changes between dark and light, as the operating system does. */
  async useTheme(theme: 'dark' | 'light'): Promise<void> {
    await this.page.emulateMedia({ colorScheme: theme });
    await this.page.locator(`.monaco-workbench.${theme === 'dark' ? 'vs-dark' : 'vs'}`).waitFor();
  }

  async close(): Promise<void> {
    await this.page.context().close();
  }

  /** Saves what the window shows as `test-results/screenshots/NAME.png` and returns that path. */
  async screenshot(name: string): Promise<string> {
    await mkdir(screenshotDirectory, { recursive: true });
    const file = path.join(screenshotDirectory, `${name.replaceAll(/[^A-Za-z0-9._-]+/g, '-')}.png`);
    await this.page.screenshot({ path: file, animations: 'disabled' });
    return file;
  }

  // Commands

  /** Runs a command from the palette by its whole label there, such as `Forkpoint: Refresh`. */
  async runCommand(label: string): Promise<void> {
    const attempt = new EntryClick(this.pickEntry(label));
    await until(`the command "${label}" in the palette`, async () => {
      const isOpen = await this.isPaletteOpen();
      if (attempt.wasMade && !isOpen) return true;
      if (!isOpen) await this.pressPaletteKey();
      await this.filter(`>${label}`);
      // The palette knows the commands of the moment at which it was asked: some come later, as those of terminals do.
      await attempt.make().catch(async (error: unknown) => {
        if (!attempt.wasMade) await this.page.keyboard.press('Escape');
        throw error;
      });
      // What is typed next must not go into a palette that is closing.
      return until('the palette to close', async () => !(await this.isPaletteOpen()), { timeoutMs: 8_000 });
    });
  }

  /** What the palette offers for a text, best first: the labels, or only "No matching commands". */
  async findCommands(text: string): Promise<string[]> {
    await this.openPalette();
    await this.quickInputBox().fill(`>${text}`);
    const found = (await this.pickItems()).map((item) => item.label);
    await this.dismissQuickInput();
    return found;
  }

  private async openPalette(): Promise<void> {
    await until('the command palette', async () => {
      if (await this.isPaletteOpen()) return true;
      await this.pressPaletteKey();
      return this.isPaletteOpen();
    });
  }

  private async isPaletteOpen(): Promise<boolean> {
    if (!(await this.isQuickInputOpen())) return false;
    return (await this.quickInputBox().inputValue({ timeout: probeMs })).startsWith('>');
  }

  private async pressPaletteKey(): Promise<void> {
    await this.page.keyboard.press('F1');
    // A second key press would take back what is typed after the first.
    await this.quickInputBox().waitFor({ timeout: 8_000 });
  }

  // Quick picks and input boxes

  /** Chooses the entry with exactly that label in the open quick pick. */
  async choose(label: string): Promise<void> {
    const attempt = new EntryClick(this.pickEntry(label));
    await until(`the entry "${label}" in the quick pick`, async () => {
      if (attempt.wasMade && !(await this.isQuickInputOpen())) return true;
      await this.filter(label);
      await attempt.make();
      return true;
    });
  }

  /** Waits until the open quick pick has entries, and returns those that fit on the screen, from the top. */
  async pickItems(): Promise<PickItem[]> {
    return until('entries in the quick pick', async () => {
      const items = await this.pickRows().evaluateAll((rows: PageElement[]) =>
        rows.map((row) => ({
          index: Number(row.getAttribute('data-index')),
          label: row.querySelector('.label-name')?.textContent ?? '',
          description: row.querySelector('.label-description')?.textContent ?? '',
          detail: row.querySelector('.quick-input-list-label-meta')?.textContent ?? '',
        })),
      );
      const sorted = items.sort((a, b) => a.index - b.index);
      return (
        items.length > 0 &&
        sorted.map(({ label, description, detail }) => ({
          label: label.trim(),
          description: description.trim(),
          detail: detail.trim(),
        }))
      );
    });
  }

  /**
   * Waits for a quick pick or input box that shows what is expected, and returns what it shows. Its parts do not
   * appear all at once: name in `expected` what is looked at.
   */
  async quickInput(expected: Partial<Record<keyof QuickInput, RegExp>> = {}): Promise<QuickInput> {
    const parts = ['title', 'placeholder', 'value', 'message'] as const;
    return until(
      `a quick input with ${parts.flatMap((part) => (expected[part] ? `${part} ${String(expected[part])}` : [])).join(', ')}`,
      async () => {
        const shown = await this.readQuickInput();
        return parts.every((part) => expected[part]?.test(shown[part]) ?? true) && shown;
      },
    );
  }

  /** Replaces the text of the open input box or quick pick. */
  async type(text: string): Promise<void> {
    await this.quickInputBox().fill(text);
  }

  /** Replaces the text of the open input box and accepts it with Enter. */
  async enter(text: string): Promise<void> {
    await this.type(text);
    await this.quickInputBox().press('Enter');
  }

  /** Closes the open quick pick or input box with Escape. */
  async dismissQuickInput(): Promise<void> {
    await this.quickInputBox().press('Escape');
    await this.quickInputWidget().waitFor({ state: 'hidden' });
  }

  async isQuickInputOpen(): Promise<boolean> {
    return this.quickInputBox().isVisible();
  }

  // Modal dialogs

  /** Waits for a modal dialog whose message matches, and returns what it says. */
  async dialog(pattern = /^/, deadline?: Deadline): Promise<Dialog> {
    const box = this.dialogBox();
    return until(
      `a dialog like ${String(pattern)}`,
      async () => {
        if (!(await box.isVisible())) return undefined;
        const detail = box.locator('.dialog-message-detail');
        const dialog = {
          message: (await box.locator('.dialog-message-text').innerText({ timeout: probeMs })).trim(),
          detail: (await detail.isVisible()) ? (await detail.innerText({ timeout: probeMs })).trim() : '',
          buttons: await box.locator('.dialog-buttons .monaco-button').allInnerTexts(),
        };
        return pattern.test(dialog.message) && dialog;
      },
      deadline,
    );
  }

  /** Answers the modal dialog by the button with exactly that name; `Escape` and `Enter` are pressed as keys. */
  async answerDialog(answer: string): Promise<void> {
    const box = this.dialogBox();
    await box.waitFor();
    if (answer === 'Escape' || answer === 'Enter') await this.page.keyboard.press(answer);
    else
      await box
        .locator('.dialog-buttons .monaco-button')
        .filter({ hasText: whole(answer) })
        .click();
    await box.waitFor({ state: 'hidden' });
  }

  async isDialogOpen(): Promise<boolean> {
    return this.dialogBox().isVisible();
  }

  // Status bar

  /** All entries of the status bar, from left to right. */
  async statusBarItems(): Promise<StatusBarItem[]> {
    const items = await this.page.locator('.statusbar-item:visible').evaluateAll((elements: PageElement[]) =>
      elements.map((element) => ({
        text: element.textContent ?? '',
        icons: [...element.querySelectorAll('.codicon')].map((icon) => icon.className),
        ariaLabel: element.getAttribute('aria-label') ?? '',
        classes: element.className,
      })),
    );
    return items.map(({ text, icons, ariaLabel, classes }) => ({
      text: text.replaceAll(/\s+/g, ' ').trim(),
      icons: icons.map((icon) => codiconName(icon) ?? ''),
      ariaLabel,
      kind:
        (['error', 'warning', 'prominent'] as const).find((kind) => classes.includes(`${kind}-kind`)) ??
        'standard',
    }));
  }

  /** Waits for an entry of the status bar whose text or screen reader's text matches. */
  async statusBarItem(pattern: RegExp, deadline?: Deadline): Promise<StatusBarItem> {
    return until(
      `a status bar item like ${String(pattern)}`,
      async () =>
        (await this.statusBarItems()).find((item) => pattern.test(item.text) || pattern.test(item.ariaLabel)),
      deadline,
    );
  }

  async clickStatusBarItem(pattern: RegExp): Promise<void> {
    await this.page
      .locator('.statusbar-item:visible')
      .filter({ hasText: pattern })
      .locator('.statusbar-item-label')
      .first()
      .click();
  }

  // Views and trees

  /** Opens a view container by the title of its icon in the activity bar. */
  async openViewContainer(title: string): Promise<void> {
    const icon = this.page
      .locator(`.activitybar .action-item:has(.action-label[aria-label^="${title}"])`)
      .first();
    const heading = this.page.locator('.sidebar .composite.title h2').first();
    const isShown = async () =>
      (await heading.isVisible()) && (await heading.innerText({ timeout: probeMs })).startsWith(title);
    await until(`the view container "${title}"`, async () => {
      if (await isShown()) return true;
      await icon.click({ timeout: probeMs });
      // A second click would close it.
      return until('its heading', isShown, { timeoutMs: 8_000 });
    });
  }

  /** The rows of a view's tree that fit on the screen, from the top. Without `view`: of all views in the side bar. */
  async treeRows(view?: string): Promise<TreeRow[]> {
    const rows = await this.treeRowElements(view).evaluateAll((elements: PageElement[]) =>
      elements.map((row) => ({
        top: row.getBoundingClientRect().top,
        label: row.querySelector('.label-name')?.textContent ?? '',
        description: row.querySelector('.label-description')?.textContent ?? '',
        level: row.getAttribute('aria-level'),
        expanded: row.getAttribute('aria-expanded'),
        selected: row.getAttribute('aria-selected'),
        icon: row.querySelector('.custom-view-tree-node-item-icon')?.className ?? '',
      })),
    );
    return rows
      .sort((a, b) => a.top - b.top)
      .map((row) => ({
        label: row.label,
        description: row.description,
        level: Number(row.level),
        isExpanded: row.expanded === null ? undefined : row.expanded === 'true',
        isSelected: row.selected === 'true',
        icon: codiconName(row.icon),
      }));
  }

  /** Waits for a row whose label matches (the whole label, when it is a string). */
  async treeRow(label: string | RegExp, view?: string, deadline?: Deadline): Promise<TreeRow> {
    return until(
      `a tree row "${String(label)}"`,
      async () =>
        (await this.treeRows(view)).find((row) =>
          typeof label === 'string' ? row.label === label : label.test(row.label),
        ),
      deadline,
    );
  }

  /** Selects a row with a click; with `modifier`, adds it to the selection. */
  async clickRow(label: string | RegExp, view?: string, modifier?: 'Control' | 'Shift'): Promise<void> {
    await this.rowElement(label, view)
      .locator('.label-name')
      .click(modifier === undefined ? {} : { modifiers: [modifier] });
  }

  /** Expands or collapses a row if it isn't so already, and waits until it is. */
  async setRowExpanded(label: string | RegExp, isExpanded: boolean, view?: string): Promise<void> {
    const isDone = async () => (await this.treeRow(label, view)).isExpanded === isExpanded;
    await until(`the row "${String(label)}" to be ${isExpanded ? 'expanded' : 'collapsed'}`, async () => {
      if (await isDone()) return true;
      await this.rowElement(label, view).locator('.monaco-tl-twistie').click({ timeout: probeMs });
      // A second click would turn it back.
      return until('it to turn', isDone, { timeoutMs: 8_000 });
    });
  }

  /** Clicks an inline action of a row by its name. */
  async clickRowAction(label: string | RegExp, action: string, view?: string): Promise<void> {
    const row = this.rowElement(label, view);
    await until(`the action "${action}" to be taken`, async () => {
      await row.hover();
      await row.locator(`.actions .action-label[aria-label^="${action}"]`).click();
      return !(await this.wasForgotten());
    });
  }

  /** Drags a row onto another one and drops it there. */
  async dragRow(label: string | RegExp, onto: string | RegExp, view?: string): Promise<void> {
    await this.rowElement(label, view)
      .locator('.label-name')
      .dragTo(this.rowElement(onto, view).locator('.label-name'));
  }

  /** The text of a row's tooltip. */
  async hoverRow(label: string | RegExp, view?: string): Promise<string> {
    return this.hoverText(this.rowElement(label, view).locator('.label-name'));
  }

  /** The text of a status bar item's tooltip. */
  async hoverStatusBarItem(pattern: RegExp): Promise<string> {
    return this.hoverText(this.page.locator('.statusbar-item:visible').filter({ hasText: pattern }).first());
  }

  /** The entries of a row's context menu, which is closed again. */
  async rowMenu(label: string | RegExp, view?: string): Promise<string[]> {
    await this.openRowMenu(label, view);
    const entries = await this.page.locator('.monaco-menu .action-menu-item .action-label').allInnerTexts();
    await this.page.keyboard.press('Escape');
    await this.page.locator('.monaco-menu').waitFor({ state: 'hidden' });
    return entries.filter((entry) => entry !== '');
  }

  /** Chooses an entry of a row's context menu by its exact name. */
  async chooseInRowMenu(label: string | RegExp, entry: string, view?: string): Promise<void> {
    const menu = this.page.locator('.monaco-menu');
    await until(`the entry "${entry}" of the context menu to be taken`, async () => {
      // It closes by itself when the tree is drawn anew under it.
      if (!(await menu.isVisible())) await this.openRowMenu(label, view);
      return (await this.takeMenuEntry(entry)) && !(await this.wasForgotten());
    });
  }

  /** Opens the context menu of a row and leaves it open. */
  async openRowMenu(label: string | RegExp, view?: string): Promise<void> {
    await this.rowElement(label, view).locator('.label-name').click({ button: 'right' });
    await this.page.locator('.monaco-menu').waitFor();
  }

  /** Clicks an entry of the context menu that is open; false when it closed meanwhile or has no such entry. */
  async takeMenuEntry(entry: string): Promise<boolean> {
    const menu = this.page.locator('.monaco-menu');
    // A menu that has just opened ignores the mouse for 100 ms, so that the click that opened it chooses nothing.
    await this.page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 150)));
    const item = menu.locator(`.action-menu-item:has(.action-label[aria-label="${entry}"])`);
    const place = (await item.isVisible()) ? await item.boundingBox({ timeout: probeMs }) : null;
    if (place === null) {
      // A menu shows what was possible when it was opened; opened anew, it may have the entry.
      await this.page.keyboard.press('Escape');
      return false;
    }
    // Whether the click arrives there: a menu that closed meanwhile would let it fall onto the tree.
    const releases = await item.evaluateHandle(
      (element: PageElement) => {
        const seen = { count: 0 };
        element.addEventListener('mouseup', () => seen.count++, true);
        return seen;
      },
      undefined,
      { timeout: probeMs },
    );
    await this.page.mouse.click(place.x + place.width / 2, place.y + place.height / 2);
    const isTaken = (await releases.evaluate((seen) => seen.count)) > 0;
    if (isTaken) await menu.waitFor({ state: 'hidden', timeout: probeMs });
    return isTaken;
  }

  /** The texts and buttons of a view's welcome content, line by line; empty when it shows a tree. */
  async welcomeTexts(view: string): Promise<string[]> {
    const content = this.pane(view).locator('.welcome-view-content');
    return content.locator('p, .monaco-button').locator('visible=true').allInnerTexts();
  }

  /** Clicks a button of a view's welcome content. */
  async clickWelcomeButton(view: string, name: string): Promise<void> {
    await this.pane(view)
      .locator('.welcome-view-content .monaco-button')
      .filter({ hasText: whole(name) })
      .click();
  }

  // Notifications

  /** The notifications in toasts or in the open notification centre, newest first. */
  async notifications(): Promise<Notification[]> {
    const items = await this.notificationElements().evaluateAll((elements: PageElement[]) =>
      elements.map((element) => ({
        icon: element.querySelector('.notification-list-item-icon')?.className ?? '',
        message: element.querySelector('.notification-list-item-message')?.textContent ?? '',
        buttons: [
          ...element.querySelectorAll('.notification-list-item-buttons-container .monaco-button'),
        ].map((button) => button.textContent ?? ''),
      })),
    );
    return items.map(({ icon, message, buttons }) => ({
      severity:
        (['error', 'warning'] as const).find((severity) => icon.includes(`codicon-${severity}`)) ?? 'info',
      message: message.trim(),
      buttons: buttons.map((button) => button.trim()),
    }));
  }

  /** Waits for a notification whose message matches. */
  async notification(pattern: RegExp, deadline?: Deadline): Promise<Notification> {
    return until(
      `a notification like ${String(pattern)}`,
      async () => (await this.notifications()).find(({ message }) => pattern.test(message)),
      deadline,
    );
  }

  /** Presses a button of the notification whose message matches. */
  async answerNotification(pattern: RegExp, button: string): Promise<void> {
    await this.notification(pattern);
    // By its message: the element's whole text begins with what only a screen reader says.
    const index = (await this.notifications()).findIndex(({ message }) => pattern.test(message));
    await this.notificationElements()
      .nth(index)
      .locator('.notification-list-item-buttons-container .monaco-button')
      .filter({ hasText: whole(button) })
      .click();
  }

  /** Removes all notifications, so that the next one seen is new. */
  async clearNotifications(): Promise<void> {
    await this.runCommand('Notifications: Clear All Notifications');
    await until('the notifications to go', async () => (await this.notifications()).length === 0);
  }

  // Editors

  /** The titles of the open editors' tabs; unsaved ones end in ` ●`. */
  async editorTabs(): Promise<string[]> {
    const tabs = await this.page.locator('.tabs-container .tab').evaluateAll((elements: PageElement[]) =>
      elements.map((tab) => ({
        label: tab.querySelector('.label-name')?.textContent ?? '',
        classes: tab.className,
      })),
    );
    return tabs.map(({ label, classes }) => (/\bdirty\b/.test(classes) ? `${label} ●` : label));
  }

  // How it looks inside

  private async ready(): Promise<void> {
    await this.page.locator('.monaco-workbench .statusbar-item').first().waitFor({ timeout: 60_000 });
  }

  /** Only the entries that fit are in the document; the filter brings the wanted one into it. */
  private async filter(text: string): Promise<void> {
    const box = this.quickInputBox();
    if ((await box.inputValue({ timeout: probeMs })) !== text) await box.fill(text, { timeout: probeMs });
  }

  private pickEntry(label: string): Locator {
    const name = this.page.locator('.quick-input-list-row:first-child .label-name');
    return this.pickRows()
      .filter({ has: name.filter({ hasText: whole(label) }) })
      .first();
  }

  private async readQuickInput(): Promise<QuickInput> {
    const widget = this.quickInputWidget();
    const title = widget.locator('.quick-input-title');
    const message = widget.locator('.quick-input-message');
    const box = this.quickInputBox();
    return {
      title: (await title.isVisible()) ? (await title.innerText({ timeout: probeMs })).trim() : '',
      placeholder: (await box.getAttribute('placeholder', { timeout: probeMs })) ?? '',
      value: await box.inputValue({ timeout: probeMs }),
      message: (await message.isVisible()) ? (await message.innerText({ timeout: probeMs })).trim() : '',
    };
  }

  private quickInputWidget(): Locator {
    return this.page.locator('.quick-input-widget:visible');
  }

  private quickInputBox(): Locator {
    return this.quickInputWidget().locator('.quick-input-box input');
  }

  private pickRows(): Locator {
    return this.quickInputWidget().locator('.quick-input-list .monaco-list-row:has(.quick-input-list-rows)');
  }

  private dialogBox(): Locator {
    return this.page.locator('.monaco-dialog-box');
  }

  private pane(view: string): Locator {
    return this.page.locator(`.pane:has(> .pane-header[aria-label^="${view}"])`);
  }

  private treeRowElements(view: string | undefined): Locator {
    const scope = view === undefined ? this.page.locator('.part.sidebar') : this.pane(view);
    return scope.locator('.pane-body .monaco-list-row');
  }

  private rowElement(label: string | RegExp, view: string | undefined): Locator {
    const name = this.page
      .locator('.label-name')
      .filter({ hasText: typeof label === 'string' ? whole(label) : label });
    return this.treeRowElements(view).filter({ has: name }).first();
  }

  /**
   * Whether the editor no longer knew the row that was just clicked, which the extension says then. The message is
   * cleared, and a user would click once more.
   */
  private async wasForgotten(): Promise<boolean> {
    const notice = this.notificationElements().filter({
      hasText: 'Nothing was done: the row was being redrawn',
    });
    try {
      await notice.waitFor({ timeout: 500 });
    } catch {
      return false;
    }
    await this.clearNotifications();
    return true;
  }

  private async hoverText(element: Locator): Promise<string> {
    const hover = this.page.locator('.workbench-hover-container .monaco-hover').last();
    return until('a tooltip', async () => {
      // A pointer that is already there would not be seen to arrive; and a tooltip goes when what is under it is drawn anew.
      await this.page.mouse.move(700, 450);
      await element.hover({ timeout: probeMs });
      await hover.waitFor({ timeout: probeMs });
      return (await hover.innerText({ timeout: probeMs })).trim();
    });
  }

  private notificationElements(): Locator {
    return this.page.locator('.notification-list-item:visible');
  }
}

/** How long one look at the window may take within {@link until}, which looks again, in milliseconds. */
const probeMs = 2_000;

/** The click on an entry of a quick pick, which on a busy machine may be done and yet be reported too late. */
class EntryClick {
  wasMade = false;

  constructor(private readonly entry: Locator) {}

  async make(): Promise<void> {
    await this.entry.waitFor({ timeout: probeMs });
    this.wasMade = true;
    await this.entry.click({ timeout: 5_000 });
  }
}

/** What the functions above, which run in the page, use of its elements: this program has no DOM types. */
interface PageElement {
  textContent: string | null;
  className: string;
  getAttribute(name: string): string | null;
  querySelector(selector: string): PageElement | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
  getBoundingClientRect(): { top: number };
  addEventListener(type: string, listener: () => void, capture: boolean): void;
}

function codiconName(classes: string): string | undefined {
  return /\bcodicon-(?!modifier|colored)([a-z0-9-]+)/.exec(classes)?.[1];
}

/** Matches an element by its whole text. */
function whole(text: string): RegExp {
  return new RegExp(`^\\s*${text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}\\s*$`);
}

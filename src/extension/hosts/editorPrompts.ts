import { l10n, ProgressLocation, ThemeIcon, window } from 'vscode';
import type { Memento } from 'vscode';
import { hostText } from './hostText.ts';
import type { Answer, Consents, Prompts } from './prompts.ts';
import { oneAtATime } from './prompts.ts';

/** The editor's input boxes and dialogs, one at a time over all hosts. */
export function createEditorPrompts(): Prompts {
  return oneAtATime({
    password: ({ host, user, attempt, signal }) =>
      askSecret(l10n.t('Password of "{user}" on "{host}"', { user, host }), attempt, signal),
    sudoPassword: ({ host, user, attempt, signal }) =>
      askSecret(l10n.t('sudo password of "{user}" on "{host}"', { user, host }), attempt, signal),
    passphrase: ({ keyFile, attempt, signal }) =>
      askSecret(l10n.t('Passphrase of the key {keyFile}', { keyFile }), attempt, signal),

    async serverQuestions({ host, name, instructions, questions, signal }) {
      const answers: string[] = [];
      for (const { text, isEchoed } of questions) {
        const answer = await askText({
          title: name === '' ? l10n.t('"{host}" asks', { host }) : hostText(name),
          prompt: hostText(
            [instructions, text]
              .filter((part) => part.trim() !== '')
              .join(' ')
              .trim(),
          ),
          isSecret: !isEchoed,
          canRemember: false,
          signal,
        });
        if (answer === undefined) return undefined;
        answers.push(answer.text);
      }
      return answers;
    },

    async unknownHostKey({ host, knownAs, keyType, fingerprint }) {
      const accept = l10n.t('Trust This Host');
      const chosen = await window.showWarningMessage(
        l10n.t('The host "{host}" is not known yet. Is this its key?', { host }),
        {
          modal: true,
          detail: l10n.t(
            '{keyType} {fingerprint}\n\nCompare it with what whoever runs the machine tells you. It is recorded for {knownAs} in your known_hosts file, and the connection is refused should it ever change.',
            { keyType, fingerprint, knownAs },
          ),
        },
        accept,
      );
      return chosen === accept ? true : undefined;
    },

    async mayInstall({ host, reason, isNeeded }) {
      const yes = reason === 'missing' ? l10n.t('Install') : l10n.t('Update');
      const no = isNeeded ? l10n.t('Never on This Host') : l10n.t('Keep the Older One');
      const chosen = await window.showInformationMessage(
        reason === 'missing'
          ? l10n.t('Install the Forkpoint helper on "{host}"?', { host })
          : l10n.t('Update the Forkpoint helper on "{host}"?', { host }),
        {
          modal: true,
          detail: l10n.t(
            'It takes and restores the snapshots there. It is put into /usr/local/lib/forkpoint, belongs to root and is started by sudo. Later versions are then installed without asking again.',
          ),
        },
        yes,
        no,
      );
      return chosen === undefined ? undefined : chosen === yes;
    },

    async notice({ text, signal }) {
      await window.withProgress({ location: ProgressLocation.Notification, title: hostText(text) }, () =>
        whenAborted(signal),
      );
    },
  });
}

/** What was answered once per host, in the editor's memory of this machine. */
export function createConsents(memory: Memento): Consents {
  const key = (host: string): string => `forkpoint.mayInstall ${host}`;
  return {
    mayInstall: (host) => memory.get<boolean>(key(host)),
    setMayInstall: (host, mayInstall) => memory.update(key(host), mayInstall),
  };
}

function askSecret(title: string, attempt: number, signal: AbortSignal): Promise<Answer | undefined> {
  const again = attempt > 1 ? `${l10n.t('That was not right.')} ` : '';
  const prompt = `${again}${l10n.t('It is not kept, unless you enter it by the key button.')}`;
  return askText({ title, prompt, isSecret: true, canRemember: true, signal });
}

interface TextQuestion {
  readonly title: string;
  readonly prompt: string;
  readonly isSecret: boolean;
  readonly canRemember: boolean;
  readonly signal: AbortSignal;
}

/** An input box with a second way to accept: "and remember". Undefined when it was cancelled or taken away. */
function askText({
  title,
  prompt,
  isSecret,
  canRemember,
  signal,
}: TextQuestion): Promise<Answer | undefined> {
  if (signal.aborted) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const box = window.createInputBox();
    const finish = (remember: boolean): void => {
      resolve({ text: box.value, remember });
      box.hide();
    };
    const hide = (): void => box.hide();
    signal.addEventListener('abort', hide, { once: true });
    box.title = title;
    box.prompt = prompt;
    box.password = isSecret;
    // It is asked in the middle of connecting: a click elsewhere should not end that.
    box.ignoreFocusOut = true;
    if (canRemember) {
      box.buttons = [
        {
          iconPath: new ThemeIcon('key'),
          tooltip: l10n.t("Enter, and keep it in the editor's secret storage"),
        },
      ];
    }
    box.onDidTriggerButton(() => finish(true));
    box.onDidAccept(() => finish(false));
    box.onDidHide(() => {
      signal.removeEventListener('abort', hide);
      resolve(undefined);
      box.dispose();
    });
    box.show();
  });
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

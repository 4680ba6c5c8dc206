import { l10n, window } from 'vscode';

export interface NameQuestion {
  readonly title: string;
  readonly prompt: string;
  readonly value?: string;
  /** An empty answer is one, too. */
  readonly mayBeEmpty: boolean;
}

/** Asks for a name or alias and says at once when one can't be used. Undefined for Cancel. */
export async function askForName(question: NameQuestion): Promise<string | undefined> {
  const { NAME_PATTERN } = await import('../../protocol/names.ts');
  return window.showInputBox({
    title: question.title,
    prompt: question.prompt,
    value: question.value ?? '',
    ignoreFocusOut: true,
    validateInput: (text) =>
      NAME_PATTERN.test(text) || (text === '' && question.mayBeEmpty)
        ? undefined
        : l10n.t('Use 1 to 64 letters, digits, ".", "_" or "-", and don\'t begin with "-" or ".".'),
  });
}

/** Asks for an expiry in days from now. Null: never. Undefined for Cancel. */
export async function askForExpiry(title: string): Promise<number | null | undefined> {
  const { MAXIMUM_EXPIRY_DAYS } = await import('../../protocol/names.ts');
  const choices: { readonly label: string; readonly days: number | null | 'other' }[] = [
    { label: l10n.t('Never expires'), days: null },
    { label: l10n.t('After 1 day'), days: 1 },
    { label: l10n.t('After 7 days'), days: 7 },
    { label: l10n.t('After 30 days'), days: 30 },
    { label: l10n.t('After 1 year'), days: 365 },
    { label: l10n.t('Another number of days…'), days: 'other' },
  ];
  const chosen = await window.showQuickPick(choices, {
    title,
    placeHolder: l10n.t('When may it be deleted by itself?'),
  });
  if (chosen === undefined) return undefined;
  if (chosen.days !== 'other') return chosen.days;
  const text = await window.showInputBox({
    title,
    prompt: l10n.t('Days until it expires; fractions are allowed'),
    validateInput: (input) => {
      const days = Number(input);
      return input.trim() !== '' && days > 0 && days <= MAXIMUM_EXPIRY_DAYS
        ? undefined
        : l10n.t('Give a number over 0 and at most {0}.', MAXIMUM_EXPIRY_DAYS);
    },
  });
  return text === undefined ? undefined : Number(text);
}

/** The editor's `l10n`, handed to what only makes texts. */
export interface Translator {
  t(message: string, args: Record<string, string | number | boolean>): string;
  t(message: string, ...args: (string | number | boolean)[]): string;
}

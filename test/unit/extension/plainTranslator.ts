import type { Translator } from '../../../src/extension/views/translator.ts';

/** Fills texts in as the editor's `l10n` does in English. */
export const plain: Translator = {
  t(
    message: string,
    ...given: (string | number | boolean | Record<string, string | number | boolean>)[]
  ): string {
    const [first] = given;
    const values = typeof first === 'object' ? first : Object.fromEntries(given.entries());
    return message.replace(/\{(\w+)\}/g, (whole, name: string) => {
      const value = values[name];
      return typeof value === 'object' || value === undefined ? whole : String(value);
    });
  },
};

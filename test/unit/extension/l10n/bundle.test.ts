import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { bundleFile, bundleOf, collectTexts } from './collect.ts';

describe('the texts of the extension', () => {
  const { texts, notLiteral } = collectTexts();

  it('are literals, so that they can be translated', () => {
    assert.deepEqual(notLiteral, []);
  });

  it('are all in l10n/bundle.l10n.json ("npm run l10n" writes it)', () => {
    assert.equal(readFileSync(bundleFile, 'utf8'), bundleOf(texts));
  });

  it('have no exclamation marks, and nothing is done successfully', () => {
    assert.deepEqual(
      [...texts].filter((text) => /!|successfully/i.test(text)),
      [],
    );
  });
});

import assert from 'node:assert/strict';
import { fillAliasTemplate } from '../../../../src/extension/model/aliasTemplate.ts';
import { NAME_PATTERN } from '../../../../src/protocol/names.ts';

const at = new Date(2026, 2, 4, 14, 5, 9);
const fill = (template: string, task = 'login', workspace = 'web') =>
  fillAliasTemplate(template, { task, workspace, at });

describe('the alias of a snapshot before an AI edit', () => {
  it('says task and local date', () => {
    assert.equal(fill('before-ai-{task}-{date}'), 'before-ai-login-2026-03-04');
  });

  it('takes time and workspace too', () => {
    assert.equal(fill('{workspace}.{date}_{time}'), 'web.2026-03-04_1405');
  });

  it('has no hole where nothing tells the task', () => {
    assert.equal(fill('before-ai-{task}-{date}', ''), 'before-ai-2026-03-04');
    assert.equal(fill('{task}-{date}', ''), '2026-03-04');
  });

  it('makes a name of any branch', () => {
    assert.equal(
      fill('before-ai-{task}-{date}', 'feature/ABC-12 login & "sign-up"'),
      'before-ai-feature-ABC-12-login-sign-up-2026-03-04',
    );
    assert.equal(fill('{task}', 'Überprüfung'), 'Uberprufung');
  });

  it('cuts a long task short, not the date', () => {
    const alias = fill('before-ai-{task}-{date}', 'x'.repeat(200));
    assert.match(alias, /^before-ai-x+-2026-03-04$/);
    assert.ok(alias.length <= 60, alias);
  });

  it('is usable whatever the setting and the branch are', () => {
    for (const template of [
      '',
      '---',
      '{task}',
      '../{task}',
      '{nothing}',
      '日本',
      `${'long-'.repeat(40)}{task}`,
    ]) {
      for (const task of ['', '..', '-x', '日本', 'a/../../b', '"; rm -rf /']) {
        const alias = fill(template, task);
        assert.match(alias, NAME_PATTERN, `${template} and ${task}`);
        // The host adds a number where it is taken.
        assert.match(`${alias}-9999`, NAME_PATTERN, `${template} and ${task}`);
      }
    }
  });
});

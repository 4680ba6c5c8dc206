import assert from 'node:assert/strict';
import { hostLines, hostText } from '../../../../src/extension/hosts/hostText.ts';
import { logOfHost } from '../../../../src/extension/hosts/log.ts';
import { ForkpointError } from '../../../../src/protocol/errors.ts';

/** What the editor makes a link of in notifications and input boxes (LINK_REGEX in vs/base/common/linkedText.ts). */
const LINK = /\[([^\]]+)\]\(((?:https?:\/\/|command:|file:)[^)\s]+)(?: (["'])(.+?)(\3))?\)/i;

describe('what a host says', () => {
  it('is no link in a notification, which could run a command of the editor', () => {
    for (const text of [
      'see [the log](command:workbench.action.terminal.sendSequence?%7B%22text%22%3A%22id%22%7D)',
      '[a](https://example.org "b")',
      '[[a](file:///etc/passwd)',
      '[a](command:x)](command:y)',
    ]) {
      assert.match(text, LINK);
      assert.doesNotMatch(hostText(text), LINK);
    }
    assert.equal(hostText('process "a[0]" (1)'), 'process "a[0]" (1)');
  });

  it('shows its control and direction characters', () => {
    assert.equal(hostText('a\nb\u202ec'), 'a\\u{a}b\\u{202e}c');
  });

  it('begins no line of the log', () => {
    const written: string[] = [];
    const write = (line: string): void => void written.push(line);
    const log = logOfHost({ debug: write, info: write, warn: write, error: write }, 'build1');
    log.warn('it said:\r\n[build2] connected again\u001b[2K\rnothing');
    assert.deepEqual(written, ['[build1] it said:\n    [build2] connected again\\u{1b}[2K\\u{d}nothing']);
    assert.equal(hostLines('a\nb'), 'a\n    b');
  });

  it('is a failure of ours, whatever it gives as the arguments of one', () => {
    for (const args of [null, [], 'x', { problem: { toString: 1, valueOf: 1 } }, { problem: null }]) {
      const failure = ForkpointError.from({ code: 'internal', args, detail: 7 });
      assert.deepEqual([failure.code, failure.args, failure.detail], ['internal', {}, null]);
    }
  });
});

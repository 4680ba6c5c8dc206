import assert from 'node:assert/strict';
import { errorTexts, isErrorCode } from '../../../../src/protocol/errors.ts';
import { problemTexts } from '../../../../src/extension/hosts/problems.ts';
import type { HostProblemCode } from '../../../../src/extension/hosts/problems.ts';
import { connectionFailureText, operationFailureText } from '../../../../src/extension/views/errorTexts.ts';
import { plain } from '../plainTranslator.ts';

/** Arguments for all placeholders of a text, each recognisable. */
function argumentsOf(...texts: string[]): Record<string, string> {
  const names = texts.join(' ').matchAll(/\{(\w+)\}/g);
  return Object.fromEntries([...names].map(([, name = '']): [string, string] => [name, `<${name}>`]));
}

const isHostProblemCode = (code: string): code is HostProblemCode => Object.hasOwn(problemTexts, code);

describe('the texts of failures', () => {
  for (const [code, { text, hint }] of Object.entries(errorTexts)) {
    it(`say all that "${code}" knows`, () => {
      assert.ok(isErrorCode(code));
      const { message, next } = operationFailureText(plain, code, argumentsOf(text, hint));
      assert.ok(message.endsWith('.'), message);
      for (const value of Object.values(argumentsOf(text)))
        assert.ok(message.includes(value), `${message} lacks ${value}`);
      assert.doesNotMatch(message + next, /\{\w+\}/, 'a placeholder without its argument');
      assert.doesNotMatch(next, /forkpoint (logs|containers|snapshots)|--\w/, 'a hint for the command line');
      if (hint !== '') assert.notEqual(next, '');
    });
  }

  for (const [code, { text, hint }] of Object.entries(problemTexts)) {
    it(`say all that the connection problem "${code}" knows`, () => {
      assert.ok(isHostProblemCode(code));
      const { message, next } = connectionFailureText(plain, code, argumentsOf(text, hint));
      for (const value of Object.values(argumentsOf(text)))
        assert.ok(message.includes(value), `${message} lacks ${value}`);
      assert.doesNotMatch(message + next, /\{\w+\}/, 'a placeholder without its argument');
      if (hint !== '') assert.notEqual(next, '');
    });
  }

  it('give sizes as people read them', () => {
    const { message } = operationFailureText(plain, 'pool.full', {
      freeBytes: 1_610_612_736,
      neededBytes: 3_221_225_472,
    });
    assert.match(message, /1\.50GB free and 3\.00GB are needed/);
  });

  it('make no link of what a host says', () => {
    const problem = '[more](command:workbench.action.quit)';
    for (const { message } of [
      operationFailureText(plain, 'internal', { problem }),
      connectionFailureText(plain, 'connectionLost', { host: 'build1', problem }),
    ]) {
      assert.match(message, /\[more\] \(command/);
    }
  });

  it('show what a container hides in a name', () => {
    const { message } = operationFailureText(plain, 'checkpoint.impossible', {
      workspace: 'web',
      reason: 'process "evil\nYou won" has io_uring',
    });
    assert.ok(!message.includes('\n'), message);
    assert.match(message, /evil\\u\{a\}You won/);
  });
});

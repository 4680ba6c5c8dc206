import assert from 'node:assert/strict';
import { parseDestination } from '../../../../src/extension/hosts/destination.ts';

describe('the spelling of a host', () => {
  const understood: [string, { host: string; user: string | null; port: number | null }][] = [
    ['box', { host: 'box', user: null, port: null }],
    ['dev@box', { host: 'box', user: 'dev', port: null }],
    ['dev@box.example.org:2222', { host: 'box.example.org', user: 'dev', port: 2222 }],
    ['192.0.2.7:22', { host: '192.0.2.7', user: null, port: 22 }],
    ['ssh://dev@box:2222/', { host: 'box', user: 'dev', port: 2222 }],
    ['dev@[2001:db8::7]:2222', { host: '2001:db8::7', user: 'dev', port: 2222 }],
    ['2001:db8::7', { host: '2001:db8::7', user: null, port: null }],
    [' box ', { host: 'box', user: null, port: null }],
  ];
  for (const [spelling, destination] of understood) {
    it(`understands ${JSON.stringify(spelling)}`, () =>
      assert.deepEqual(parseDestination(spelling), destination));
  }

  for (const spelling of [
    '',
    '-oProxyCommand=id',
    'dev@-oProxyCommand=id',
    'a b',
    'box;id',
    'box:0',
    'box:70000',
    '$(id)',
    'dev`id`@box',
    'box\u0007',
  ]) {
    it(`refuses ${JSON.stringify(spelling)}`, () => assert.equal(parseDestination(spelling), null));
  }
});

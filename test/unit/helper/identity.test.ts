import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { readPlain } from '../../../src/helper/service/identity.ts';
import { cleanUp, temporaryDirectory } from './daemonHarness.ts';

describe('a file by which a workspace is told from its forks', () => {
  let directory: string;

  beforeEach(() => {
    directory = temporaryDirectory();
    writeFileSync(path.join(directory, 'hosts'), '127.0.0.1 localhost\n');
  });

  afterEach(cleanUp);

  it('is read when it is a plain one', async () => {
    assert.equal((await readPlain(path.join(directory, 'hosts')))?.toString(), '127.0.0.1 localhost\n');
  });

  it('H52: is left alone when it is none, or has more in it than such a file can mean', async () => {
    mkdirSync(path.join(directory, 'directory'));
    symlinkSync('hosts', path.join(directory, 'link'));
    writeFileSync(path.join(directory, 'hole'), '');
    truncateSync(path.join(directory, 'hole'), 2 ** 32);
    for (const name of ['missing', 'directory', 'link', 'hole'])
      assert.equal(await readPlain(path.join(directory, name)), null, name);
  });
});

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { withCriuLog } from '../../../src/helper/checkpoint/criuLog.ts';
import { cleanUp, temporaryDirectory } from './daemonHarness.ts';

describe("CRIU's log", () => {
  let log: string;
  let kept: string;
  const onFailure = (_: unknown, errors: readonly string[]): Error => new Error(errors.join('|'));

  beforeEach(() => {
    log = path.join(temporaryDirectory(), 'criu.log');
    kept = path.join(temporaryDirectory(), 'dump.log');
  });
  afterEach(cleanUp);

  it('is gone after a call that did well', async () => {
    const call = (): Promise<number> => {
      writeFileSync(log, '(00.01) Dumping finished successfully\n');
      return Promise.resolve(7);
    };
    assert.equal(await withCriuLog(log, kept, call, onFailure), 7);
    assert.ok(!existsSync(log));
    assert.ok(!existsSync(kept));
  });

  it('is kept of a call that failed, and its errors are told, but for one that means nothing', async () => {
    const text = [
      "(00.001) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self",
      '(00.002) Dumping pages',
      '(00.003) Error (criu/files.c:1): No space left on device',
      '(00.004) Error (criu/cr-dump.c:2): Dumping FAILED.',
    ].join('\n');
    const call = (): Promise<void> => {
      writeFileSync(log, text);
      return Promise.reject(new Error('exit 1'));
    };
    await assert.rejects(
      withCriuLog(log, kept, call, onFailure),
      /^Error: [^|]*No space left on device\|[^|]*Dumping FAILED\.$/,
    );
    assert.ok(!existsSync(log));
    assert.equal(readFileSync(kept, 'utf8'), text);
  });

  it('need not have been begun by a call that failed', async () => {
    await assert.rejects(
      withCriuLog(log, kept, () => Promise.reject(new Error('exit 1')), onFailure),
      /^Error$/,
    );
  });
});

import * as assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { createLogFile, readLastLines } from '../../../src/helper/host/logFile.ts';
import { cleanUp, temporaryDirectory } from './daemonHarness.ts';

describe('the log file', () => {
  afterEach(cleanUp);
  const inPlace = (): string => path.join(temporaryDirectory(), 'log', 'helper.log');

  it('H51: is for root alone, also when it was not before', () => {
    const file = inPlace();
    createLogFile(file).info('x');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(statSync(path.dirname(file)).mode & 0o777, 0o700);

    const open = path.join(temporaryDirectory(), 'helper.log');
    writeFileSync(open, 'old\n', { mode: 0o644 });
    createLogFile(open).info('x');
    assert.equal(statSync(open).mode & 0o777, 0o600);
  });

  it('has one line for each call, whatever is in it', () => {
    const file = inPlace();
    const log = createLogFile(file);
    log.info('a\n2026-01-01T00:00:00.000Z error forged');
    log.warn('\u001b[2Kb');
    const lines = readLastLines(file, 10);
    assert.equal(lines.length, 2);
    assert.match(lines[0] ?? '', / info {2}a\\u\{a\}2026/);
    assert.match(lines[1] ?? '', / warn {2}\\u\{1b\}\[2Kb$/);
  });

  it('is put aside when it is full, and five of those are kept', () => {
    const file = inPlace();
    const log = createLogFile(file, { maximumBytes: 200 });
    for (let number = 0; number < 60; number += 1) log.info(`line ${String(number)} ${'x'.repeat(40)}`);
    assert.ok(existsSync(`${file}.5`));
    assert.ok(!existsSync(`${file}.6`));
    for (const kept of [file, `${file}.1`, `${file}.5`]) {
      assert.ok(statSync(kept).size <= 200);
      assert.equal(statSync(kept).mode & 0o777, 0o600);
    }
    assert.match(readFileSync(file, 'utf8'), /line 59 /);
  });

  it('is read back over what was put aside, oldest first', () => {
    const file = inPlace();
    const log = createLogFile(file, { maximumBytes: 200 });
    for (let number = 0; number < 8; number += 1) log.info(`line ${String(number)} ${'x'.repeat(40)}`);
    const numbers = readLastLines(file, 5).map((line) => /line (\d)/.exec(line)?.[1]);
    assert.deepEqual(numbers, ['3', '4', '5', '6', '7']);
    assert.deepEqual(readLastLines(path.join(path.dirname(file), 'none'), 5), []);
  });

  it("H51: holds no values of a workspace's environment", () => {
    const file = inPlace();
    const log = createLogFile(file);
    log.debug('ran podman create --env TOKEN=hunter2 with blanks --env=KEY=hunter3 --rootfs /x');
    log.debug('ran podman create --name x -e LAST=hunter4');
    const text = readFileSync(file, 'utf8');
    assert.doesNotMatch(text, /hunter|blanks/);
    assert.match(text, /--env TOKEN=… --env=KEY=… --rootfs \/x/);
  });

  it('goes on when it can not be written, as on a full disk', () => {
    const file = inPlace();
    const log = createLogFile(file);
    mkdirSync(file);
    log.info('x');
    assert.deepEqual(readdirSync(file), []);
  });
});

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { Staging, type HostMemory } from '../../../src/helper/checkpoint/staging.ts';
import type { Run } from '../../../src/helper/host/run.ts';
import { SnapshotNameSchema, WorkspaceIdSchema } from '../../../src/protocol/names.ts';
import { cleanUp, memoryLog, temporaryDirectory } from './daemonHarness.ts';

const MIB = 2 ** 20;
const id = WorkspaceIdSchema.parse('ws-0123456789ab');
const [first, second] = ['snap-20261126-000000', 'snap-20261126-000001'].map((name) =>
  SnapshotNameSchema.parse(name),
) as [ReturnType<typeof SnapshotNameSchema.parse>, ReturnType<typeof SnapshotNameSchema.parse>];

describe('memory for images', () => {
  let directory: string;
  let target: string;
  let memory: HostMemory;
  let mounted: string[][];
  let log: ReturnType<typeof memoryLog>;
  let staging: Staging;

  const mount: Run = (command, args) => {
    assert.equal(command, 'mount');
    mounted.push([...args]);
    return Promise.resolve({ exitCode: 0, stdout: '', stderr: '', ms: 0 });
  };
  const stagingThat = (run: Run): Staging => new Staging(directory, run, log, () => Promise.resolve(memory));

  beforeEach(() => {
    directory = path.join(temporaryDirectory(), 'staging');
    target = temporaryDirectory();
    memory = { free: 1000 * MIB, available: 200 * MIB };
    mounted = [];
    log = memoryLog();
    staging = stagingThat(mount);
  });
  afterEach(cleanUp);

  it('is for root alone, on a tmpfs, and holds nothing yet', async () => {
    const place = await staging.reserve(id, first, 20 * MIB);
    assert.ok(place !== null);
    assert.equal(statSync(place).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(place), []);
    assert.deepEqual(mounted, [
      ['-t', 'tmpfs', '-o', 'mode=0700,nosuid,nodev,noexec', 'forkpoint-staging', directory],
    ]);
  });

  it('is not given for little, nor where the host has too little left, what is promised already taken off', async () => {
    assert.equal(await staging.reserve(id, first, 15 * MIB), null);
    assert.equal(await staging.reserve(id, first, 101 * MIB), null);
    assert.ok(await staging.reserve(id, first, 80 * MIB));
    assert.equal(await staging.reserve(id, second, 61 * MIB), null);
    await staging.discard(id, first);
    assert.ok(await staging.reserve(id, second, 61 * MIB));
  });

  it('is not given to a dump that is woken at once, unless that would wait for the disk', async () => {
    memory = { free: 1000 * MIB, available: 1000 * MIB };
    assert.equal(await staging.reserve(id, first, 99 * MIB, true), null);
    assert.ok(await staging.reserve(id, first, 99 * MIB, false));
    assert.ok(await staging.reserve(id, second, 101 * MIB, true));
  });

  it('is given back when the images are moved', async () => {
    const place = await staging.reserve(id, first, 80 * MIB);
    assert.ok(place !== null);
    writeFileSync(path.join(place, 'pages-1.img'), 'pages');
    writeFileSync(path.join(place, 'core-1.img'), 'core');
    await staging.move(id, first, target);
    assert.equal(readFileSync(path.join(target, 'pages-1.img'), 'utf8'), 'pages');
    assert.equal(readFileSync(path.join(target, 'core-1.img'), 'utf8'), 'core');
    assert.equal(existsSync(place), false);
    assert.ok(await staging.reserve(id, second, 80 * MIB));
  });

  it('is given back when they can not be moved', async () => {
    const place = await staging.reserve(id, first, 80 * MIB);
    assert.ok(place !== null);
    writeFileSync(path.join(place, 'pages-1.img'), 'pages');
    await assert.rejects(staging.move(id, first, path.join(target, 'missing')), /ENOENT/);
    assert.equal(existsSync(place), false);
    assert.ok(await staging.reserve(id, second, 80 * MIB));
  });

  it('has nothing to move for a dump that wrote into the pool', async () => {
    await staging.move(id, first, path.join(target, 'missing'));
  });

  it('is not given where nothing can be mounted, which is logged', async () => {
    const failing = stagingThat(() => Promise.reject(new Error('mount: permission denied')));
    assert.equal(await failing.reserve(id, first, 80 * MIB), null);
    assert.match(log.lines.join('\n'), /straight to the pool: mount: permission denied/);
  });

  it('is cleared of what an earlier daemon left', async () => {
    mkdirSync(path.join(directory, `${id}.${first}`), { recursive: true });
    writeFileSync(path.join(directory, `${id}.${first}`, 'pages-1.img'), 'pages');
    await staging.clear();
    assert.deepEqual(readdirSync(directory), []);
  });

  it('need not be there to be cleared', async () => {
    await staging.clear();
  });
});

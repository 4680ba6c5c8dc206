import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Layout } from '../../../src/helper/catalogue/layout.ts';
import { Assets } from '../../../src/helper/checkpoint/assets.ts';
import { beginDump, prepareWork } from '../../../src/helper/checkpoint/dump.ts';
import { createRun, type Run } from '../../../src/helper/host/run.ts';
import { copyMemoryAhead } from '../../../src/helper/service/preDump.ts';
import { ForkpointError } from '../../../src/protocol/errors.ts';
import { SnapshotNameSchema, WorkspaceIdSchema } from '../../../src/protocol/names.ts';
import { cleanUp, memoryLog, temporaryDirectory } from './daemonHarness.ts';

const MIB = 2 ** 20;
const id = WorkspaceIdSchema.parse('ws-0123456789ab');
const name = SnapshotNameSchema.parse('snap-20261126-000000');
const record = {
  id,
  name: 'web',
  engine: { kind: 'podman', container: 'forkpoint-web', id: 'c', runtime: 'runc' },
} as const;

describe('copying memory ahead', () => {
  let layout: Layout;
  /** Arguments of each call of the runtime. */
  let calls: string[][];
  let flushes: number;

  beforeEach(() => {
    layout = new Layout(temporaryDirectory());
    mkdirSync(layout.work(id), { recursive: true });
    calls = [];
    flushes = 0;
  });
  afterEach(cleanUp);

  const after = (args: readonly string[], option: string): string | undefined =>
    args.includes(option) ? args[args.indexOf(option) + 1] : undefined;

  /** With a runtime that finds so many bytes changed, round by round; null for a round that fails. */
  function copy(...rounds: (number | null)[]): Promise<string | null> {
    const run: Run = (command, args, options) => {
      assert.equal(command, 'runc');
      assert.ok(args.includes('--pre-dump'));
      options?.onStart?.(process.pid);
      const bytes = rounds[calls.length];
      calls.push([...args]);
      assert.notEqual(bytes, undefined, 'it goes on for ever');
      if (bytes === null || bytes === undefined)
        return Promise.reject(new ForkpointError('command.failed', { command: 'runc', status: 'exit 1' }));
      writeFileSync(path.join(after(args, '--image-path') ?? '', 'pages-1.img'), Buffer.alloc(bytes));
      return Promise.resolve({ exitCode: 0, stdout: '', stderr: '', ms: 0 });
    };
    const criuLog = (): string => path.join(layout.root, 'criu.log');
    const flush = (): Promise<void> => {
      flushes++;
      return Promise.resolve();
    };
    return copyMemoryAhead({ layout, run, log: memoryLog(), criuLog }, record, {
      name,
      containerId: 'c',
      deadlineMs: 30_000,
      flush,
    });
  }

  it('goes on until little is left, each round upon the one before', async () => {
    const last = await copy(64 * MIB, 24 * MIB, MIB);
    assert.equal(last, path.join(layout.preDumps(id, name), '3'));
    assert.deepEqual(
      calls.map((args) => after(args, '--parent-path')),
      [undefined, '../1', '../2'],
    );
    assert.equal(flushes, 1);
    assert.ok(!existsSync(path.join(layout.work(id), 'group')), 'the watchdog could end another process');
    assert.doesNotMatch(readFileSync(layout.optionFile(id), 'utf8'), /action-script/);
  });

  it('ends when memory is changed as fast as it is copied', async () => {
    assert.ok(await copy(64 * MIB, 40 * MIB));
    assert.equal(calls.length, 2);
  });

  it('H8 leaves nothing of the rounds before one that fails: what was changed since is not known', async () => {
    assert.equal(await copy(64 * MIB, null), null);
    assert.ok(!existsSync(layout.preDumps(id, name)));
  });
});

describe('a dump that is begun before the freeze', () => {
  let work: string;
  beforeEach(async () => {
    const assets = new Assets(path.join(temporaryDirectory(), 'assets'));
    await assets.install();
    work = path.join(temporaryDirectory(), 'work');
    await prepareWork(work, assets.action);
  });
  afterEach(cleanUp);

  /** A runtime that comes to CRIU's first step, and to its end if it is let. */
  async function begin(isBroken = false): Promise<Awaited<ReturnType<typeof beginDump>>> {
    const real = createRun(memoryLog());
    const run: Run = (command, args, options) =>
      command === 'runc'
        ? real(
            'sh',
            [
              '-c',
              isBroken ? 'exit 7' : 'CRTOOLS_SCRIPT_ACTION=pre-dump sh "$0"/action.sh && : > "$0"/dumped',
              work,
            ],
            options,
          )
        : real(command, args, options);
    return beginDump(run, {
      workspace: 'web',
      runtime: 'runc',
      containerId: 'c',
      images: path.join(work, 'images'),
      work,
      optionFile: path.join(work, 'criu.conf'),
      log: path.join(work, 'criu.log'),
      action: path.join(work, 'action.sh'),
      parent: null,
      deadlineMs: 20_000,
    });
  }
  const isDumped = (): boolean => existsSync(path.join(work, 'dumped'));

  it('waits, and goes on when it is told to', async () => {
    const dump = await begin();
    await sleep(100);
    assert.ok(!isDumped());
    await dump.finish();
    assert.ok(isDumped());
    await dump.abandon();
  });

  it('ends without a dump when it is given up', async () => {
    const dump = await begin();
    await dump.abandon();
    assert.ok(!isDumped());
  });

  it('that fails at once tells so in the freeze, where something else can be done', async () => {
    const dump = await begin(true);
    await assert.rejects(dump.finish(), { code: 'checkpoint.impossible' });
    await dump.abandon();
  });
});

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { Catalogue } from '../../../src/helper/catalogue/catalogue.ts';
import { Journal } from '../../../src/helper/catalogue/journal.ts';
import { Layout } from '../../../src/helper/catalogue/layout.ts';
import { LostAndFound } from '../../../src/helper/catalogue/lostAndFound.ts';
import { SnapshotRecordSchema, type SnapshotRecord } from '../../../src/helper/catalogue/records.ts';
import type { PoolView } from '../../../src/helper/fsck/poolFiles.ts';
import { lookAtPool } from '../../../src/helper/fsck/poolScan.ts';
import { cleanUp, memoryLog, temporaryDirectory } from '../helper/daemonHarness.ts';
import { id, snapshotRecord, workspaceRecord } from '../helper/poolRecords.ts';
import { each, Inputs, rounds, timeoutMs } from './inputs.ts';

const names = ['snap-20260101-000000', 'snap-20260102-000000'];
const words = ['../', '..', '/', '../../../outside', 'rootfs', 'volumes/data', 'a.img', id, ...names];
const startedAt = '2026-01-01T00:00:00.000Z';
const entries = [
  { workspace: id, startedAt, operation: 'create-snapshot', snapshot: names[0] },
  { workspace: id, startedAt, operation: 'create-workspace', name: 'web' },
  {
    ...{ workspace: id, startedAt, operation: 'restore', snapshot: names[0], safety: names[1] },
    ...{ isStateful: true, start: true, generation: 1, headBefore: null, isRepeat: false },
    isPastPointOfNoReturn: true,
  },
  {
    ...{ workspace: id, startedAt, operation: 'promote', origin: 'ws-00000000000a', last: names[1] },
    moves: [
      { from: names[0], to: names[1], aliasBefore: null, alias: 'a', parentBefore: null, parent: null },
    ],
  },
];
const files: Readonly<Record<string, unknown>> = {
  [`workspaces/${id}/workspace.json`]: workspaceRecord,
  [`snapshots/${id}/${names[0] ?? ''}/snapshot.json`]: {
    ...snapshotRecord('snap-20260101-000000', null),
    nested: [{ part: 'rootfs', path: 'var/lib/a' }],
  },
  [`snapshots/${id}/${names[1] ?? ''}/snapshot.json`]: snapshotRecord(
    'snap-20260102-000000',
    names[0] ?? null,
  ),
  [`expired/${id}/snap-20251231-000000/snapshot.json`]: snapshotRecord('snap-20251231-000000', null),
  [`expired/${id}/snap-20251231-000000/expired.json`]: { expiredAt: startedAt, uptimeMs: 1 },
};

describe('whatever lies in its pool, the helper', function () {
  this.timeout(timeoutMs);

  let inputs: Inputs;
  /** Holds the pool, and beside it what nothing of the pool may lead to. */
  let directory: string;
  let layout: Layout;
  /** What was spoiled last, with what it should hold; undefined for nothing. */
  let last: [name: string, content: unknown][] = [];

  before(() => {
    inputs = new Inputs();
    directory = temporaryDirectory();
    layout = new Layout(path.join(directory, 'pool'));
    mkdirSync(path.join(directory, 'outside/rootfs'), { recursive: true });
    writeFileSync(path.join(directory, 'outside/rootfs/kept'), 'kept');
  });

  after(cleanUp);

  /** Makes a pool that is whole. */
  function make(): void {
    rmSync(layout.root, { recursive: true, force: true });
    for (const one of names)
      for (const part of ['rootfs', 'volumes/data', 'nested/0', 'memory'])
        mkdirSync(path.join(layout.snapshots(), id, one, part), { recursive: true });
    for (const [name, content] of Object.entries(files)) {
      const file = path.join(layout.root, name);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, JSON.stringify(content));
    }
    mkdirSync(layout.journal());
  }

  /** Spoils one of its records, and writes an entry of the journal; the one before is whole again. */
  function spoil(): Record<string, string> {
    const journal = path.join('journal', `${inputs.one([id, 'ws-00000000000b'])}.json`);
    // Most of them are what is acted upon.
    const record = inputs.one([...Object.keys(files), ...Object.keys(files).slice(0, 3)]);
    const changed = { [record]: spoiled(files[record]), [journal]: spoiled(inputs.one(entries)) };
    for (const [name, content] of last) {
      rmSync(path.join(layout.root, name), { recursive: true, force: true });
      if (content !== undefined) writeFileSync(path.join(layout.root, name), JSON.stringify(content));
    }
    for (const [name, text] of Object.entries(changed)) {
      const file = path.join(layout.root, name);
      rmSync(file, { force: true });
      // What can't be read at all, as on a disk that returns errors.
      if (inputs.below(20) === 0) mkdirSync(file);
      else writeFileSync(file, text);
    }
    last = Object.keys(changed).map((name) => [name, files[name]]);
    return Object.fromEntries(Object.entries(changed).map(([name, text]) => [name, text.toString()]));
  }

  function spoiled(content: unknown): Buffer {
    const text = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
    const kind = inputs.below(6);
    if (kind === 0) return text(content);
    if (kind === 1) return inputs.spoiled(text(content));
    return text(kind < 4 ? inputs.spoiledValue(content, words) : { ...Object(content), ...elsewhere() });
  }

  /** A field by which a record may speak of another place than its own. */
  function elsewhere(): Record<string, unknown> {
    const word = inputs.one(['..', '../', '../../../outside', 'volumes/..', 'a/../../b', names[1] ?? '']);
    return inputs.one([
      { id: 'ws-00000000000b' },
      { workspace: 'ws-00000000000b' },
      { name: word },
      { parts: ['rootfs', word] },
      { nested: [{ part: 'rootfs', path: word }] },
      { nested: [{ part: word, path: 'a' }] },
      { images: [{ name: word, bytes: 5 }] },
    ]);
  }

  function requireWithin(place: string, parent: string): void {
    assert.ok(path.normalize(place).startsWith(`${parent}/`), `${place} is not in ${parent}`);
  }

  /** All that is in a directory, with what the files hold. */
  function contentsOf(place: string): [string, string | null][] {
    return readdirSync(place, { recursive: true, withFileTypes: true })
      .map((one) => path.join(one.parentPath, one.name))
      .sort()
      .map((one) => [one, existsSync(path.join(one, '.')) ? null : readFileSync(one, 'utf8')]);
  }

  it('reads what is whole, each record by where it lies, and leaves or names the rest', () => {
    make();
    return each(
      spoil,
      async () => {
        const catalogue = new Catalogue(layout, memoryLog(), () => Promise.resolve(false));
        await catalogue.load();
        for (const workspace of catalogue.allWorkspaces()) {
          assert.equal(workspace.id, id);
          for (const { name } of workspace.spec.volumes)
            requireWithin(layout.livePart(id, `volumes/${name}`), layout.workspace(id));
          for (const snapshot of catalogue.snapshotsOf(id)) requireInPlace(snapshot);
        }
        const journal = new Journal(layout.journal(), () => Promise.resolve(false));
        const { entries: read, unreadable } = await journal.read();
        assert.equal(read.length + unreadable.length, 1);
        for (const file of unreadable) assert.equal(path.dirname(file), layout.journal());
        for (const workspace of (await lookAtPool(view())).workspaces) assert.equal(workspace.id, id);
      },
      Math.ceil(rounds / 3),
    );
  });

  it('takes no record by which it would step out of it', () => {
    const whole = snapshotRecord('snap-20260101-000000', null);
    const isTaken = (change: object): boolean =>
      SnapshotRecordSchema.safeParse({ ...whole, ...change }).success;
    assert.ok(isTaken({ nested: [{ part: 'volumes/data', path: 'var/..lib/a' }] }));
    for (const out of ['..', '../', '../../outside', 'a/../../b', '/etc', '.', '', 'a\0b']) {
      assert.ok(!isTaken({ parts: [out] }), out);
      assert.ok(!isTaken({ parts: [`volumes/${out}`] }), out);
      assert.ok(!isTaken({ nested: [{ part: out, path: 'a' }] }), out);
      assert.ok(!isTaken({ nested: [{ part: 'rootfs', path: out }] }), out);
      assert.ok(!isTaken({ images: [{ name: out, bytes: 5 }] }), out);
    }
  });

  it('is repaired without a step out of it', () => {
    const outside = contentsOf(path.join(directory, 'outside'));
    return each(
      () => {
        make();
        last = [];
        return spoil();
      },
      async () => {
        const before = contentsOf(layout.root);
        const { found } = await lookAtPool(view());
        assert.deepEqual(contentsOf(layout.root), before);
        for (const { mend } of found) await mend?.();
        assert.deepEqual(contentsOf(path.join(directory, 'outside')), outside);
        assert.deepEqual(readdirSync(directory).sort(), ['outside', 'pool']);
      },
      Math.ceil(rounds / 40),
    );
  });

  function requireInPlace({ workspace, name, parts, nested, images }: SnapshotRecord): void {
    assert.ok(workspace === id && names.includes(name), `${workspace}/${name}`);
    const place = layout.snapshot(id, name);
    for (const part of parts) requireWithin(layout.snapshotPart(id, name, part), place);
    for (const one of nested) requireWithin(path.join(place, one.part, one.path), path.join(place, one.part));
    for (const image of images)
      assert.equal(path.dirname(path.join(layout.memory(id, name), image.name)), layout.memory(id, name));
  }

  /** The pool as fsck sees it, which may ask about nothing else. */
  function view(): PoolView {
    return {
      layout,
      lost: new LostAndFound(layout, new Date('2026-02-03T04:05:06Z')),
      owner: process.getuid?.() ?? 0,
      bootId: 'boot',
      isSubvolume: (place) => {
        if (place !== layout.root) requireWithin(place, layout.root);
        return Promise.resolve(existsSync(place));
      },
      isReadOnly: () => true,
      makeReadOnly: () => Promise.resolve(),
    };
  }
});

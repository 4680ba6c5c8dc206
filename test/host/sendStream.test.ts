import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { build } from 'esbuild';
import type { FileChanges } from '../../src/protocol/snapshot.ts';
import { visible } from '../../src/protocol/visible.ts';
import { sharedHost } from './workspace.ts';
import type { TestHost } from './machine/machine.ts';

/** How many pairs of trees are compared. */
const CASES = 300;

/**
 * Makes random trees on btrfs and changes them at random, as root on the host, and lets the reader of the send stream
 * compare the snapshots; prints for each case what it found and what a plain walk of both snapshots finds.
 */
const program = `
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { compareSubvolumes } from './src/helper/subvolumes/sendStream.ts';

const [pool, seedText, count] = process.argv.slice(2);
let state = Number(seedText);
const random = (below) => { state = (Math.imul(state, 1103515245) + 12345) >>> 0; return Math.floor(((state >>> 8) / 0x1000000) * below); };
const pick = (list) => list[random(list.length)];
const bytes = (text) => Buffer.from(text, 'latin1');
const names = ['a', 'b', 'c d', 'e\\nf', 'g\\\\h', '\\xc3\\xa4', 'bad\\xff', 'o257-9-0', '-x', 'dest=y'];
const btrfs = (...args) => execFileSync('btrfs', ['-q', ...args]);
const root = bytes(pool + '/live');
const at = (path) => path === '' ? root : Buffer.concat([root, bytes('/' + path)]);
const walk = (top, visit, path = '') => {
  const place = path === '' ? bytes(top) : bytes(top + '/' + path);
  const facts = fs.lstatSync(place, { bigint: true });
  visit(path, facts, place);
  if (facts.isDirectory()) for (const name of fs.readdirSync(place, { encoding: 'latin1' }).sort()) walk(top, visit, path === '' ? name : path + '/' + name);
};
const tree = () => { const files = [], directories = ['']; walk(root.toString('latin1'), (path, facts) => { if (path !== '') (facts.isDirectory() ? directories : files).push(path); }); return { files, directories }; };
const step = () => {
  const { files, directories } = tree();
  const anything = [...files, ...directories.slice(1)];
  const fresh = () => { const parent = pick(directories); const name = pick(names); return parent === '' ? name : parent + '/' + name; };
  const [target, source] = [fresh(), anything.length > 0 ? pick(anything) : ''];
  const isFree = !fs.existsSync(at(target)) && !anything.includes(target);
  switch (random(11)) {
    case 0: case 1: case 2: if (isFree) fs.writeFileSync(at(target), String(state)); break;
    case 3: case 4: if (isFree) fs.mkdirSync(at(target)); break;
    case 5: if (isFree) fs.symlinkSync('to-' + state, at(target)); break;
    case 6: if (isFree && files.length > 0) fs.linkSync(at(pick(files)), at(target)); break;
    case 7: case 8: if (isFree && source !== '' && !(target + '/').startsWith(source + '/')) fs.renameSync(at(source), at(target)); break;
    case 9: if (source !== '') fs.rmSync(at(source), { recursive: true }); break;
    case 10: {
      const file = files.length > 0 ? pick(files) : null;
      if (file !== null && fs.lstatSync(at(file)).isFile()) {
        if (random(3) === 0) fs.chmodSync(at(file), 0o600 + random(64)); else fs.appendFileSync(at(file), ' ' + state);
      }
    }
  }
};
const look = (top) => {
  const seen = { entries: new Map(), inodes: new Map() };
  walk(top, (path, facts, place) => {
    const cut = path.lastIndexOf('/');
    const kind = facts.isDirectory() ? 'directory' : facts.isSymbolicLink() ? 'link' : 'file';
    const content = kind === 'link' ? fs.readlinkSync(place, 'latin1') : kind === 'file' ? fs.readFileSync(place, 'latin1') : '';
    seen.inodes.set(facts.ino, [facts.mode, content].join(' '));
    if (path !== '') seen.entries.set(path, { path, kind, inode: facts.ino, parent: null, name: path.slice(cut + 1), up: cut < 0 ? '' : path.slice(0, cut) });
  });
  for (const one of seen.entries.values()) one.parent = one.up === '' ? 256n : seen.entries.get(one.up).inode;
  return seen;
};
const expected = (before, after) => {
  const found = new Map(), must = [], any = [];
  const key = (one) => one.parent + ' ' + one.name;
  const [old, now] = [before, after].map(({ entries }) => new Map([...entries.values()].map((one) => [key(one), one])));
  for (const one of old.values()) if (now.get(key(one))?.inode !== one.inode) found.set(one.path, { change: 'deleted', isDirectory: one.kind === 'directory' && !after.inodes.has(one.inode) });
  const changed = new Set();
  for (const one of now.values()) {
    const was = old.get(key(one));
    if (was?.inode !== one.inode) {
      const gone = found.get(one.path);
      const isDirectory = one.kind === 'directory' && !before.inodes.has(one.inode);
      found.set(one.path, gone?.change === 'deleted' ? { change: 'changed', isDirectory: isDirectory && gone.isDirectory } : { change: 'added', isDirectory });
    } else if (before.inodes.get(one.inode) !== after.inodes.get(one.inode)) changed.add(one.inode);
  }
  const namesOf = (inode) => [...now.values()].filter((one) => one.inode === inode).map(({ path }) => path);
  return { found: [...found], changed: [...changed].map(namesOf) };
};
execFileSync('mkdir', ['-p', pool]);
for (let number = 0; number < Number(count); number++) {
  state = (Number(seedText) + number * 7919) >>> 0;
  btrfs('subvolume', 'create', pool + '/live');
  for (let i = random(60); i > 0; i--) step();
  btrfs('subvolume', 'snapshot', '-r', pool + '/live', pool + '/before');
  for (let i = 1 + random(25); i > 0; i--) step();
  btrfs('subvolume', 'snapshot', '-r', pool + '/live', pool + '/after');
  const reported = await compareSubvolumes(pool + '/before', pool + '/after', '', undefined).catch((error) => ({ failed: error.message + ' ' + error.stack }));
  console.log(JSON.stringify({ number, reported, ...expected(look(pool + '/before'), look(pool + '/after')) }));
  btrfs('subvolume', 'delete', pool + '/live', pool + '/before', pool + '/after');
}
`;

describe('the changed files between two snapshots', function () {
  this.timeout(120_000);
  let host: TestHost;

  before(async () => {
    host = await sharedHost();
  });

  it(`are those that a plain walk of both finds, in ${CASES} random trees`, async () => {
    const seed = randomBytes(4).readUInt32LE();
    const bundled = await build({
      stdin: { contents: program, resolveDir: process.cwd(), loader: 'js' },
      ...{ bundle: true, platform: 'node', format: 'esm', write: false, logLevel: 'silent' },
    });
    const source = bundled.outputFiles[0]?.text ?? '';
    const output = await host.run(
      [
        'sh',
        '-c',
        `cat > /run/compare.mjs; exec node /run/compare.mjs /var/lib/forkpoint/compare ${seed} ${CASES}`,
      ],
      { input: source },
    );
    const cases = output.trimEnd().split('\n');
    assert.equal(cases.length, CASES);
    for (const line of cases) {
      const { number, reported, found, changed } = JSON.parse(line) as Case;
      const told = new Map(reported.first.map(({ path, change }) => [path, change]));
      const differing = new Map(found.map(([path, facts]) => [shown(path), facts]));
      const rewritten = changed.map((names) => names.map(shown));
      const where = `seed ${seed}, case ${number}: ${line}`;
      // Something else may have come to the place of what is gone, with the directory around it, and be rewritten.
      const isRewritten = (path: string): boolean => rewritten.some((names) => names.includes(path));
      for (const [path, change] of told) {
        const isRight = change === differing.get(path)?.change || (change === 'changed' && isRewritten(path));
        assert.ok(isRight, `"${path}" is not ${change}, ${where}`);
      }
      for (const [path, { change, isDirectory }] of differing) {
        const hasContent = [...told.keys()].some((other) => other.startsWith(`${path}/`));
        const expected = isDirectory && hasContent ? undefined : change;
        const isRight = told.get(path) === expected || (told.get(path) === 'changed' && isRewritten(path));
        assert.ok(isRight, `"${path}" is ${told.get(path)} instead of ${expected}, ${where}`);
      }
      for (const names of rewritten)
        assert.ok(
          names.some((name) => told.has(name)),
          `"${names.join('", "')}", ${where}`,
        );
      const count = (change: string): number => [...told.values()].filter((one) => one === change).length;
      const { added, changed: altered, deleted } = reported;
      assert.deepEqual(
        [added, altered, deleted],
        [count('added'), count('changed'), count('deleted')],
        where,
      );
    }
  });
});

/** What the program prints for one pair of trees; its paths are bytes, as latin1. */
interface Case {
  readonly number: number;
  readonly reported: FileChanges;
  /** What came, went or was replaced. */
  readonly found: [path: string, { change: string; isDirectory: boolean }][];
  /** What is at its place with another content or mode: all names of each such file or directory. */
  readonly changed: string[][];
}

/** A path as Forkpoint shows it. */
function shown(path: string): string {
  return visible(Buffer.from(path, 'latin1').toString('utf8'));
}

import assert from 'node:assert/strict';
import { mergeChanges, SendStreamReader } from '../../../src/helper/subvolumes/sendStream.ts';

/** Numbers of linux/fs/btrfs/send.h. */
const command = {
  mkfile: 3,
  mkdir: 4,
  rename: 9,
  link: 10,
  unlink: 11,
  rmdir: 12,
  chmod: 18,
  utimes: 20,
  update: 22,
};
const attribute = { path: 15, pathTo: 16, pathLink: 17 };

/** One command of a stream: its number, and its attributes' numbers and texts. */
type Command = readonly [number: number, ...attributes: (readonly [number: number, text: string])[]];

function stream(...commands: Command[]): Buffer {
  const parts = [Buffer.from('btrfs-stream\0\x01\0\0\0', 'latin1')];
  for (const [number, ...attributes] of commands) {
    const body = Buffer.concat(
      attributes.flatMap(([kind, text]) => {
        const header = Buffer.alloc(4);
        header.writeUInt16LE(kind, 0);
        header.writeUInt16LE(Buffer.byteLength(text, 'utf8'), 2);
        return [header, Buffer.from(text, 'utf8')];
      }),
    );
    const header = Buffer.alloc(10);
    header.writeUInt32LE(body.length, 0);
    header.writeUInt16LE(number, 4);
    parts.push(header, body);
  }
  return Buffer.concat(parts);
}

const on = (number: number, path: string): Command => [number, [attribute.path, path]];
const rename = (from: string, to: string): Command => [
  command.rename,
  [attribute.path, from],
  [attribute.pathTo, to],
];
const link = (path: string, existing: string): Command => [
  command.link,
  [attribute.path, path],
  [attribute.pathLink, existing],
];

/** What is reported, as "change path". */
function read(...commands: Command[]): string[] {
  const reader = new SendStreamReader();
  reader.take(stream(...commands));
  return reader.result().first.map(({ path, change }) => `${change} ${path}`);
}

describe('the reader of btrfs send streams', () => {
  it('refuses trees that have no end, and paths that no kernel writes', () => {
    const endless: Command[][] = [
      [link('again', '')],
      [rename('', 'again')],
      [on(command.mkdir, 'a'), link('a/again', 'a')],
      [on(command.update, 'a/file'), link('a/again', 'a')],
      [link('again', 'a'), on(command.mkfile, 'a/b')],
      [on(command.mkfile, 'a/'.repeat(3000))],
    ];
    for (const commands of endless) assert.throws(() => read(...commands), { code: 'internal' });
  });

  it('names what was made under a temporary name by the name it got', () => {
    assert.deepEqual(
      read(on(command.mkfile, 'o260-9-0'), rename('o260-9-0', 'notes.txt'), on(command.update, 'notes.txt')),
      ['added /notes.txt'],
    );
  });

  it('names the files of a deleted directory by the paths they had, and not the directory', () => {
    const told = read(
      rename('project/src', 'o258-9-0'),
      on(command.unlink, 'o258-9-0/one.ts'),
      on(command.unlink, 'o258-9-0/two.ts'),
      on(command.rmdir, 'o258-9-0'),
      on(command.utimes, 'project'),
    );
    assert.deepEqual(told, ['deleted /project/src/one.ts', 'deleted /project/src/two.ts']);
  });

  it('names a directory that came or went with nothing in it', () => {
    assert.deepEqual(
      read(on(command.rmdir, 'old'), on(command.mkdir, 'o300-9-0'), rename('o300-9-0', 'empty')),
      ['added /empty', 'deleted /old'],
    );
  });

  it('calls a file changed that was deleted and made again', () => {
    assert.deepEqual(read(on(command.unlink, 'a'), on(command.mkfile, 'o300-9-0'), rename('o300-9-0', 'a')), [
      'changed /a',
    ]);
  });

  it('finds two files that changed places, through a temporary name', () => {
    assert.deepEqual(read(rename('a', 'o257-9-0'), rename('b', 'a'), rename('o257-9-0', 'b')), [
      'changed /a',
      'changed /b',
    ]);
  });

  it('reports a moved directory as one, and a file changed in it under its path of now', () => {
    assert.deepEqual(read(rename('a', 'b'), on(command.update, 'b/file'), on(command.unlink, 'b/gone')), [
      'deleted /a',
      'deleted /a/gone',
      'added /b',
      'changed /b/file',
    ]);
  });

  it('reports a further name of a file, and the loss of one', () => {
    assert.deepEqual(read(link('second', 'first')), ['added /second']);
    assert.deepEqual(read(link('second', 'first'), on(command.unlink, 'first')), [
      'deleted /first',
      'added /second',
    ]);
  });

  it('reports what was put back where it was as nothing', () => {
    assert.deepEqual(read(rename('a', 'o257-9-0'), rename('o257-9-0', 'a'), on(command.utimes, '')), []);
  });

  it('reads the stream in pieces of one byte', () => {
    const reader = new SendStreamReader();
    for (const byte of stream(on(command.chmod, 'naïve file'), on(command.unlink, 'x\ny')))
      reader.take(Buffer.from([byte]));
    const { added, changed, deleted, first } = reader.result('/data/');
    assert.deepEqual({ added, changed, deleted }, { added: 0, changed: 1, deleted: 1 });
    assert.deepEqual(
      first.map(({ path }) => path),
      ['/data/naïve file', '/data/x\\u{a}y'],
    );
  });

  it('refuses what is not a whole send stream', () => {
    assert.throws(
      () => new SendStreamReader().take(Buffer.from('ERROR: cannot find parent subvolume')),
      /does not begin as one/,
    );
    const reader = new SendStreamReader();
    reader.take(stream(on(command.unlink, 'a')).subarray(0, -1));
    assert.throws(() => reader.result(), /cut off/);
  });

  it('counts all and names the first hundred, over several parts too', () => {
    const reader = new SendStreamReader();
    reader.take(
      stream(
        ...Array.from({ length: 150 }, (_, index) =>
          on(command.unlink, `f${String(index).padStart(3, '0')}`),
        ),
      ),
    );
    const one = reader.result();
    assert.equal(one.deleted, 150);
    assert.equal(one.first.length, 100);
    assert.equal(one.first.at(-1)?.path, '/f099');
    const both = mergeChanges([one, one]);
    assert.equal(both.deleted, 300);
    assert.equal(both.first.length, 100);
  });
});

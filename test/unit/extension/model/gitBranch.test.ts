import assert from 'node:assert/strict';
import type { FileStat, Uri } from 'vscode';
import { branchOfHead, gitDirectoryOfFile, readBranch } from '../../../../src/extension/model/gitBranch.ts';

/** What the editor calls a file and a directory. */
const [FILE, DIRECTORY] = [1, 2];

/** An address on another machine, as much of it as is used. */
function remote(path: string): Uri {
  return { authority: 'ssh-remote+build1', path, with: ({ path: other = '' }) => remote(other) } as Uri;
}

/** The editor's file system: files by their paths on that machine, with what was read of them. */
function fileSystem(files: Readonly<Record<string, string>>) {
  const read: string[] = [];
  return {
    read,
    stat: ({ authority, path }: Uri): Promise<FileStat> => {
      const content = files[path];
      const isDirectory = Object.keys(files).some((file) => file.startsWith(`${path}/`));
      return authority === 'ssh-remote+build1' && (isDirectory || content !== undefined)
        ? Promise.resolve({
            type: isDirectory ? DIRECTORY : FILE,
            ctime: 0,
            mtime: 0,
            size: content?.length ?? 0,
          })
        : Promise.reject(new Error(`there is no ${path}`));
    },
    readFile: ({ path }: Uri): Promise<Uint8Array> => {
      read.push(path);
      return Promise.resolve(Buffer.from(files[path] ?? ''));
    },
  };
}

describe('the git branch', () => {
  it('is read from HEAD', () => {
    assert.equal(branchOfHead('ref: refs/heads/feature/login\n'), 'feature/login');
  });

  it('is none while HEAD is detached', () => {
    assert.equal(branchOfHead('0123456789012345678901234567890123456789\n'), null);
  });

  it("H35: is read where the folder is, through the editor's file system", async () => {
    const files = { '/srv/web/.git/HEAD': 'ref: refs/heads/login\n' };
    assert.equal(await readBranch(fileSystem(files), remote('/srv/web')), 'login');
    assert.equal(await readBranch(fileSystem(files), remote('/srv/other')), null);
  });

  it('H35: is found through a .git that is a file', async () => {
    assert.equal(gitDirectoryOfFile('gitdir: ../.git/worktrees/login\n'), '../.git/worktrees/login');
    assert.equal(gitDirectoryOfFile('something else'), null);
    for (const repository of ['../main/.git/worktrees/web', '/srv/main/.git/worktrees/web']) {
      const files = {
        '/srv/web/.git': `gitdir: ${repository}\n`,
        '/srv/main/.git/worktrees/web/HEAD': 'ref: refs/heads/login\n',
      };
      assert.equal(await readBranch(fileSystem(files), remote('/srv/web')), 'login', repository);
    }
  });

  it('is not looked for in a file that is larger than any that names one', async () => {
    const large = 'x'.repeat(10_000);
    for (const files of [
      { '/srv/web/.git': `gitdir: /srv/${large}\n` },
      { '/srv/web/.git/HEAD': `ref: refs/heads/${large}\n` },
    ]) {
      const system = fileSystem(files);
      assert.equal(await readBranch(system, remote('/srv/web')), null);
      assert.deepEqual(system.read, []);
    }
  });

  it('is told in a moment, whatever the file holds', () => {
    const blanks = ' '.repeat(1_000_000);
    const started = performance.now();
    for (const text of [
      `gitdir: a${blanks}b`,
      `gitdir: ${'\n'.repeat(1_000_000)}`,
      blanks,
      `ref: refs/heads/${blanks}`,
    ]) {
      gitDirectoryOfFile(text);
      branchOfHead(text);
    }
    const ms = performance.now() - started;
    assert.ok(ms < 1000, `${String(ms)} ms`);
  });
});

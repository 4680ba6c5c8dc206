import { posix } from 'node:path';
import type { FileSystem, Uri } from 'vscode';

/** More than a path has (PATH_MAX, 4,096 bytes): a larger file names no branch and no repository, and isn't read. */
const LONGEST_BYTES = 8192;

/** `FileType.Directory` of the editor. */
const DIRECTORY = 2;

/** How a `.git` file begins (setup.c of Git, read_gitfile_gently). */
const GIT_FILE = 'gitdir: ';

/**
 * The branch that is checked out in a folder, wherever that is: the Git extension may run on another machine than this one
 * (H35). Null where there is none, or no repository.
 * @param files the editor's `workspace.fs`
 */
export async function readBranch(
  files: Pick<FileSystem, 'stat' | 'readFile'>,
  folder: Uri,
): Promise<string | null> {
  try {
    const dotGit = inside(folder, '.git');
    const { type } = await files.stat(dotGit);
    if ((type & DIRECTORY) !== 0) return branchOfHead(await readText(files, inside(dotGit, 'HEAD')));
    const directory = gitDirectoryOfFile(await readText(files, dotGit));
    if (directory === null) return null;
    const repository = directory.startsWith('/')
      ? folder.with({ path: directory })
      : inside(folder, directory);
    return branchOfHead(await readText(files, inside(repository, 'HEAD')));
  } catch {
    // Most folders are no repository, which is no failure.
    return null;
  }
}

/** The branch that a `HEAD` file names: null for a detached one. */
export function branchOfHead(content: string): string | null {
  return /^ref: refs\/heads\/(\S+)/.exec(content)?.[1] ?? null;
}

/** Where a `.git` file (of a worktree or submodule) says that the repository is; null when it says nothing. */
export function gitDirectoryOfFile(content: string): string | null {
  if (!content.startsWith(GIT_FILE)) return null;
  const [directory] = content.slice(GIT_FILE.length).split(/[\r\n]/, 1);
  return directory === undefined || directory === '' ? null : directory;
}

function inside(folder: Uri, path: string): Uri {
  return folder.with({ path: posix.join(folder.path, path) });
}

/** Empty for a file that is larger than any that is meant. */
async function readText(files: Pick<FileSystem, 'stat' | 'readFile'>, file: Uri): Promise<string> {
  const { size } = await files.stat(file);
  return size > LONGEST_BYTES ? '' : Buffer.from(await files.readFile(file)).toString('utf8');
}

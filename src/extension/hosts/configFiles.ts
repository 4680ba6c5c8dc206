import { readFile, readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import * as path from 'node:path';

/** OpenSSH gives up at this depth of Include too (readconf.c, READCONF_MAX_DEPTH). */
const MAXIMUM_INCLUDE_DEPTH = 16;

/** The user's own SSH configuration. */
export function userConfigFile(): string {
  return path.join(homedir(), '.ssh', 'config');
}

/** The machine's SSH configuration. */
export function systemConfigFile(): string {
  return process.platform === 'win32'
    ? path.join(process.env['PROGRAMDATA'] ?? 'C:\\ProgramData', 'ssh', 'ssh_config')
    : '/etc/ssh/ssh_config';
}

/** Replaces a leading `~` by the home directory. */
export function expandHome(file: string): string {
  return file === '~' || file.startsWith('~/') || file.startsWith('~\\')
    ? path.join(homedir(), file.slice(1))
    : file;
}

/**
 * The text of a configuration file with what it includes in its place. A file that can't be read is empty, as it is
 * for OpenSSH. After an include the enclosing Host or Match is opened again, so that the last section of the
 * included file doesn't swallow what follows.
 */
export async function readConfigText(file: string, above: readonly string[] = []): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch {
    return '';
  }
  const lines: string[] = [];
  let section = 'Host *';
  for (const line of text.split(/\r?\n/)) {
    const directive = /^(\w+)(?:\s*=\s*|\s+)(.*)$/.exec(line.trim());
    const keyword = directive?.[1]?.toLowerCase();
    if (keyword === 'host' || keyword === 'match') section = line;
    if (keyword !== 'include' || directive?.[2] === undefined) {
      lines.push(line);
      continue;
    }
    if (above.length >= MAXIMUM_INCLUDE_DEPTH) continue;
    for (const included of await findIncluded(directive[2]))
      // One that includes itself more than once would be read more often than ever ends.
      if (included !== file && !above.includes(included))
        lines.push(await readConfigText(included, [...above, file]));
    lines.push(section);
  }
  return lines.join('\n');
}

/** The files that the argument of an Include names: several words, quotes, `*` and `?`; relative to `~/.ssh`. */
async function findIncluded(argument: string): Promise<string[]> {
  const words = [...argument.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? '');
  const found: string[] = [];
  for (const word of words)
    found.push(...(await expandPattern(path.resolve(homedir(), '.ssh', expandHome(word)))));
  return found;
}

async function expandPattern(pattern: string): Promise<string[]> {
  if (!/[*?]/.test(pattern)) return [pattern];
  const { root } = path.parse(pattern);
  let directories = [root];
  for (const part of pattern.slice(root.length).split(path.sep)) {
    const next: string[] = [];
    for (const directory of directories) {
      if (!/[*?]/.test(part)) {
        next.push(path.join(directory, part));
        continue;
      }
      const names = await readdir(directory).catch(() => []);
      const matcher = wildcard(part);
      // As glob(7): a leading dot must be spelled out.
      const visible = names.filter(
        (name) => matcher.test(name) && (part.startsWith('.') || !name.startsWith('.')),
      );
      next.push(...visible.sort().map((name) => path.join(directory, name)));
    }
    directories = next;
  }
  return directories;
}

/** The expression for a pattern of OpenSSH: `*` is any text, `?` one character. */
export function wildcard(pattern: string): RegExp {
  const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped.replace(/\*+/g, '.*').replaceAll('?', '.')}$`, 'i');
}

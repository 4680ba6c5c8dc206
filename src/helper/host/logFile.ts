import { appendFileSync, chmodSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import * as path from 'node:path';
import { visible } from '../../protocol/names.ts';
import type { Log } from './log.ts';

/** Size in bytes at which a log file is put aside. */
const MAXIMUM_BYTES = 2 * 1024 * 1024;
/** How many files put aside are kept: helper.log.1 (newest) to helper.log.5. */
const KEPT_FILES = 5;

type Level = keyof Log;

/** sd-daemon(3): a level that the journal understands, before the line. */
const journalLevels: Record<Level, string> = { debug: '<7>', info: '<6>', warn: '<4>', error: '<3>' };

export interface LogFileOptions {
  /** Also prints each line to stderr, for the journal of systemd. */
  readonly alsoToJournal?: boolean;
  readonly maximumBytes?: number;
}

/**
 * A log in `file` (0600, its directory 0700), put aside when it is full. Each call is one line: control characters
 * are made visible, so that no name can forge one. Lines are written at once, for the last ones before a crash to be there.
 */
export function createLogFile(file: string, options: LogFileOptions = {}): Log {
  const { alsoToJournal = false, maximumBytes = MAXIMUM_BYTES } = options;
  const directory = path.dirname(file);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  let bytes = 0;
  try {
    bytes = statSync(file).size;
    chmodSync(file, 0o600);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }

  const write = (level: Level, text: string): void => {
    const shown = visible(withoutSecrets(text));
    const line = `${new Date().toISOString()} ${level.padEnd(5)} ${shown}\n`;
    if (bytes > 0 && bytes + line.length > maximumBytes) {
      putAside(file);
      bytes = 0;
    }
    try {
      appendFileSync(file, line, { mode: 0o600 });
    } catch (error) {
      // A full disk must not end an operation; the journal or the detached daemon's stderr may still tell.
      process.stderr.write(`forkpoint: can't write ${file}: ${String(error)}\n`);
    }
    bytes += Buffer.byteLength(line);
    if (alsoToJournal) process.stderr.write(`${journalLevels[level]}${shown}\n`);
  };
  return {
    debug: (line) => write('debug', line),
    info: (line) => write('info', line),
    warn: (line) => write('warn', line),
    error: (line) => write('error', line),
  };
}

/** The last `count` lines, oldest first, from the file and those put aside; none when nothing was logged. */
export function readLastLines(file: string, count: number): string[] {
  let lines: string[] = [];
  for (let age = 0; age <= KEPT_FILES && lines.length < count; age += 1) {
    try {
      const text = readFileSync(age === 0 ? file : aside(file, age), 'utf8');
      lines = [...text.split('\n').filter((line) => line !== ''), ...lines];
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return lines.slice(-count);
}

/** The values of a workspace's environment are its secrets: engines are given them as `--env NAME=VALUE`. */
function withoutSecrets(line: string): string {
  return line.replace(/(\s(?:--env|-e)[ =][A-Za-z_]\w*=).*?(?=\s--?[A-Za-z]|$)/gs, '$1…');
}

function putAside(file: string): void {
  for (let age = KEPT_FILES - 1; age >= 0; age -= 1) {
    try {
      renameSync(age === 0 ? file : aside(file, age), aside(file, age + 1));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
}

function aside(file: string, age: number): string {
  return `${file}.${String(age)}`;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

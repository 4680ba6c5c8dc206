/**
 * The program that brings the helper onto a host: JavaScript to be piped into `node -`, run as root. It unpacks
 * the helper into a private directory and hands over to `helper.cjs install`, which does the rest. Over stdin
 * nothing depends on SFTP, on an executable /tmp or on the login shell's quoting (H37).
 * @param helperBase64 the bundled helper, base64
 * @param marker printed as {@link markerLine} before the helper's one line of JSON; `[0-9a-f]+`
 */
export function installProgram(helperBase64: string, marker: string): string {
  return `'use strict';
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const directory = fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'forkpoint-'));
try {
  const file = path.join(directory, 'helper.cjs');
  fs.writeFileSync(file, Buffer.from(${JSON.stringify(helperBase64)}, 'base64'), { mode: 0o600 });
  const { status } = spawnSync(process.execPath, [file, 'install', '--marker', ${JSON.stringify(marker)}], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  process.exitCode = status ?? 1;
} finally {
  fs.rmSync(directory, { recursive: true, force: true });
}
`;
}

/** What `helper.cjs install` prints as one line of JSON after the marker. */
export interface Installed {
  /** SHA-256 of the helper, in hexadecimal. */
  readonly digest: string;
  readonly version: string;
  /** Whether /usr/local/bin/forkpoint now starts this helper; false when a newer one was there. */
  readonly current: boolean;
}

// node test/run/start.mjs FILE.ts [ARGUMENT…]: runs a TypeScript program of this repository, on a fresh clone too.
// It needs nothing but Node and npm, and installs what package-lock.json names when that is not there.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Of all tools used here, the linter asks for the newest Node. */
const oldestNode = [20, 19];

const root = fileURLToPath(new URL('../../', import.meta.url));

requireNode();
installMissing();
const [program, ...args] = process.argv.slice(2);
const child = spawn(process.execPath, ['--import', 'tsx', program, ...args], { cwd: root, stdio: 'inherit' });
// The program decides what they mean.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (status) => {
  process.exitCode = status ?? 1;
});

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])) return;
  fail(`Node ${oldestNode.join('.')} or newer is needed, and this is ${process.versions.node}.`);
}

function installMissing() {
  const missing = missingPackages();
  if (missing === 0) return;
  const isFresh = !existsSync(`${root}node_modules`);
  const args = isFresh ? ['ci'] : ['install'];
  process.stderr.write(`Installing ${missing} packages from the npm registry (npm ${args.join(' ')})…\n`);
  const npm = spawnSync('npm', args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    // npm is a batch file there.
    shell: process.platform === 'win32',
  });
  if (npm.status !== 0) fail(`"npm ${args.join(' ')}" failed; its messages above say why.`);
}

/** How many packages of the lock file are not installed in that version; npm notes what it has installed. */
function missingPackages() {
  const installed = readLock('node_modules/.package-lock.json');
  return Object.entries(readLock('package-lock.json')).filter(
    ([path, { version, optional }]) =>
      path !== '' && optional !== true && installed[path]?.version !== version,
  ).length;
}

function readLock(file) {
  return existsSync(root + file) ? JSON.parse(readFileSync(root + file, 'utf8')).packages : {};
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

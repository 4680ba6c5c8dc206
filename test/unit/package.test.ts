import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { builtinModules } from 'node:module';
import { promisify } from 'node:util';
import { listFiles, PackageManager } from '@vscode/vsce';
import { unzip } from './zipFile.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Everything that is in the package. */
const wanted = [
  'CHANGELOG.md',
  'LICENSE',
  'README.md',
  'dist/extension.js',
  'dist/helper.cjs',
  'dist/ssh2.js',
  'l10n/bundle.l10n.json',
  'media/activity-bar.svg',
  'media/icon.png',
  'package.json',
  'package.nls.json',
];

/** How a native program or library of Linux begins (elf(5)). */
const ELF = Buffer.from('\x7fELF', 'latin1');

describe('the package', function () {
  this.timeout(60_000);
  let directory: string;

  before(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'forkpoint-package-'));
    await run(process.execPath, ['esbuild.mjs'], { cwd: root });
  });
  after(() => rm(directory, { recursive: true, force: true }));

  it('H40: holds exactly what it needs', async () => {
    assert.deepEqual((await listFiles({ cwd: root, packageManager: PackageManager.None })).sort(), wanted);
  });

  it('H40: is under 1 MB, the same bytes wherever and whenever it is built, and holds what was built', async () => {
    const build = async (name: string, env: NodeJS.ProcessEnv): Promise<Buffer> => {
      const file = path.join(directory, name);
      await run(process.execPath, ['package.mjs', file], { cwd: root, env: { ...process.env, ...env } });
      return await readFile(file);
    };
    const first = await build('first.vsix', { TZ: 'Asia/Tokyo', LANG: 'C' });
    await chmod(path.join(root, 'dist/helper.cjs'), 0o600);
    const second = await build('second.vsix', { TZ: 'America/New_York', LANG: 'de_DE.UTF-8' });
    assert.ok(first.equals(second));
    assert.ok(first.length < 1_000_000, `${String(first.length)} bytes`);
    const files = unzip(first);
    // vsce renames the texts that it shows, and adds the first two.
    const renamed = new Map([
      ['CHANGELOG.md', 'changelog.md'],
      ['LICENSE', 'LICENSE.txt'],
      ['README.md', 'readme.md'],
    ]);
    assert.deepEqual(
      [...files.keys()].sort(),
      [
        ...['[Content_Types].xml', 'extension.vsixmanifest'],
        ...wanted.map((name) => `extension/${renamed.get(name) ?? name}`),
      ].sort(),
    );
    for (const name of wanted.filter((one) => one.startsWith('dist/')))
      assert.ok(files.get(`extension/${name}`)?.equals(readFileSync(path.join(root, name))), name);
    // One with native parts, or that says so, would be for some platforms alone.
    for (const [name, content] of files)
      assert.ok(!/\.node$/.test(name) && !content.subarray(0, 4).equals(ELF), name);
    assert.doesNotMatch(files.get('extension.vsixmanifest')?.toString() ?? '', /TargetPlatform=/);
  });

  it('shows nothing in a page of its own, which would need a content security policy', () => {
    for (const file of ['dist/extension.js', 'dist/ssh2.js'])
      assert.doesNotMatch(
        readFileSync(path.join(root, file), 'utf8'),
        /createWebviewPanel|registerWebview|registerCustomEditor/,
      );
  });

  it('is made of packages that are pinned by their hashes, and that run nothing when they are installed', () => {
    const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { integrity?: string; optionalDependencies?: Record<string, string> }>;
    };
    const names = Object.keys(packages).filter((name) => name !== '');
    assert.ok(names.length > 100);
    assert.deepEqual(
      names.filter((name) => !packages[name]?.integrity?.startsWith('sha512-')),
      [],
    );
    // Native parts for other machines than the one that the lock file was written on: without them npm ci refuses it.
    assert.deepEqual(
      Object.values(packages)
        .flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
        .filter((name) => !names.some((place) => place.endsWith(`node_modules/${name}`))),
      [],
    );
    assert.match(readFileSync(path.join(root, '.npmrc'), 'utf8'), /^ignore-scripts=true$/m);
  });

  it('H40: has an extension of under 600 kB, which loads ssh2 and native parts only when they are needed', () => {
    const file = path.join(root, 'dist/extension.js');
    assert.ok(statSync(file).size < 600_000, `${String(statSync(file).size)} bytes`);
    const required = [...readFileSync(file, 'utf8').matchAll(/\brequire\("([^"]+)"\)/g)].map(
      ([, name]) => name ?? '',
    );
    const builtIn = new Set(builtinModules);
    assert.deepEqual(
      [...new Set(required)].filter((name) => !name.startsWith('node:') && !builtIn.has(name)).sort(),
      ['./ssh2.js', 'vscode'],
    );
  });

  it('has a helper of under 900 kB', () => {
    const { size } = statSync(path.join(root, 'dist/helper.cjs'));
    assert.ok(size < 900_000, `${String(size)} bytes`);
  });

  it('has the pictures that the manifest names, the icon as a PNG of 128 pixels', () => {
    const icon = readFileSync(path.join(root, 'media/icon.png'));
    assert.equal(icon.toString('latin1', 1, 4), 'PNG');
    assert.deepEqual([icon.readUInt32BE(16), icon.readUInt32BE(20)], [128, 128]);
    assert.ok(existsSync(path.join(root, 'media/activity-bar.svg')));
  });
});

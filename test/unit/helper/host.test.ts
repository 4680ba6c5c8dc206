import * as assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import * as path from 'node:path';
import { fixedEnvironment } from '../../../src/helper/host/environment.ts';
import { readHostFile, writeHostFile } from '../../../src/helper/host/hostFile.ts';
import { currentHelper, helperFile, launcherText } from '../../../src/helper/host/launcher.ts';
import { mountAt } from '../../../src/helper/host/mounts.ts';
import { pathsUnder } from '../../../src/helper/host/paths.ts';
import { compareVersions } from '../../../src/helper/host/version.ts';
import { formatAge, formatBytes, parseBytes } from '../../../src/helper/doors/cli/units.ts';
import { cleanUp, failureOf, temporaryDirectory } from './daemonHarness.ts';

describe('versions', () => {
  it('are ordered as Semantic Versioning says', () => {
    const ordered = [
      '0.9.9',
      '1.0.0-alpha',
      '1.0.0-alpha.1',
      '1.0.0-alpha.beta',
      '1.0.0-beta.2',
      '1.0.0-beta.11',
      '1.0.0',
      '1.0.1',
      '1.10.0',
      '2.0.0',
    ];
    ordered.forEach((version, index) => {
      for (const later of ordered.slice(index + 1)) {
        assert.ok(compareVersions(version, later) < 0, `${version} < ${later}`);
        assert.ok(compareVersions(later, version) > 0, `${later} > ${version}`);
      }
    });
    assert.equal(compareVersions('v18.19.0', '18.19.0+build'), 0);
  });
});

describe('mounts', () => {
  const mountinfo = [
    '21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw',
    '40 21 0:41 / /var/lib/fork\\040point rw,nodev,noatime - btrfs /dev/loop0 rw,space_cache=v2',
    '44 21 0:50 / /mnt rw - tmpfs tmpfs rw',
    '45 21 0:51 / /mnt rw,nosuid master:3 propagate_from:2 - btrfs /dev/loop1 rw',
  ].join('\n');

  it('are found by their exact place', () => {
    assert.equal(mountAt('/var/lib', mountinfo), null);
    const mount = mountAt('/var/lib/fork point', mountinfo);
    assert.deepEqual([mount?.type, mount?.source], ['btrfs', '/dev/loop0']);
    assert.ok(mount?.options.includes('nodev'));
  });

  it('count from the top', () => {
    assert.equal(mountAt('/mnt', mountinfo)?.type, 'btrfs');
  });
});

describe('the environment of the helper', () => {
  it('H50: holds nothing of its caller', () => {
    const fixed = fixedEnvironment({
      PATH: '/home/mallory',
      LD_PRELOAD: '/x.so',
      NODE_OPTIONS: '--require x',
      HOME: '/h',
    });
    assert.deepEqual(Object.keys(fixed).sort(), ['HOME', 'LANG', 'PATH']);
    assert.ok(!fixed['PATH']?.includes('mallory'));
  });
});

describe('the launcher', () => {
  afterEach(cleanUp);

  it('H50: starts the helper with its words untouched and an environment of its own', () => {
    const directory = path.join(temporaryDirectory(), "it's here");
    mkdirSync(directory);
    const helper = path.join(directory, 'helper.cjs');
    const launcher = path.join(directory, 'forkpoint');
    writeFileSync(helper, 'console.log(JSON.stringify([process.argv.slice(2), process.env]))');
    writeFileSync(launcher, launcherText(process.execPath, helper), { mode: 0o755 });
    const words = ['a b', '$HOME', '"', '-c', ''];
    const answer = execFileSync(launcher, words, {
      env: { ...process.env, NODE_OPTIONS: '--no-such', TERM: 'xterm "$(x)' },
    });
    const [given, environment] = JSON.parse(String(answer)) as [string[], Record<string, string>];
    assert.deepEqual(given, words);
    assert.deepEqual(Object.keys(environment).sort(), [
      ...['HOME', 'LANG', 'MALLOC_ARENA_MAX', 'MALLOC_TRIM_THRESHOLD_', 'PATH', 'TERM'],
    ]);
    assert.equal(environment['TERM'], 'xterm "$(x)');
  });

  it('tells which helper is the current one', () => {
    const paths = pathsUnder(temporaryDirectory());
    assert.equal(currentHelper(paths), null);
    mkdirSync(path.dirname(paths.launcher), { recursive: true });
    const digest = 'a1'.repeat(32);
    writeFileSync(paths.launcher, launcherText('/usr/bin/node', helperFile(paths, digest)));
    assert.deepEqual(currentHelper(paths), { digest, file: helperFile(paths, digest) });
  });
});

describe('what a host was set up with', () => {
  afterEach(cleanUp);
  const uuid = 'b1b54370-40a7-4dc7-b425-be58a6e0e1db';

  it('is read back, with the fields of later versions', async () => {
    const file = path.join(temporaryDirectory(), 'etc', 'host.json');
    assert.equal(await readHostFile(file), null);
    const content = { schema: 1 as const, poolUuid: uuid, root: '/pool', fromTheFuture: { a: 1 } };
    await writeHostFile(file, content);
    assert.deepEqual(await readHostFile(file), content);
  });

  it('H18: is an error when it can not be read, not a host that is not set up', async () => {
    const directory = temporaryDirectory();
    for (const [name, content] of Object.entries({ cut: '{"schema": 1', other: '{"schema": 2}', none: '' })) {
      writeFileSync(path.join(directory, name), content);
      assert.equal((await failureOf(readHostFile(path.join(directory, name)))).code, 'internal');
    }
    symlinkSync('loop', path.join(directory, 'loop'));
    await assert.rejects(readHostFile(path.join(directory, 'loop')));
  });
});

describe('sizes and times', () => {
  it('are read as people write them', () => {
    const cases = {
      '8GiB': 8 * 1024 ** 3,
      '8g': 8 * 1024 ** 3,
      '1.5 MiB': 1.5 * 1024 ** 2,
      '500MB': 5e8,
      '123': 123,
      '2T': 2 * 1024 ** 4,
    };
    for (const [text, bytes] of Object.entries(cases)) assert.equal(parseBytes(text), bytes, text);
    for (const text of ['', 'GiB', '-1', '1e9', '8 GiBs', '0x10']) assert.equal(parseBytes(text), null, text);
  });

  it('are shown in binary units', () => {
    assert.deepEqual([0, 1023, 1536, 512 * 1024 ** 2, 1024 ** 4].map(formatBytes), [
      '0 B',
      '1023 B',
      '1.5 KiB',
      '512 MiB',
      '1.0 TiB',
    ]);
  });

  it('are counted from now', () => {
    const now = Date.parse('2026-03-04T12:00:00Z');
    const ages = {
      '2026-03-04T12:00:00Z': 'now',
      '2026-03-04T11:59:59Z': '1 second ago',
      '2026-03-04T11:57:00Z': '3 minutes ago',
      '2026-03-03T12:00:00Z': '24 hours ago',
      '2026-02-25T12:00:00Z': '7 days ago',
      '2026-03-11T12:00:00Z': 'in 7 days',
    };
    for (const [moment, age] of Object.entries(ages)) assert.equal(formatAge(moment, now), age);
  });
});

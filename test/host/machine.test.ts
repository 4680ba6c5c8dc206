import { execa } from 'execa';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { existingCgroups, machineCgroupVersion } from './machine/cgroups.ts';
import { freezerOf } from './freezer.ts';
import { bootHost, endHost, findHost, type TestHost } from './machine/machine.ts';
import { hostPaths, ownFile, repositoryDirectory } from './machine/paths.ts';
import { patPassword, workspaceTarInHost } from './machine/recipe.ts';
import { findResidue, traceHost, type HostTraces } from './machine/residue.ts';

const tsx = join(repositoryDirectory, 'node_modules/.bin/tsx');
const cli = ownFile('cli.ts');

/** Version 2 runs everywhere; version 1 where the machine has it. */
const cgroupVersions = (await machineCgroupVersion()) === 1 ? ([1, 2] as const) : ([2] as const);

/** Moments of booting at which ever more of a host exists. */
const momentsOfBooting: readonly [string, (name: string) => Promise<boolean> | boolean][] = [
  ['it has cgroups', async (name) => (await existingCgroups(name)).length > 0],
  ['its first process runs', hasProcesses],
  ['its pool is made', (name) => existsSync(join(hostPaths(name).directory, 'pool.img'))],
  ['its address is known', (name) => existsSync(hostPaths(name).knownHostsFile)],
];

describe('the test host', () => {
  let host: TestHost;
  // It is this one that is looked at, also where the other suites run on the virtual machine.
  const { FORKPOINT_TEST_MACHINE: elsewhere } = process.env;

  before(async () => {
    process.env['FORKPOINT_TEST_MACHINE'] = 'namespaces';
    host = await bootHost({ name: 'machine-test', ifRunning: 'replace', installsHelper: false });
  });

  after(async () => {
    await endHost('machine-test');
    if (elsewhere === undefined) delete process.env['FORKPOINT_TEST_MACHINE'];
    else process.env['FORKPOINT_TEST_MACHINE'] = elsewhere;
  });

  describe('exec', () => {
    it('passes bytes through untouched, both ways, and the exit status', async () => {
      const bytes = randomBytes(300_000);
      const { stdout, exitCode } = await execa(
        tsx,
        [cli, 'exec', '--name', host.name, '--', 'sh', '-c', 'cat; exit 7'],
        { input: bytes, encoding: 'buffer', reject: false },
      );
      assert.equal(Buffer.compare(Buffer.from(stdout), bytes), 0);
      assert.equal(exitCode, 7);
    });

    it("takes the command's options and quotes as they are, for there is no shell between", async () => {
      const words = ['printf', '%s\\n', '--name', "it's", '$HOME "x"', ''];
      const { stdout } = await execa(tsx, [cli, 'exec', '--name', host.name, '--', ...words], {
        stripFinalNewline: false,
      });
      assert.equal(stdout, '--name\nit\'s\n$HOME "x"\n\n');
    });

    it('runs as root in all of the host: root file system, processes, network, cgroups', async () => {
      const lines = await host.run([
        'sh',
        '-c',
        'id -u; hostname; cat /proc/1/comm; ls /sys/class/net; cut -d: -f3 /proc/self/cgroup | sort -u',
      ]);
      assert.deepEqual(lines.split('\n').filter(Boolean), [
        '0',
        'machine-test',
        'catatonit',
        'eth0',
        'lo',
        '/',
      ]);
      assert.match(await host.run(['cat', '/etc/os-release']), /forky/);
    });

    it('adds less than 100 ms to the command', async () => {
      const times: number[] = [];
      for (let round = 0; round < 10; round++) {
        const started = performance.now();
        await host.run(['true']);
        times.push(performance.now() - started);
      }
      const median = times.sort((a, b) => a - b)[5];
      assert.ok(median !== undefined && median < 100, `took ${times.map(Math.round).join(', ')} ms`);
    });

    it('ends the command when its caller is killed', async () => {
      const child = spawn(tsx, [cli, 'exec', '--name', host.name, '--', 'sleep', '4242'], {
        stdio: 'ignore',
      });
      await until(async () => (await host.exec(['pgrep', '-f', 'sleep 4242'])).exitCode === 0);
      child.kill('SIGTERM');
      await once(child, 'exit');
      await until(async () => (await host.exec(['pgrep', '-f', '^sleep 4242'])).exitCode === 1);
    });
  });

  describe('ssh', () => {
    it('lets dev in with its key, the host key checked strictly, and sudo asks for nothing', async () => {
      const { stdout } = await execa('ssh', [...host.sshArguments(), 'id -un; sudo -n id -un']);
      assert.equal(stdout, 'dev\nroot');
    });

    it('is refused by a client that knows another key for the address', async () => {
      const other = join(hostPaths(host.name).directory, 'other_known_hosts');
      const { stdout } = await execa('ssh-keygen', ['-y', '-f', host.ssh.identityFile]);
      await writeFile(other, `${host.ssh.host} ${stdout}\n`);
      const misled = host.sshArguments().map((word) => word.replace(host.ssh.knownHostsFile, other));
      const { exitCode, stderr } = await execa('ssh', [...misled, 'true'], { reject: false });
      assert.equal(exitCode, 255);
      assert.match(stderr, /Host key verification failed/);
    });

    it('lets pat in by password, and sudo asks for it', async () => {
      const askPass = join(hostPaths(host.name).directory, 'askpass');
      await writeFile(askPass, `#!/bin/sh\necho '${patPassword}'\n`, { mode: 0o700 });
      const options = [
        ...['-F', 'none', '-o', `UserKnownHostsFile=${host.ssh.knownHostsFile}`],
        ...['-o', 'PubkeyAuthentication=no', '-o', 'NumberOfPasswordPrompts=1'],
      ];
      const { stdout } = await execa(
        'ssh',
        [...options, `pat@${host.ssh.host}`, 'sudo -n true 2>/dev/null; echo $?; sudo -k -S -p "" id -un'],
        { input: `${patPassword}\n`, env: { SSH_ASKPASS: askPass, SSH_ASKPASS_REQUIRE: 'force' } },
      );
      assert.equal(stdout, '1\nroot');
    });
  });

  describe('checkpoint', () => {
    for (const version of cgroupVersions) {
      it(`is real with cgroup v${version}: Podman runs a root file system on the pool, and what runc dumps Podman restores`, async () => {
        const name = `machine-test-v${version}`;
        const proof = await bootHost({
          name,
          cgroupVersion: version,
          ifRunning: 'replace',
          installsHelper: false,
        });
        try {
          await proveCheckpoint(proof);
        } finally {
          await proof.down();
        }
      });
    }
  });

  describe('up and down', () => {
    it('print one line that tells how to reach the host, and leave nothing behind, frozen containers included', async () => {
      const name = 'machine-test-2';
      await endHost(name);
      const up = await execa(tsx, [cli, 'up', '--name', name, '--pool-size', '3', '--no-helper']);
      const second = await findHost(name);
      assert.deepEqual(JSON.parse(up.stdout), second.description);
      assert.equal(up.stdout.split('\n').length, 1);
      assert.equal(second.description.name, name);
      assert.equal(second.description.pool, '/var/lib/forkpoint');
      assert.match(
        await second.run(['findmnt', '-n', '-b', '-o', 'FSTYPE,SIZE,OPTIONS', '/var/lib/forkpoint']),
        /^btrfs +3221225472 .*nodev/,
      );

      // Both are up, each on its own network, pool and processes.
      assert.notEqual(second.ssh.host, host.ssh.host);
      assert.equal((await host.run(['hostname'])).trim(), host.name);
      await second.run(['touch', '/var/lib/forkpoint/mine', '/etc/mine']);
      assert.equal((await host.exec(['ls', '/var/lib/forkpoint/mine', '/etc/mine'])).exitCode, 2);

      const again = await execa(tsx, [cli, 'up', '--name', name], { reject: false });
      assert.equal(again.exitCode, 1);
      assert.match(again.stderr, /"machine-test-2" is up/);

      const id = (
        await second.run([
          'podman',
          'run',
          '--detach',
          '--network',
          'none',
          '--rootfs',
          '/:O',
          'sleep',
          '1000',
        ])
      ).trim();
      await writeFreezer(second, id, 'freeze');
      const route = await execa('ip', ['-json', 'route', 'get', second.ssh.host]);
      const link = /"dev":"([^"]+)"/.exec(route.stdout)?.[1] ?? '';
      assert.match(link, /^fphost/);
      const traces = await traceHost(name, [link]);
      // Its container has some of its own.
      assert.ok(traces.namespaces.size > 6);
      assert.notDeepEqual(await findResidue(traces), []);

      await execa(tsx, [cli, 'down', '--name', name]);
      await assertGone(traces);
      const gone = await execa(tsx, [cli, 'exec', '--name', name, '--', 'true'], { reject: false });
      assert.equal(gone.exitCode, 1);
      assert.match(gone.stderr, /"machine-test-2" is not up\. Boot it: npm run host -- up/);
    });

    for (const [moment, isReached] of momentsOfBooting) {
      it(`survive that "up" is killed when ${moment}: "down" clears away what there is`, async () => {
        const name = 'machine-test-3';
        await endHost(name);
        await killUp(name, isReached);
        const traces = await traceHost(name);
        await endHost(name);
        await assertGone(traces);
      });
    }

    it('need no "down" after an "up" that was killed', async () => {
      const name = 'machine-test-3';
      await endHost(name);
      await killUp(name, hasProcesses);
      const third = await bootHost({ name, installsHelper: false });
      assert.equal((await third.run(['criu', 'check'])).trim(), 'Looks good.');
      await third.down();
    });
  });
});

/** Dumps a container with its files, lets it run on, kills it, and restores it as it was at the dump. */
async function proveCheckpoint(host: TestHost): Promise<void> {
  const pool = host.description.pool;
  const rootfs = `${pool}/rootfs`;
  const images = `${pool}/images`;
  await host.run(['btrfs', '-q', 'subvolume', 'create', rootfs]);
  await host.run(['tar', '-C', rootfs, '-xf', workspaceTarInHost]);
  await host.run(['mkdir', images]);
  await host.run(['tee', '/etc/criu/proof.conf'], { input: 'network-lock nftables\n' });
  // The secret is in this process's memory only: whoever writes it after the restore is the same process.
  const program = `
import os, time, uuid
secret, count = uuid.uuid4(), 0
while True:
    count += 1
    with open('/new', 'w') as file: file.write(f'{secret} {count}')
    os.rename('/new', '/count')
    time.sleep(0.01)
`;
  const run = [
    'podman',
    'run',
    '--detach',
    '--name',
    'proof',
    '--ipc=none',
    '--tmpfs',
    '/dev/shm:rw,size=64m',
  ];
  const annotation = ['--annotation', 'org.criu.config=/etc/criu/proof.conf'];
  const id = (await host.run([...run, ...annotation, '--rootfs', rootfs, 'python3', '-c', program])).trim();
  const readCount = async (): Promise<{ secret: string; count: number }> => {
    const [secret = '', count = '0'] = (await host.exec(['cat', `${rootfs}/count`])).stdout.split(' ');
    return { secret, count: Number(count) };
  };
  await until(async () => (await readCount()).count >= 10);

  await writeFreezer(host, id, 'freeze');
  const checkpoint = ['runc', '--root', '/run/runc', 'checkpoint', '--leave-running'];
  await host.run([...checkpoint, '--image-path', images, '--work-path', images, id]);
  const dumped = await readCount();
  await host.run(['btrfs', '-q', 'subvolume', 'snapshot', '-r', rootfs, `${pool}/snapshot`]);
  await writeFreezer(host, id, 'thaw');
  await until(async () => (await readCount()).count > dumped.count + 50);
  await host.run(['podman', 'kill', 'proof']);
  await host.run(['podman', 'wait', 'proof']);

  await host.run(['mv', rootfs, `${pool}/replaced`]);
  await host.run(['btrfs', '-q', 'subvolume', 'snapshot', `${pool}/snapshot`, rootfs]);
  const directory = (await host.run(['podman', 'inspect', '--format', '{{.StaticDir}}', 'proof'])).trim();
  await host.run(['ln', '-s', images, `${directory}/checkpoint`]);
  assert.deepEqual(await readCount(), dumped);
  await host.run(['podman', 'container', 'restore', '--keep', 'proof']);
  await until(async () => (await readCount()).count > dumped.count);
  assert.equal((await readCount()).secret, dumped.secret);
  assert.match(await host.run(['podman', 'ps', '--format', '{{.Names}} {{.Status}}']), /^proof Up/);
}

async function writeFreezer(host: TestHost, container: string, action: 'freeze' | 'thaw'): Promise<void> {
  const { file, [action]: word } = await freezerOf(host, container);
  await host.run(['tee', file], { input: word });
  if (action === 'thaw') return;
  const [shown, frozen] =
    host.cgroupVersion === 1 ? [file, 'FROZEN\n'] : [join(dirname(file), 'cgroup.events'), 'frozen 1'];
  await until(async () => (await host.run(['cat', shown])).includes(frozen));
}

/** Starts "up" and kills it as soon as `isReached`. */
async function killUp(name: string, isReached: (name: string) => Promise<boolean> | boolean): Promise<void> {
  const up = spawn(process.execPath, ['--import', 'tsx', cli, 'up', '--name', name, '--no-helper'], {
    cwd: repositoryDirectory,
    stdio: 'ignore',
  });
  const exited = once(up, 'exit');
  await until(() => isReached(name), 5);
  up.kill('SIGKILL');
  await exited;
}

async function hasProcesses(name: string): Promise<boolean> {
  return (await traceHost(name)).namespaces.size > 0;
}

/** Waits until `isSo`, at most a minute, asking every `pauseMs`. */
async function until(isSo: () => Promise<boolean> | boolean, pauseMs = 50): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < deadline, `not so after a minute: ${isSo.toString()}`);
    await sleep(pauseMs);
  }
}

/** Nothing may be left of the host; the machine's init may take a moment to bury the dead. */
async function assertGone(traces: HostTraces, message?: string): Promise<void> {
  const residue = await findResidue(traces);
  assert.deepEqual(
    residue.filter((item) => !item.startsWith('zombie')),
    [],
    message,
  );
  if (residue.length > 0) await until(async () => (await findResidue(traces)).length === 0);
}

import { execa } from 'execa';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, open, readdir, readFile, rename, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownFile } from '../machine/paths.ts';
import { devUser } from '../machine/recipe.ts';
import { sshArgumentsFor, type HostDescription } from '../machine/testHost.ts';
import { TestHostError } from '../machine/testHostError.ts';
import { poolLabel } from './recipe.ts';

/** What virtual machines are made from, in the cache. */
export interface VmImages {
  /** A root with QEMU and the makers of file systems. */
  readonly tools: string;
  /** `root.raw`, `vmlinuz`, `initrd.img`, `host-keys` (public ones of its sshd), `id_ed25519`, which lets root and dev in. */
  readonly images: string;
}

/** One virtual machine. */
export interface Vm extends VmImages {
  /** Its own: disks, keys, its process's id, and what it said. */
  readonly directory: string;
}

/** Under emulation the first boot takes a minute, and many where others are at work. */
const bootDeadlineMs = 900_000;
const memoryMiB = 4096;

/** The machine's command that runs a program of the tools, with the images as /images and the VM's directory as /host. */
function inTools({ tools, images, directory }: Vm, argv: readonly string[]): [string, ...string[]] {
  return [
    'unshare',
    ...['--mount', '--propagation', 'private', 'sh', ownFile('../vm/tools.sh')],
    ...[tools, images, directory, ...argv],
  ];
}

/**
 * Runs a program of the tools to its end.
 * @throws {TestHostError} with its stderr when it fails
 */
export async function runTool(vm: Vm, argv: readonly string[]): Promise<void> {
  const [command, ...args] = inTools(vm, argv);
  const { exitCode, stderr } = await execa(command, args, { stdin: 'ignore', reject: false });
  if (exitCode !== 0) throw new TestHostError(`"${argv.join(' ')}" failed: ${stderr}`);
}

/**
 * Makes the disk that the machine boots from, over the image, a disk with an empty pool, and the keys by which it is
 * reached.
 */
export async function prepareVm(vm: Vm, poolSizeBytes: number): Promise<HostDescription['ssh']> {
  const pool = join(vm.directory, 'pool.raw');
  await writeFile(pool, '');
  await truncate(pool, poolSizeBytes);
  await runTool(vm, ['mkfs.btrfs', '-q', '-L', poolLabel, '/host/pool.raw']);
  await runTool(vm, [
    ...['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', '/images/root.raw', '/host/root.qcow2'],
  ]);
  const port = await freePort();
  const identityFile = join(vm.directory, 'id_ed25519');
  const knownHostsFile = join(vm.directory, 'known_hosts');
  await copyFile(join(vm.images, 'id_ed25519'), identityFile);
  const keys = (await readFile(join(vm.images, 'host-keys'), 'utf8')).trim().split('\n');
  const known = keys.map((line) => `[127.0.0.1]:${port} ${line.split(' ').slice(0, 2).join(' ')}\n`);
  await writeFile(knownHostsFile, known.join(''));
  return { host: '127.0.0.1', port, user: devUser, identityFile, knownHostsFile };
}

/** The machine's command that runs `argv` in the VM as root. */
export function asRoot(
  vm: Pick<Vm, 'directory'>,
  ssh: HostDescription['ssh'],
  argv: readonly string[],
): [string, ...string[]] {
  const master = [
    // The connection is kept: under emulation each new one takes a second.
    ...['-o', 'ControlMaster=auto', '-o', 'ControlPersist=600', '-o', 'LogLevel=ERROR'],
    ...['-o', `ControlPath=${join(vm.directory, 'root.sock')}`],
  ];
  return ['ssh', ...sshArgumentsFor({ ...ssh, user: 'root' }, master), '--', argv.map(quoted).join(' ')];
}

/**
 * Starts the machine and waits until systemd has started all there is to start. Answers QEMU's process id.
 * @throws {TestHostError} with what QEMU and the console said when it doesn't come up
 */
export async function bootQemu(vm: Vm, ssh: HostDescription['ssh']): Promise<number> {
  const pid = await startQemu(vm, ssh.port);
  const deadline = Date.now() + bootDeadlineMs;
  for (;;) {
    const [command, ...args] = asRoot(vm, ssh, ['systemctl', 'is-system-running', '--wait']);
    const { stdout } = await execa(command, args, { stdin: 'ignore', timeout: 90_000, reject: false });
    if (/^(running|degraded)/.test(stdout)) return pid;
    if (Date.now() > deadline || !(await isQemuRunning(vm))) {
      const [said, console] = await Promise.all(
        ['qemu.log', 'console.log'].map((file) => readFile(join(vm.directory, file), 'utf8').catch(() => '')),
      );
      await endQemu(vm);
      throw new TestHostError(
        `The virtual machine did not boot. ${said?.slice(-1000)} ${console?.slice(-2000)}`,
      );
    }
    await sleep(500);
  }
}

async function startQemu(vm: Vm, port: number): Promise<number> {
  const { directory } = vm;
  const argv = [
    ...[
      'qemu-system-x86_64',
      '-nodefaults',
      '-no-user-config',
      '-no-reboot',
      '-display',
      'none',
      '-vga',
      'none',
    ],
    ...['-machine', 'q35,vmport=off,hpet=off', '-accel', 'tcg,thread=multi,tb-size=1024', '-cpu', 'max'],
    ...[
      '-smp',
      '2',
      '-m',
      String(memoryMiB),
      '-kernel',
      '/images/vmlinuz',
      '-initrd',
      '/images/initrd.img',
      '-append',
    ],
    'root=/dev/vda rw console=ttyS0 systemd.show_status=no TERM=dumb quiet loglevel=4 panic=-1',
    // Cached by the machine and never flushed: it is QEMU alone that is killed.
    ...[
      '-drive',
      'file=/host/root.qcow2,if=none,id=root,cache=unsafe',
      '-device',
      'virtio-blk-pci,drive=root',
    ],
    ...['-drive', 'file=/host/pool.raw,format=raw,if=none,id=pool,cache=unsafe'],
    ...['-device', 'virtio-blk-pci,drive=pool'],
    ...['-netdev', `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${port}-:22`],
    ...['-device', 'virtio-net-pci,netdev=net,romfile=', '-device', 'virtio-rng-pci'],
    ...['-serial', 'file:/host/console.log'],
  ];
  const [command, ...args] = inTools(vm, argv);
  const output = await open(join(directory, 'qemu.log'), 'w');
  const child = spawn(command, args, { detached: true, cwd: '/', stdio: ['ignore', output.fd, output.fd] });
  await once(child, 'spawn');
  child.unref();
  await output.close();
  const { pid } = child;
  if (pid === undefined) throw new TestHostError('QEMU did not start.');
  // Renamed, so that a reader never sees half of it.
  await writeFile(`${pidFile(vm)}.partial`, `${pid} ${await startTime(pid)}`);
  await rename(`${pidFile(vm)}.partial`, pidFile(vm));
  return pid;
}

/** Whether the machine runs; a pid that another process has got since doesn't count. */
export async function isQemuRunning(vm: Pick<Vm, 'directory'>): Promise<boolean> {
  return (await qemuPid(vm)) !== undefined;
}

/** Ends the machine, if it runs, between two of its instructions. */
export async function endQemu(vm: Pick<Vm, 'directory'>): Promise<void> {
  const pid = await qemuPid(vm);
  if (pid !== undefined) process.kill(pid, 'SIGKILL');
  const master = join(vm.directory, 'root.sock');
  if (existsSync(master))
    await execa('ssh', ['-F', 'none', '-o', `ControlPath=${master}`, '-O', 'exit', 'any'], { reject: false });
  await untilEnded(vm);
}

/**
 * Waits until the machine has ended.
 * @throws {TestHostError} when it still runs after a minute
 */
export async function untilEnded(vm: Pick<Vm, 'directory'>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (await isQemuRunning(vm)) {
    if (Date.now() > deadline)
      throw new TestHostError(`The virtual machine of ${vm.directory} does not end.`);
    await sleep(50);
  }
}

async function qemuPid(vm: Pick<Vm, 'directory'>): Promise<number | undefined> {
  if (!existsSync(pidFile(vm))) return undefined;
  const [pid = '', started] = (await readFile(pidFile(vm), 'utf8')).split(' ');
  return (await startTime(Number(pid))) === started ? Number(pid) : undefined;
}

function pidFile(vm: Pick<Vm, 'directory'>): string {
  return join(vm.directory, 'qemu.pid');
}

/** Tells a process from a later one with its pid; undefined when it has ended. Fields 3 and 22 of proc_pid_stat(5). */
async function startTime(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie only waits for its parent to take note; but while it has other threads, they still hold its files.
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  return fields[0] === 'Z' && threads.length < 2 ? undefined : fields[19];
}

/** A port of loopback that is free now; QEMU fails loudly where another has taken it since. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new TestHostError('There is no free port.');
  return address.port;
}

/** One word of a remote shell, to which sshd gives the whole line. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

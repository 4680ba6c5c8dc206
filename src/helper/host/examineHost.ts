import { access, readFile } from 'node:fs/promises';
import * as os from 'node:os';
import { ForkpointError } from '../../protocol/errors.ts';
import type { Finding, Result } from '../../protocol/operations.ts';
import type { Pool } from '../../protocol/workspace.ts';
import { INIT_CANDIDATES, SECCOMP_CANDIDATES } from '../checkpoint/assets.ts';
import type { HostParts } from './hostServices.ts';
import { readPool } from './pool.ts';
import { helperVersion } from './program.ts';
import type { Run } from './run.ts';
import { compareVersions } from './version.ts';

/** Tells whether this host can do what Forkpoint needs, and how to mend what it can't. Changes nothing. */
export async function examineHost({ run, pool }: HostParts): Promise<Result<'host/info'>> {
  const poolFound = await examinePool(pool);
  const findings = await Promise.all([
    Promise.resolve(examineNode()),
    examineKernel(),
    examineTool(run, 'podman', ['--version'], 'podman'),
    examineRuntime(run),
    examineCriu(run),
    examineTool(run, 'btrfs', ['--version'], 'btrfs-progs'),
    Promise.resolve(poolFound.finding),
    examineTool(run, 'flock', ['--version'], 'util-linux'),
    examineTool(run, 'nsenter', ['--version'], 'util-linux'),
    examineInit(),
    examineSeccomp(),
  ]);
  return {
    hostname: os.hostname(),
    version: helperVersion,
    pool: poolFound.pool,
    kernel: os.release(),
    findings,
  };
}

async function examinePool(mount: HostParts['pool']): Promise<{ pool: Pool | null; finding: Finding }> {
  const subject = 'pool';
  try {
    const { root } = await mount.ensure();
    const pool = await readPool(root);
    if (pool.isLow) {
      const fix = 'Delete snapshots, or let older ones expire sooner.';
      return {
        pool,
        finding: { subject, level: 'warning', message: `Less than a tenth of ${root} is free`, fix },
      };
    }
    return { pool, finding: { subject, level: 'ok', message: `Mounted at ${root}`, fix: null } };
  } catch (error) {
    const failure = ForkpointError.from(error);
    return { pool: null, finding: { subject, level: 'error', message: failure.message, fix: failure.hint } };
  }
}

function examineNode(): Finding {
  const message = `${process.version} at ${process.execPath}`;
  return compareVersions(process.version, '18.19.0') < 0
    ? { subject: 'node', level: 'error', message, fix: 'Install Node 18.19 or later: apt-get install nodejs' }
    : { subject: 'node', level: 'ok', message, fix: null };
}

async function examineKernel(): Promise<Finding> {
  const subject = 'kernel';
  const filesystems = await readFile('/proc/filesystems', 'utf8');
  if (!/\bbtrfs$/m.test(filesystems)) {
    return {
      subject,
      level: 'warning',
      message: `${os.release()} has no btrfs loaded`,
      fix: 'Load it: modprobe btrfs. A kernel without it needs another kernel package: apt-get install linux-image-amd64',
    };
  }
  return { subject, level: 'ok', message: os.release(), fix: null };
}

async function examineTool(
  run: Run,
  tool: string,
  args: readonly string[],
  debianPackage: string,
): Promise<Finding> {
  try {
    const { stdout } = await run(tool, args, { timeoutMs: 10_000 });
    return { subject: tool, level: 'ok', message: stdout.split('\n')[0] ?? '', fix: null };
  } catch (error) {
    return toolFailure(tool, error, `apt-get install ${debianPackage}`);
  }
}

async function examineRuntime(run: Run): Promise<Finding> {
  const found = await Promise.all([
    examineTool(run, 'runc', ['--version'], 'runc'),
    examineTool(run, 'crun', ['--version'], 'crun'),
  ]);
  const message = found.filter(({ level }) => level === 'ok').map((finding) => finding.message);
  return message.length > 0
    ? { subject: 'runtime', level: 'ok', message: message.join(', '), fix: null }
    : {
        subject: 'runtime',
        level: 'error',
        message: 'Neither runc nor crun can be run',
        fix: 'apt-get install runc',
      };
}

async function examineCriu(run: Run): Promise<Finding> {
  const subject = 'criu';
  const fix = 'Install CRIU 4.2 or later, which this kernel needs, with: apt-get install criu';
  try {
    const { stdout } = await run('criu', ['--version'], { timeoutMs: 10_000 });
    const version = /Version:\s*(\S+)/.exec(stdout)?.[1] ?? 'unknown';
    const check = await run('criu', ['check'], { accept: [0, 1], timeoutMs: 30_000 });
    if (check.exitCode !== 0) {
      const reason = check.stderr.trim().split('\n').at(-1) ?? '';
      return { subject, level: 'error', message: `CRIU ${version} does not work here: ${reason}`, fix };
    }
    // CRIU before 4.2 reads a socket option that Linux 6.16 answers otherwise, and dumps no process with a socket.
    if (compareVersions(os.release(), '6.16') >= 0 && compareVersions(version, '4.2') < 0) {
      return {
        subject,
        level: 'error',
        message: `CRIU ${version} can't keep processes with sockets here`,
        fix,
      };
    }
    return { subject, level: 'ok', message: `CRIU ${version}`, fix: null };
  } catch (error) {
    return toolFailure(subject, error, 'apt-get install criu');
  }
}

async function examineInit(): Promise<Finding> {
  const subject = 'catatonit';
  const place = await firstThere(INIT_CANDIDATES);
  return place === null
    ? {
        subject,
        level: 'error',
        message: 'The init of workspaces is missing',
        fix: 'apt-get install catatonit',
      }
    : { subject, level: 'ok', message: place, fix: null };
}

async function examineSeccomp(): Promise<Finding> {
  const subject = 'seccomp';
  const place = await firstThere(SECCOMP_CANDIDATES);
  return place === null
    ? {
        subject,
        level: 'error',
        message: `The engine's system call profile ${SECCOMP_CANDIDATES[0] ?? ''} is missing`,
        fix: 'apt-get install golang-github-containers-common',
      }
    : { subject, level: 'ok', message: place, fix: null };
}

async function firstThere(places: readonly string[]): Promise<string | null> {
  for (const place of places) {
    try {
      await access(place);
      return place;
    } catch {
      // Not there: the next one.
    }
  }
  return null;
}

function toolFailure(subject: string, error: unknown, install: string): Finding {
  const failure = ForkpointError.from(error);
  const message = failure.code === 'host.toolMissing' ? `"${subject}" is missing` : failure.message;
  return { subject, level: 'error', message, fix: install };
}

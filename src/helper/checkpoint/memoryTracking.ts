import type { Run } from '../host/run.ts';

/**
 * Whether the kernel can tell which pages were changed since it was asked last, as Debian's can
 * (Documentation/admin-guide/mm/soft-dirty.rst), and there is a Perl to join with what a pre-dump has copied.
 */
export async function tracksMemory(run: Run): Promise<boolean> {
  const [isTracking, hasPerl] = await Promise.all([
    run('criu', ['check', '--feature', 'mem_dirty_track'], { accept: [0, 1] }).then(
      (end) => end.exitCode === 0,
    ),
    run('perl', ['-e', '1']).then(
      () => true,
      () => false,
    ),
  ]);
  return isTracking && hasPerl;
}

/** Number of prctl(2), by Node's names of architectures (its tables are below arch/ in the kernel, and scripts/syscall.tbl). */
const PRCTL: Readonly<Record<string, number>> = {
  x64: 157,
  arm64: 167,
  loong64: 167,
  riscv64: 167,
  ppc64: 171,
  s390x: 172,
};

/** PR_SET_THP_DISABLE, of late but for memory that a program asks them for by madvise(2): PR_SET_THP_DISABLE(2const). */
const PROGRAM =
  'my $prctl = shift; syscall($prctl + 0, 41, 1, 2, 0, 0) == 0 or syscall($prctl + 0, 41, 1, 0, 0, 0); exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!";';

/**
 * The command that runs another one without huge pages, and so all that it starts. The kernel notes changes by the page,
 * however large: a process that writes here and there in huge ones would have changed all of its memory between a pre-dump and
 * the dump.
 */
export function withoutHugePages(command: string, args: readonly string[]): [string, string[]] {
  const prctl = PRCTL[process.arch];
  return prctl === undefined
    ? [command, [...args]]
    : ['perl', ['-e', PROGRAM, String(prctl), command, ...args]];
}

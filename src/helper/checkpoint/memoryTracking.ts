import type { Run } from '../host/run.ts';

/**
 * Whether the kernel can tell which pages were changed since it was asked last, as Debian's can
 * (Documentation/admin-guide/mm/soft-dirty.rst), and there is a Perl to join with what a pre-dump has copied.
 */
export async function tracksMemory(run: Run): Promise<boolean> {
  const does = (command: string, ...args: string[]): Promise<boolean> =>
    run(command, args).then(
      () => true,
      // A host that lacks the program, too, starts workspaces and takes what snapshots it can.
      () => false,
    );
  const answers = await Promise.all([
    does('criu', 'check', '--feature', 'mem_dirty_track'),
    does('perl', '-e', '1'),
  ]);
  return !answers.includes(false);
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

/**
 * What goes before a command to run it without huge pages, and all that it starts; nothing where that is not known. The kernel
 * notes changes by the page, however large: a process that writes here and there in huge ones would have changed all of its
 * memory between a pre-dump and the dump.
 * @param program from assets.ts
 */
export function withoutHugePages(program: string): string[] {
  const prctl = PRCTL[process.arch];
  return prctl === undefined ? [] : ['perl', program, String(prctl)];
}

import { chmod, copyFile, mkdir, readFile } from 'node:fs/promises';
import * as path from 'node:path';
import { ForkpointError } from '../../protocol/errors.ts';
import { replaceFile } from '../host/replaceFile.ts';
import { exists } from '../subvolumes/btrfs.ts';

/**
 * What CRIU runs at the steps of a dump and of a restore (criu(8), --action-script). It lies in the work directory of a
 * workspace, beside the files it reads.
 *
 * pre-dump: CRIU has started and touched nothing yet (criu/cr-dump.c, cr_dump_tasks). It waits there for the freeze, for its
 * start and the runtime's take as long as a small dump; end-of-file, when the daemon is gone, ends it.
 * post-dump: memory is in the images and the processes still stand still, so this is the moment of the subvolume
 * snapshots (H10), while CRIU's remaps of unlinked files are still there (H11). CRIU may call it twice.
 * post-setup-namespaces: the namespaces are there and no socket is. The host's name is the workspace's own, not that of
 * the images; addresses of the workspace that the images come from are walled in (H21): neither packets nor answers to ARP
 * leave with them (Documentation/networking/ip-sysctl.rst: arp_ignore, arp_announce).
 * post-restore: nothing may leave the namespace until connections to the outside are closed (H22).
 * pre-resume: the sockets are out of repair mode and no process runs yet (criu/cr-restore.c, restore_root_task), so none of
 * them ever sees a connection that is dead and does not say so. What is closed is what connections.ts closes, by the
 * same files. CRIU goes on where this fails; without `connections.closed` the daemon closes them later.
 */
const ACTION = `#!/bin/sh
set -eu
# CRIU leaves it closed, and "ip -batch" would take its own netlink socket for it.
exec < /dev/null
work=\${0%/*}
case \${CRTOOLS_SCRIPT_ACTION-} in
pre-dump)
  [ -p "$work/gate" ] || exit 0
  : > "$work/gate.reached"
  read -r word < "$work/gate" && [ "$word" = go ]
  ;;
post-dump)
  [ ! -e "$work/plan.done" ] || exit 0
  tries=0
  until [ -e "$work/plan" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 500 ] || { echo "no plan within 5 s" >&2; exit 1; }
    [ ! -e "$work/watchdog.mark" ] || { echo "nobody wants the files any more" >&2; exit 1; }
    sleep 0.01
  done
  xargs -0 -n 2 -P 8 btrfs -q subvolume snapshot -r -- < "$work/plan" >&2
  : > "$work/plan.done"
  ;;
post-setup-namespaces)
  inside() { nsenter "--net=/proc/$CRTOOLS_INIT_PID/ns/net" "--uts=/proc/$CRTOOLS_INIT_PID/ns/uts" -- "$@"; }
  inside sh -c 'cat > /proc/sys/kernel/hostname' < "$work/hostname"
  [ -e "$work/foreign.ip" ] || exit 0
  inside nft -f "$work/foreign.nft"
  inside sh -c 'cd /proc/sys/net/ipv4/conf/all && echo 1 > arp_ignore && echo 2 > arp_announce'
  inside ip -batch "$work/foreign.ip"
  ;;
post-restore)
  nsenter "--net=/proc/$CRTOOLS_INIT_PID/ns/net" nft -f - <<'RULES'
table inet forkpoint_restore {
  chain out {
    type filter hook output priority -300; policy drop;
    oif "lo" accept
  }
}
RULES
  ;;
pre-resume)
  inside() { nsenter "--net=/proc/$CRTOOLS_INIT_PID/ns/net" -- "$@"; }
  net=/proc/$CRTOOLS_INIT_PID/net
  v4=$(sed -n '/|-- /{s/.*|-- //;h;};/[/]32 host LOCAL/{g;p;}' "$net/fib_trie")
  v6=$([ ! -e "$net/if_inet6" ] || sed 's/ .*//; s/..../&:/g; s/:$/]/; s/^/[/' "$net/if_inet6")
  outside='not dst 127.0.0.0/8 and not dst [::1]'
  # Brackets of addresses are no patterns.
  set -f
  for address in $v4 $v6; do outside="$outside and not dst $address"; done
  inside ss -K state connected "( $outside )" > /dev/null
  inside nft delete table inet forkpoint_restore
  : > "$work/connections.closed"
  ;;
esac
`;

/**
 * Lives through the freeze in a session of its own (H12). Standard input is a pipe from the daemon: the line "done"
 * ends it; end-of-file (the daemon died) or the deadline make it leave the mark, await the end of CRIU, and thaw.
 * CRIU is not killed before the deadline: its own code runs inside the processes for a part of the dump, and one that
 * is left in the middle of that dies. CRIU thaws a frozen cgroup itself and holds the processes by ptrace(2), which
 * lets go of them when it is killed; so they are frozen again before, and none meets a socket that is still in repair mode.
 * Arguments: work directory, freezer file, words that freeze and thaw, deadline in seconds, first process of the container.
 */
const WATCHDOG = `#!/bin/sh
set -u
work=$1 freezer=$2 freeze=$3 thaw=$4 deadline=$5 init=$6
ends=$(($(date +%s) + \${deadline%.*}))
[ "$(timeout "$deadline" head -n 1)" = done ] && exit 0
: > "$work/watchdog.mark"
# It may be about to wait where nobody is any more.
[ ! -p "$work/gate" ] || { exec 3<> "$work/gate"; echo stop >&3; }
group=$(cat "$work/group" 2>/dev/null)
case $group in
'' | *[!0-9]*) ;;
*)
  while kill -s 0 -- "-$group" 2>/dev/null && [ "$(date +%s)" -lt "$ends" ]; do sleep 0.02; done
  if kill -s 0 -- "-$group" 2>/dev/null; then
    echo "$freeze" > "$freezer"
  fi
  kill -s KILL -- "-$group" 2>/dev/null
  tries=0
  while kill -s 0 -- "-$group" 2>/dev/null && [ "$tries" -lt 50 ]; do
    tries=$((tries + 1))
    sleep 0.01
  done
  timeout --signal KILL 2 /bin/sh "\${0%/*}/release-network.sh" "$init" "\${freezer%/*}"
  ;;
esac
echo "$thaw" > "$freezer"
`;

/**
 * Undoes what a CRIU that was killed in the middle of a dump leaves of the network (H14): the table that holds all
 * traffic back (network-lock nftables), and sockets in repair mode, which neither send nor let their programs read
 * (TCP_REPAIR, 19 at level 6; the sockets are reached by pidfd_open(2) and pidfd_getfd(2), whose numbers are the same
 * on all architectures). Where there is no Perl, the sockets are closed, so that their programs notice.
 * Arguments: first process of the container, directory of its cgroup.
 */
const RELEASE_NETWORK = `#!/bin/sh
set -u
init=$1 group=$2
inside() { nsenter "--net=/proc/$init/ns/net" -- "$@"; }
tables=$(inside nft list tables inet | sed -n 's/^table inet \\(CRIU-.*\\)$/\\1/p')
[ -n "$tables" ] || exit 0
perl - $(find "$group" -name cgroup.procs -exec cat {} +) <<'PERL'
use strict;
for my $pid (map { $_ + 0 } @ARGV) {
  my $process = syscall(434, $pid, 0);
  next if $process < 0;
  opendir(my $directory, "/proc/$pid/fd") or next;
  for my $number (map { $_ + 0 } grep { /^[0-9]+$/ } readdir($directory)) {
    next unless (readlink("/proc/$pid/fd/$number") || "") =~ /^socket:/;
    my $descriptor = syscall(438, $process, $number, 0);
    next if $descriptor < 0;
    open(my $socket, "+<&=", $descriptor) or next;
    my $repair = getsockopt($socket, 6, 19);
    next unless defined $repair && unpack("i", $repair) == 1;
    setsockopt($socket, 6, 19, pack("i", 0)) or exit 1;
  }
}
PERL
is_mended=$?
# Last: where no table is, another of these scripts takes it that nothing is left to be done, and the processes run.
for name in $tables; do inside nft delete table inet "$name" 2>/dev/null; done
[ "$is_mended" -eq 0 ] || inside ss -K state connected > /dev/null
`;

/**
 * Guards the pages of a lazy restore (H2): CRIU's daemon serves them from the images; if it ends badly, the processes
 * would read zeros, so they are killed at once, also when Forkpoint's own daemon is gone.
 * Arguments: images, work directory of the restore, status file, id of the container.
 */
const LAZY_PAGES = `#!/bin/sh
set -u
umask 077
images=$1 work=$2 status=$3 container=$4
echo -1000 2>/dev/null > /proc/self/oom_score_adj
criu lazy-pages --images-dir "$images" --work-dir "$work" -o lazy-pages.log
code=$?
# Only what the shell does by itself: until they are dead, the processes run on without their pages.
if [ "$code" -ne 0 ]; then
  tries=0
  while [ "$tries" -lt 500 ]; do
    alive=
    for group in /sys/fs/cgroup/freezer/*/libpod-"$container"* /sys/fs/cgroup/freezer/*/*/libpod-"$container"* \\
      /sys/fs/cgroup/libpod-"$container"* /sys/fs/cgroup/*/libpod-"$container"* /sys/fs/cgroup/*/*/libpod-"$container"*; do
      if [ -w "$group/cgroup.kill" ]; then
        echo 1 > "$group/cgroup.kill"
      elif [ -r "$group/cgroup.procs" ]; then
        while read -r pid; do
          alive=yes
          kill -s KILL "$pid"
        done < "$group/cgroup.procs"
      fi
    done 2>/dev/null
    [ -n "$alive" ] || break
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || sleep 0.01
  done
fi
echo "$code" > "$status.tmp" && mv "$status.tmp" "$status"
`;

/**
 * Makes the pages that are equal in an image and in an earlier one share their blocks. Arguments: the earlier image, the one
 * to be changed, bytes of a page, "try" or "share". Each line of standard input names a stretch: offset in the one, or "-"
 * where it has no counterpart, offset in the other, bytes. Prints how many bytes are equal, and how many are not; "try" only
 * counts.
 *
 * FIDEDUPERANGE (ioctl_fideduperange(2); its number is the same wherever CRIU runs) compares once more under the kernel's
 * locks, so whatever this program believes, no content can change. btrfs swaps references within a transaction
 * (fs/btrfs/reflink.c, btrfs_clone), so a power cut leaves the one or the other, of the same content.
 * Pages that are not shared are written again as they are: btrfs frees an extent only once no part of it is referenced
 * (fs/btrfs/file.c, btrfs_drop_extents), and those of a dump span far more than what differs. They go elsewhere on the disk
 * before they take the place of what was there, which no reader can tell from it.
 */
const SHARE_PAGES = `use strict;
use warnings;
use IO::Handle;
my ($sourceName, $targetName, $page, $mode) = @ARGV;
# Read at once; and the most that older kernels take in one call.
my ($window, $most) = (1 << 20, 16 << 20);
# From an offset of the target to that of the source; and the pages that were compared last, which are all equal or all not.
my ($lead, $isEqual, $start, $length);
my ($shared, $kept) = (0, 0);

setpriority(0, 0, 19);
system("ionice", "-c", "3", "-p", $$);
open(my $source, "<:raw", $sourceName) or die "$sourceName: $!";
open(my $target, "+<:raw", $targetName) or die "$targetName: $!";

sub content {
  my ($file, $at, $length) = @_;
  my $content = "";
  sysseek($file, $at, 0) or die "seek: $!";
  while (length($content) < $length) {
    my $count = sysread($file, $content, $length - length($content), length($content));
    die "read: $!" unless defined $count;
    die "an image is shorter than its page map" if $count == 0;
  }
  return $content;
}

sub keep {
  my ($at, $length) = @_;
  $kept += $length;
  return if $mode eq "try";
  for (my $end = $at + $length; $at < $end; $at += $window) {
    my $part = $end - $at < $window ? $end - $at : $window;
    my $same = content($target, $at, $part);
    sysseek($target, $at, 0) or die "seek: $!";
    my $count = syswrite($target, $same);
    die "write: $!" unless defined $count && $count == $part;
  }
}

sub share {
  my ($at, $length) = @_;
  if ($mode eq "try") {
    $shared += $length;
    return;
  }
  while ($length > 0) {
    my $part = $length < $most ? $length : $most;
    my $request = pack("QQSSLqQQlL", $lead + $at, $part, 1, 0, 0, fileno($target), $at, 0, 0, 0);
    ioctl($source, 0xC0189436, $request) or die "FIDEDUPERANGE: $!";
    my ($done, $status) = (unpack("QQSSLqQQlL", $request))[7, 8];
    if ($status < 0) {
      $! = -$status;
      die "FIDEDUPERANGE: $!";
    }
    # 1 is FILE_DEDUPE_RANGE_DIFFERS.
    return keep($at, $length) if $status != 0 || $done == 0;
    $shared += $done;
    $at += $done;
    $length -= $done;
  }
}

sub settle {
  return if $length == 0;
  if ($isEqual) { share($start, $length); }
  else { keep($start, $length); }
  $length = 0;
}

while (my $line = <STDIN>) {
  my ($sourceAt, $targetAt, $bytes) = split(" ", $line);
  if ($sourceAt eq "-") {
    keep($targetAt, $bytes);
    next;
  }
  $lead = $sourceAt - $targetAt;
  $length = 0;
  my $end = $targetAt + $bytes;
  for (my $at = $targetAt; $at < $end; $at += $window) {
    my $part = $end - $at < $window ? $end - $at : $window;
    my ($before, $now) = (content($source, $lead + $at, $part), content($target, $at, $part));
    for (my $inside = 0; $inside < $part; $inside += $page) {
      my $same = substr($before, $inside, $page) eq substr($now, $inside, $page);
      if ($length == 0 || $same != $isEqual) {
        settle();
        ($isEqual, $start) = ($same, $at + $inside);
      }
      $length += $page;
    }
  }
  settle();
}
# At once, rather than by the flush before the next freeze.
$mode eq "try" or IO::Handle::sync($target) or die "fsync: $!";
print "$shared $kept\\n";
`;

/**
 * Makes a file of pieces of others, with which it shares the blocks: FICLONERANGE, ioctl_ficlonerange(2), whose number is the
 * same wherever CRIU runs. Arguments: the file, the others. Each line of standard input is a piece: which of the others, offset
 * in it, offset in the file, bytes.
 */
const CLONE_PAGES = `use strict;
use warnings;
my ($targetName, @sourceNames) = @ARGV;
umask(0077);
open(my $target, ">:raw", $targetName) or die "$targetName: $!";
my @sources = map { open(my $source, "<:raw", $_) or die "$_: $!"; $source } @sourceNames;
while (my $line = <STDIN>) {
  my ($index, $from, $to, $bytes) = split(" ", $line);
  my $request = pack("qQQQ", fileno($sources[$index]), $from, $bytes, $to);
  ioctl($target, 0x4020940D, $request) or die "FICLONERANGE of $sourceNames[$index]: $!";
}
close($target) or die "$targetName: $!";
`;

/**
 * Runs a command without huge pages: PR_SET_THP_DISABLE (41, PR_SET_THP_DISABLE(2const)), which fork(2) and execve(2) keep;
 * from Linux 6.18 on but for memory that a program asks them for by madvise(2) (PR_THP_DISABLE_EXCEPT_ADVISED, 2). CRIU knows
 * of the first alone, and so does what it restores. Arguments: number of prctl(2), the command.
 */
const WITHOUT_HUGE_PAGES = `use strict;
use warnings;
my $prctl = shift(@ARGV) + 0;
syscall($prctl, 41, 1, 2, 0, 0) == 0 or syscall($prctl, 41, 1, 0, 0, 0);
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!";
`;

/** Where the host's static init is installed (Debian: catatonit; Fedora puts it below libexec). */
export const INIT_CANDIDATES = [
  '/usr/bin/catatonit',
  '/usr/libexec/podman/catatonit',
  '/usr/lib/podman/catatonit',
  '/usr/libexec/catatonit/catatonit',
];

/** Where the engine's default seccomp profile is installed. */
export const SECCOMP_CANDIDATES = ['/usr/share/containers/seccomp.json', '/etc/containers/seccomp.json'];

const IO_URING = ['io_uring_setup', 'io_uring_enter', 'io_uring_register'];
const ENOSYS = 38;

/** Files of ours that dumps, restores and containers use; they lie in the pool's `assets/`. */
export class Assets {
  readonly action: string;
  readonly watchdog: string;
  readonly releaseNetwork: string;
  readonly lazyPages: string;
  readonly sharePages: string;
  readonly clonePages: string;
  readonly withoutHugePages: string;
  readonly seccompProfile: string;

  constructor(private readonly directory: string) {
    this.action = path.join(directory, 'action.sh');
    this.watchdog = path.join(directory, 'watchdog.sh');
    this.releaseNetwork = path.join(directory, 'release-network.sh');
    this.lazyPages = path.join(directory, 'lazy-pages.sh');
    this.sharePages = path.join(directory, 'share-pages.pl');
    this.clonePages = path.join(directory, 'clone-pages.pl');
    this.withoutHugePages = path.join(directory, 'without-huge-pages.pl');
    this.seccompProfile = path.join(directory, 'seccomp.json');
  }

  /** Writes them, each as a whole. */
  async install(): Promise<void> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    await replaceFile(this.action, ACTION, 0o700);
    await replaceFile(this.watchdog, WATCHDOG, 0o700);
    await replaceFile(this.releaseNetwork, RELEASE_NETWORK, 0o700);
    await replaceFile(this.lazyPages, LAZY_PAGES, 0o700);
    await replaceFile(this.sharePages, SHARE_PAGES, 0o600);
    await replaceFile(this.clonePages, CLONE_PAGES, 0o600);
    await replaceFile(this.withoutHugePages, WITHOUT_HUGE_PAGES, 0o600);
    const profile = await firstExisting(SECCOMP_CANDIDATES);
    if (profile !== null)
      await replaceFile(this.seccompProfile, withoutIoUring(await readFile(profile, 'utf8')), 0o600);
  }

  /**
   * Copies the static init into a root file system. It stays there, so snapshots hold the very binary that their
   * processes run, whatever the host installs later (H26). Rejected with `host.toolMissing`.
   */
  async copyInit(target: string): Promise<void> {
    const source = await firstExisting(INIT_CANDIDATES);
    if (source === null)
      throw new ForkpointError('host.toolMissing', {
        tool: 'catatonit',
        install: 'apt-get install catatonit',
      });
    await copyFile(source, target);
    await chmod(target, 0o755);
  }
}

/** Denies io_uring with ENOSYS, so that programs fall back to calls that CRIU can dump. */
export function withoutIoUring(profile: string): string {
  const parsed = JSON.parse(profile) as { syscalls?: { names?: string[] }[] };
  const kept = (parsed.syscalls ?? []).map((rule) => ({
    ...rule,
    names: (rule.names ?? []).filter((name) => !IO_URING.includes(name)),
  }));
  const denied = {
    names: IO_URING,
    action: 'SCMP_ACT_ERRNO',
    errnoRet: ENOSYS,
    args: [],
    comment: 'CRIU can not dump io_uring',
  };
  return `${JSON.stringify({ ...parsed, syscalls: [...kept.filter((rule) => rule.names.length > 0), denied] }, null, 1)}\n`;
}

async function firstExisting(candidates: readonly string[]): Promise<string | null> {
  for (const candidate of candidates) {
    if (await exists(candidate)) return candidate;
  }
  return null;
}

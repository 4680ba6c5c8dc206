#!/bin/sh
# Turns the namespaces it was started in into a host: mounts, devices, cgroups, then
# the host's own /sbin/test-host-init as pid 1. The caller has already put this
# process into the host's cgroups and into new mount, pid, uts, ipc, net and cgroup
# namespaces (see boot.ts). First line on stdout: "pid N", N as the machine sees it.
#
# $1 the cached root (never written to)    $2 the host's state directory
# $3 the host's name                       $4 the workspace tar
# $5 size of the pool, bytes            $6 version of its cgroups: 1 or 2
set -eu
lower=$1 state=$2 name=$3 workspace=$4 pool_bytes=$5 cgroup_version=$6

# /proc is still the machine's, so this is the pid that the machine knows. `read`
# opens the file in this very process; a command substitution would report a child.
read -r pid _ </proc/self/stat
echo "pid $pid"

# No setting of the machine's user belongs into the host.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

root=$state/root
mkdir -p "$state/upper" "$state/work" "$state/containers" "$root"
# volatile: nobody needs this layer after a crash of the machine, so no fsync is paid for.
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$state/upper,workdir=$state/work,volatile" "$root"
cd "$root"
hostname "$name"

mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o nosuid,mode=755 tmpfs dev
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs run
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs tmp

# Copies of the machine's device nodes: the minor of userfaultfd differs between kernels.
for device in null zero full random urandom tty console kmsg fuse btrfs-control userfaultfd; do
    if [ -e "/dev/$device" ]; then cp -a "/dev/$device" "dev/$device"; fi
done
mkdir -p dev/net dev/pts dev/shm
if [ -e /dev/net/tun ]; then cp -a /dev/net/tun dev/net/tun; fi
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr

# In a cgroup namespace a fresh mount of a hierarchy shows this host's subtree only.
# /proc/self/cgroup has one line per hierarchy: "ID:CONTROLLERS:PATH"; ID 0 is cgroup v2.
if [ "$cgroup_version" = 2 ]; then
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
    # All processes are in the leaf "init", so the root may hand its controllers down.
    for controller in $(cat sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >sys/fs/cgroup/cgroup.subtree_control
    done
else
    mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs sys/fs/cgroup
    while IFS=: read -r id controllers _; do
        # Without v2 beside it, runc and Podman take this host for a plain v1 one.
        if [ "$id" = 0 ]; then continue; fi
        mkdir "sys/fs/cgroup/${controllers#name=}"
        mount -t cgroup -o "nosuid,nodev,noexec,$controllers" cgroup "sys/fs/cgroup/${controllers#name=}"
    done </proc/self/cgroup
fi

# Podman's storage: a plain directory of the machine's disk, for its own overlays
# can't be stacked on the overlay that is this host's root.
mount --bind "$state/containers" var/lib/containers

# -o loop lets go of the loop device by itself when the last mount of it is gone,
# however this host ends.
truncate -s "$pool_bytes" "$state/pool.img"
touch run/pool.img
mount --bind "$state/pool.img" run/pool.img
chroot . mkfs.btrfs -q -L forkpoint-pool run/pool.img
umount run/pool.img
rm run/pool.img
mount -t btrfs -o loop,nodev,noatime "$state/pool.img" var/lib/forkpoint
chmod 0700 var/lib/forkpoint
# btrfs tools want to open the device that the mount table names.
loop=$(findmnt -n -o SOURCE var/lib/forkpoint)
cp -a "$loop" "dev/${loop##*/}"

touch srv/workspace.tar
mount --bind "$workspace" srv/workspace.tar
mount -o remount,bind,ro srv/workspace.tar

pivot_root . mnt
exec /usr/sbin/test-host-init

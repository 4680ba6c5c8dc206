#!/bin/sh
# Runs a program of the tools' root ($1) in mounts of its own, where /images is $2 and /host is $3. Stays one process,
# so that whoever started it knows the program's pid.
set -eu
root=$1 images=$2 host=$3
shift 3
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --bind "$images" "$root/images"
mount --bind "$host" "$root/host"
exec chroot "$root" "$@"

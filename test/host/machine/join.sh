#!/bin/sh
# Moves itself into cgroups, then becomes a command. A process can only be born in a
# cgroup namespace's subtree if it is in it before.
#
# $1 number of cgroup directories, then these directories, then the command
set -eu
count=$1
shift
while [ "$count" -gt 0 ]; do
    echo 0 >"$1/cgroup.procs"
    shift
    count=$((count - 1))
done
exec "$@"

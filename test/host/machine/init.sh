#!/bin/sh
# Pid 1 of the test host, once its root is in place: starts sshd, says "ready", then
# becomes a process that does nothing but reap.
set -eu
cd /
umount -l /mnt
mkdir -p /run/sshd /run/lock
# From here on nothing may hold a file from outside this root, or CRIU can't dump
# what inherits it.
/usr/sbin/sshd -E /var/log/sshd.log </dev/null >/dev/null 2>&1
echo ready
exec /usr/bin/catatonit -P </dev/null >/dev/null 2>&1

"""Talks in the network namespace of a process, over connections made for that, and looks for sockets in repair mode.

Arguments: the process, ADDRESS:PORT of an echoer outside. Fails when nothing comes back, or when a TCP socket of the
process's cgroup is in repair mode: it neither sends nor lets its program read.
"""

import ctypes
import os
import pathlib
import socket
import sys

TCP_REPAIR = 19
CLONE_NEWNET = 0x40000000
init, outside = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)


def repaired():
    group = next(
        line.split(":", 2)[2] for line in open(f"/proc/{init}/cgroup") if ":freezer:" in line or line.startswith("0:")
    )
    for root in ("/sys/fs/cgroup/freezer", "/sys/fs/cgroup"):
        for procs in pathlib.Path(root + group).glob("**/cgroup.procs"):
            for pid in procs.read_text().split():
                yield from repaired_of(int(pid))


def repaired_of(pid):
    process = os.pidfd_open(pid)
    for entry in os.listdir(f"/proc/{pid}/fd"):
        if not os.readlink(f"/proc/{pid}/fd/{entry}").startswith("socket:"):
            continue
        found = socket.socket(fileno=libc.syscall(438, process, int(entry), 0))
        if found.type == socket.SOCK_STREAM and found.family == socket.AF_INET:
            if found.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR):
                yield f"{pid}: {found.getsockname()}"


def echo(connection):
    connection.settimeout(5)
    connection.sendall(b"hello")
    return connection.recv(5, socket.MSG_WAITALL) == b"hello"


assert not list(repaired()), list(repaired())
if libc.setns(os.open(f"/proc/{init}/ns/net", os.O_RDONLY), CLONE_NEWNET):
    raise OSError(ctypes.get_errno(), "setns")
host, port = outside.split(":")
assert echo(socket.create_connection((host, int(port)), timeout=5)), "outside"
listener = socket.create_server(("127.0.0.1", 0))
near = socket.create_connection(listener.getsockname(), timeout=5)
far, _ = listener.accept()
near.sendall(b"hello")
far.settimeout(5)
assert far.recv(5, socket.MSG_WAITALL) == b"hello", "inside"

"""What runs in the small workspace: programs that notice by themselves when memory and files disagree.

The writer counts every millisecond, in its memory, in a file of the root file system, in one of the volume, in an
unlinked one and in shared memory, and compares all of them before each step. The pinger sends numbers over a loopback
connection to the echoer and wants each one back. What they notice goes to /trouble.
It holds enough memory for its images to be written into the host's memory first.
Arguments: none, or ADDRESS:PORT of an echoer outside, which is then pinged, too.
"""

import mmap
import os
import socket
import struct
import sys
import time
import zlib

RECORD_BYTES = 12
HELD_BYTES = 24 << 20


def trouble(text):
    with open("/trouble", "a") as file:
        file.write(text + "\n")


def write_for_ever(is_held):
    files = [os.open(name, os.O_RDWR | os.O_CREAT, 0o644) for name in ("/counter", "/data/counter")]
    # A snapshot without processes may have been taken between the two writes.
    count = min(os.fstat(file).st_size for file in files) // RECORD_BYTES
    for file in files:
        os.ftruncate(file, count * RECORD_BYTES)
    unlinked = os.open("/unlinked", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.unlink("/unlinked")
    os.write(unlinked, b"%011d\n" % count)
    shared_file = os.open("/dev/shm/counter", os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(shared_file, mmap.PAGESIZE)
    shared = mmap.mmap(shared_file, mmap.PAGESIZE)
    shared[:8] = struct.pack("<Q", count)
    while True:
        found = [os.fstat(file).st_size / RECORD_BYTES for file in files]
        found.append(int(os.pread(unlinked, RECORD_BYTES, 0)))
        found.append(struct.unpack("<Q", shared[:8])[0])
        if any(one != count for one in found):
            trouble(f"memory says {count}, the files say {found}")
            time.sleep(1)
        if count % 1000 == 0 and not is_held():
            trouble(f"the memory held is another one at {count}")
            time.sleep(1)
        count += 1
        record = b"%011d\n" % count
        for file in files:
            os.pwrite(file, record, (count - 1) * RECORD_BYTES)
        os.pwrite(unlinked, record, 0)
        shared[:8] = struct.pack("<Q", count)
        time.sleep(0.001)


def echo_for_ever(listener):
    connection, _ = listener.accept()
    while True:
        data = connection.recv(4096)
        if not data:
            trouble("the echoer's connection was closed")
            os._exit(1)
        connection.sendall(data)


def ping_for_ever(address, file):
    connection = socket.create_connection(address)
    connection.settimeout(10)
    count = 0
    while True:
        count += 1
        message = struct.pack("<Q", count)
        try:
            connection.sendall(message)
            answer = connection.recv(8, socket.MSG_WAITALL)
        except OSError as error:
            trouble(f"ping {count}: {error}")
            os._exit(1)
        if answer != message:
            trouble(f"ping {count} was answered by {answer!r}")
            os._exit(1)
        with open(file, "w") as said:
            said.write(str(count))
        time.sleep(0.01)


def main():
    held = os.urandom(HELD_BYTES)
    known = zlib.crc32(held)
    listener = socket.create_server(("127.0.0.1", 7007))
    if os.fork() == 0:
        echo_for_ever(listener)
    if os.fork() == 0:
        ping_for_ever(listener.getsockname(), "/pings")
    listener.close()
    for outside in sys.argv[1:]:
        host, port = outside.split(":")
        if os.fork() == 0:
            ping_for_ever((host, int(port)), "/pings-outside")
    write_for_ever(lambda: zlib.crc32(held) == known)


sys.exit(main())

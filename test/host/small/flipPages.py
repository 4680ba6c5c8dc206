"""Flips a byte of each extent of a directory's largest pages-*.img, on the disk below btrfs; done again, it flips it back.

Arguments: the directory, the pool's block device. The file must be so large that none but btrfs has a checksum of it.
"""

import fcntl
import glob
import os
import re
import struct
import subprocess
import sys

directory, device = sys.argv[1:]
FS_IOC_FIEMAP = 0xC020660B  # linux/fiemap.h, linux/fs.h
FIEMAP_FLAG_SYNC = 1
HEAD, EXTENT, MOST = struct.Struct("=QQLLLL"), struct.Struct("=QQQQQLLLL"), 500

# The chunks of a pool on one disk: where its file system's addresses are on it. Its data has one copy.
tree = ["btrfs", "inspect-internal", "dump-tree", "-t", "chunk", device]
text = subprocess.run(tree, check=True, capture_output=True, text=True).stdout
chunks = re.findall(
    r"CHUNK_ITEM (\d+)\).*?\n\s+length (\d+) .*?\bstripe 0 devid 1 offset (\d+)", text, re.S
)


def place(address):
    for logical, length, offset in ((int(word) for word in chunk) for chunk in chunks):
        if logical <= address < logical + length:
            return offset + address - logical
    raise LookupError(address)


pages = max(glob.glob(f"{directory}/pages-*.img"), key=os.path.getsize)
assert os.path.getsize(pages) > 1 << 20, f"{pages} is so small that it is hashed"
file = os.open(pages, os.O_RDONLY)
asked = bytearray(HEAD.pack(0, 2**64 - 1, FIEMAP_FLAG_SYNC, 0, MOST, 0) + bytes(MOST * EXTENT.size))
fcntl.ioctl(file, FS_IOC_FIEMAP, asked)
count = HEAD.unpack_from(asked)[3]
assert count > 0, f"{pages} has no extents"
disk = os.open(device, os.O_RDWR)
for index in range(count):
    at = place(EXTENT.unpack_from(asked, HEAD.size + index * EXTENT.size)[1])
    os.pwrite(disk, bytes([os.pread(disk, 1, at)[0] ^ 0xFF]), at)
os.fsync(disk)
# What was read before is not read from memory again: of the file, and of the disk as such.
for descriptor in (file, disk):
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

"""Holds memory whose sum it knows, and counts while it does; adds it all up again when the file /check appears.

Arguments: how many MiB. Writes "same" or "different" and the contents of /check into /checked.
"""

import os
import sys
import time
import zlib

MIB = 1 << 20

size = int(sys.argv[1])
block = os.urandom(MIB)
# Each block is another rotation of one: no two pages are the same.
memory = bytearray().join(block[shift:] + block[:shift] for shift in range(size))
expected = zlib.crc32(memory)
beats = 0
while True:
    beats += 1
    with open("/beats", "w") as file:
        file.write(str(beats))
    if os.path.exists("/check"):
        with open("/check") as file:
            word = file.read()
        found = zlib.crc32(memory)
        with open("/checked.new", "w") as file:
            file.write(("same " if found == expected else "different ") + word)
        os.rename("/checked.new", "/checked")
        os.unlink("/check")
    time.sleep(0.02)

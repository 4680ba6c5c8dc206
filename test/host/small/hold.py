"""Holds memory whose sum it knows, and counts while it does; adds it all up again when the file /check appears.

Arguments: how many MiB. Writes "same" or "different" and the contents of /check into /checked, what it found into /sum.
When /change appears, it rewrites a twentieth of its pages, and removes it.
"""

import os
import random
import sys
import time
import zlib

MIB = 1 << 20
PAGE = 4096

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
    if os.path.exists("/change"):
        pages = range(len(memory) // PAGE)
        for page in random.sample(pages, len(pages) // 20):
            # Half of it: where the memory begins within a page is not known.
            memory[page * PAGE : page * PAGE + PAGE // 2] = os.urandom(PAGE // 2)
        expected = zlib.crc32(memory)
        os.unlink("/change")
    if os.path.exists("/check"):
        with open("/check") as file:
            word = file.read()
        found = zlib.crc32(memory)
        with open("/sum", "w") as file:
            file.write(str(found))
        with open("/checked.new", "w") as file:
            file.write(("same " if found == expected else "different ") + word)
        os.rename("/checked.new", "/checked")
        os.unlink("/check")
    time.sleep(0.02)

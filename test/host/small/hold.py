"""Holds memory whose sum it knows, and counts while it does; adds it all up again when the file /check appears.

Arguments: how many MiB. Writes "same" or "different" and the contents of /check into /checked, what it found into /sum.
When /change appears, it rewrites a twentieth of its pages, and removes it. While /churn is there, it rewrites some twentieth of
its pages each second, a stretch here and a stretch there. The longest time between two beats since /churn appeared is in /stall, in milliseconds.
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


def sums():
    return [zlib.crc32(memory[at : at + MIB]) for at in range(0, len(memory), MIB)]


def rewrite(pages):
    for page in pages:
        # Half of it: where the memory begins within a page is not known.
        memory[page * PAGE : page * PAGE + PAGE // 2] = os.urandom(PAGE // 2)


expected = sums()
beats = 0
longest = 0
beaten = None
while True:
    beats += 1
    now = time.monotonic()
    if os.path.exists("/churn"):
        if beaten is None:
            longest = 0
        else:
            longest = max(longest, now - beaten)
        beaten = now
        # Whole at once: it is read at any time.
        with open("/stall.new", "w") as file:
            file.write(str(round(longest * 1000)))
        os.replace("/stall.new", "/stall")
        number = random.randrange(size)
        count = min(MIB // PAGE, max(1, size // 4))
        first = number * (MIB // PAGE) + random.randrange(MIB // PAGE - count + 1)
        rewrite(range(first, first + count))
        expected[number] = zlib.crc32(memory[number * MIB : (number + 1) * MIB])
    else:
        beaten = None
    with open("/beats", "w") as file:
        file.write(str(beats))
    if os.path.exists("/change"):
        pages = range(len(memory) // PAGE)
        rewrite(random.sample(pages, len(pages) // 20))
        expected = sums()
        os.unlink("/change")
    if os.path.exists("/check"):
        with open("/check") as file:
            word = file.read()
        found = sums()
        with open("/sum", "w") as file:
            file.write(str(zlib.crc32(repr(found).encode())))
        with open("/checked.new", "w") as file:
            file.write(("same " if found == expected else "different ") + word)
        os.rename("/checked.new", "/checked")
        os.unlink("/check")
    time.sleep(0.02)

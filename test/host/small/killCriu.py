"""Stops CRIU in the middle of a dump, when it holds the network back and has begun to write memory, or kills it.

Arguments: the workspace, first process of the workspace, "STOP" or "KILL". Prints as JSON what
CRIU had done by then.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

workspace, init, how = sys.argv[1:]
images = [
    (pathlib.Path("/var/lib/forkpoint/snapshots", workspace), "*/memory/pages-*.img"),
    (pathlib.Path("/run/forkpoint/staging"), f"{workspace}.*/pages-*.img"),
]


def written():
    try:
        return sum(image.stat().st_size for directory, names in images for image in directory.glob(names))
    except OSError:
        return 0


def processes_of(name):
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text().strip() == name:
                yield int(entry.name)
        except OSError:
            continue


before = written()
deadline = time.monotonic() + 60
# By then the programs that talk have been dumped: the one with the large memory is their youngest sibling.
while written() < before + (32 << 20):
    if time.monotonic() > deadline:
        sys.exit("CRIU wrote no memory")
    time.sleep(0.001)
victims = list(processes_of("criu"))
for victim in victims:
    os.kill(victim, signal.SIGSTOP)
tables = subprocess.run(
    ["nsenter", f"--net=/proc/{init}/ns/net", "nft", "list", "tables"], check=True, capture_output=True, text=True
).stdout
if how == "KILL":
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
print(json.dumps({"tables": tables.splitlines(), "criu": len(victims), "bytes": written() - before}))

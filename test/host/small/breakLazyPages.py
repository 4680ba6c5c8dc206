"""Kills CRIU's lazy-pages daemon once the processes it serves run, and prints as JSON how long they live on.

Arguments: the container's full id, whether Forkpoint's daemon is killed before ("daemon-too" or "daemon-lives") or the
kill comes before the processes are awake ("waking"), where in Forkpoint's log to begin to wait for the step "wake".
"""

import json
import os
import pathlib
import re
import signal
import sys
import time

LOG = "/var/log/forkpoint/helper.log"
container, whom, offset = sys.argv[1], sys.argv[2], int(sys.argv[3])


def lazy_pages():
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if len(words) > 1 and words[0].endswith(b"criu") and words[1] == b"lazy-pages":
            return int(entry.name)
    return None


def members():
    root = pathlib.Path("/sys/fs/cgroup/freezer")
    if not root.exists():
        root = pathlib.Path("/sys/fs/cgroup")
    # Below a slice of systemd's, where that rules; and the engine may have put them one level further down.
    found = []
    for group in root.glob(f"*/libpod-{container}*"):
        for procs in [group / "cgroup.procs", *group.glob("*/cgroup.procs")]:
            try:
                found += procs.read_text().split()
            except OSError:
                continue
    return found


deadline = time.monotonic() + 60
seen = ""
with open(LOG) as log:
    log.seek(offset)
    awaited = r"(snapshots/restore|containers/copy): wake\n" if whom == "waking" else r"restore \S+: wake, "
    while not re.search(awaited, seen):
        seen += log.read()
        if time.monotonic() > deadline:
            sys.exit("the step wake did not end")
        time.sleep(0.001)
victim = lazy_pages()
if victim is None:
    sys.exit("the lazy-pages daemon had ended already")
if whom == "daemon-too":
    daemon = re.findall(r"daemon \S+ started, process (\d+)", open(LOG).read())[-1]
    os.kill(int(daemon), signal.SIGKILL)
before = members()
os.kill(victim, signal.SIGKILL)
begun = time.monotonic()
# Of a restore that is tried again at once, the processes that were before are not those that wait for pages.
while whom != "waking" and set(before) & set(members()) and time.monotonic() < begun + 10:
    time.sleep(0.0005)
print(json.dumps({"ms": round((time.monotonic() - begun) * 1000, 1), "processes": len(before)}))

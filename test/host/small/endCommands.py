"""Kills the commands of a daemon together with it: waits for its end, and ends at once all that it has started.

Argument: the daemon's process, or OPERATION/STEP where it is going to end itself. Those that outlive their daemon by design
are left (the monitors of containers, the guards of lazy restores), and so is what runs in containers, in pid namespaces of
their own. Prints the names of what was killed as JSON.
"""

import json
import os
import select
import signal
import sys
import time

LASTING = ("/lazy-pages.sh", "criu lazy-pages")


def read(pid, file):
    try:
        with open(f"/proc/{pid}/{file}", errors="replace") as opened:
            return opened.read().split("\0")
    except OSError:
        return []


def namespace(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def processes():
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def find_daemon(point):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for pid in processes():
            if "daemon" in read(pid, "cmdline") and f"FORKPOINT_CRASH_AT={point}" in read(pid, "environ"):
                return pid
        time.sleep(0.005)
    sys.exit(f"no daemon is to end itself at {point}")


def wait_for_end(pid):
    try:
        select.select([os.pidfd_open(pid)], [], [])
    except ProcessLookupError:
        pass


def commands():
    for pid in processes():
        if not any(one.startswith("FORKPOINT_DAEMON=") for one in read(pid, "environ")):
            continue
        arguments = " ".join(read(pid, "cmdline"))
        name = "".join(read(pid, "comm")).strip()
        is_lasting = name == "conmon" or any(one in arguments for one in LASTING)
        if not is_lasting and namespace(pid) == namespace("self"):
            yield pid, name


def end_commands():
    """Until there are none: one that is about to be killed may start another."""
    ended = {}
    deadline = time.monotonic() + 10
    while left := list(commands()):
        for pid, name in left:
            ended[pid] = name
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:
            sys.exit(f"not to be killed: {left}")
        time.sleep(0.001)
    return sorted(ended.values())


wanted = sys.argv[1]
wait_for_end(int(wanted) if wanted.isdigit() else find_daemon(wanted))
print(json.dumps(end_commands()))

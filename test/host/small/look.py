"""Looks at a host with the small workspace from outside Forkpoint, and prints what is there as JSON.

Arguments: the workspace's id, whether its programs are waited for ("running" or "stopped"), and how many seconds are
given to what happens in the background.
"""

import glob
import json
import os
import pathlib
import subprocess
import sys
import time

POOL = pathlib.Path("/var/lib/forkpoint")


def read(file):
    try:
        return pathlib.Path(file).read_text(errors="replace")
    except OSError:
        return ""


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def processes():
    found = []
    for entry in os.listdir("/proc"):
        words = read(f"/proc/{entry}/cmdline").split("\0") if entry.isdigit() else []
        if words and words[0]:
            found.append({"pid": int(entry), "args": " ".join(words).strip(), "freezer": cgroup(entry, "freezer")})
    return found


def cgroup(pid, controller):
    for line in read(f"/proc/{pid}/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if controller in controllers.split(",") or number == "0":
            return path
    return ""


def freezer_state(group):
    if os.path.exists("/sys/fs/cgroup/freezer"):
        return read(f"/sys/fs/cgroup/freezer{group}/freezer.state").strip()
    return "FROZEN" if "frozen 1" in read(f"/sys/fs/cgroup{group}/cgroup.events") else "THAWED"


def look(workspace):
    files = POOL / "workspaces" / workspace
    containers = json.loads(output("podman", "ps", "--all", "--format", "json"))
    container = [one for one in containers if (one.get("Labels") or {}).get("forkpoint.workspace") == workspace]
    everything = processes()
    pid = container[0].get("Pid", 0) if container else 0
    group = cgroup(pid, "freezer") if pid else None
    state = freezer_state(group) if group else ""
    return {
        "engine": container[0]["State"] if container else "missing",
        "containers": len(container),
        "frozen": state,
        "programs": [one["args"] for one in everything if group and one["freezer"] == group],
        "others": [one["args"] for one in everything if not group or one["freezer"] != group],
        "tables": output("nsenter", f"--net=/proc/{pid}/ns/net", "nft", "list", "tables").splitlines() if pid else [],
        "allContainers": len(containers),
        "workspaces": len(os.listdir(POOL / "workspaces")),
        # Where systemd shares mounts, each is there twice.
        "namespaces": len({line.split()[1] for line in read("/proc/mounts").splitlines() if " /run/netns/" in line}),
        # What is there only while a restore or a snapshot is under way.
        "haste": sorted(glob.glob("/sys/class/net/forkpoint-*")) + glob.glob("/run/forkpoint/grace-periods"),
        "trouble": read(files / "rootfs" / "trouble"),
        "counter": size(files / "rootfs" / "counter") // 12,
        "volumeCounter": size(files / "volumes" / "data" / "counter") // 12,
        "pings": int(read(files / "rootfs" / "pings") or 0),
        "mark": read(files / "rootfs" / "mark"),
        "files": sorted(entry.name for entry in files.iterdir()) if files.exists() else [],
        "journal": os.listdir(POOL / "journal"),
        "trash": os.listdir(POOL / "trash"),
        "subvolumes": sorted(line.split(" path ", 1)[1] for line in output("btrfs", "subvolume", "list", str(POOL)).splitlines()),
    }


def size(file):
    try:
        return file.stat().st_size
    except OSError:
        return 0


def main():
    workspace, wanted, seconds = sys.argv[1:]
    deadline = time.monotonic() + float(seconds)
    before = look(workspace)
    while True:
        time.sleep(0.05)
        found = look(workspace)
        # Programs that begin anew count from one, and may not have begun at the first look.
        if found["pings"] < before["pings"]:
            before = found
        advances = found["counter"] > before["counter"] and found["pings"] > before["pings"]
        is_quiet = not found["trash"] and not found["journal"] and not found["haste"]
        is_settled = is_quiet and (advances or wanted != "running")
        if is_settled or time.monotonic() > deadline:
            print(json.dumps({**found, "advances": advances}))
            return


main()

"""Makes the images of a snapshot ones that can't be woken, though they are as its record says.

Argument: the snapshot's directory.
"""

import hashlib
import json
import pathlib
import sys

directory = pathlib.Path(sys.argv[1])
image = directory / "memory" / "pstree.img"
zeros = bytes(image.stat().st_size)
image.write_bytes(zeros)
file = directory / "snapshot.json"
record = json.loads(file.read_text())
for one in record["images"]:
    if one["name"] == image.name:
        one["sha256"] = hashlib.sha256(zeros).hexdigest()
file.write_text(json.dumps(record))

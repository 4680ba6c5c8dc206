"""Waits for a text to appear in the daemon's log, and runs a shell script at once.

Arguments: the text, where in the log to begin, the script.
"""

import os
import sys
import time

text, offset, script = sys.argv[1], int(sys.argv[2]), sys.argv[3]
deadline = time.monotonic() + 60
with open("/var/log/forkpoint/helper.log") as log:
    log.seek(offset)
    seen = ""
    while text not in seen:
        seen += log.read()
        if time.monotonic() > deadline:
            sys.exit(f'"{text}" did not appear in the log')
        time.sleep(0.001)
os.execlp("sh", "sh", "-uc", script)

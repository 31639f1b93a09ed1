#!/usr/bin/env bash
# ray 2.60.0: after ray.shutdown() a program's SIGTERM handler is named by Python, and no longer called.
#
# ray.init() puts a handler of its own in place, as its documentation says. A program that sets its handler again afterwards has
# it while Ray runs. ray.shutdown() then takes the handler away from the system, below Python: signal.getsignal still names it,
# and SIGTERM ends the process at once, with no clean-up and no exit code of the program's own. Set the handler once more after
# ray.shutdown().
# Seen: 2026-11-29, Linux: exit code 7 by the handler without Ray, while Ray runs, and where it is set again; -15 after shutdown.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
mkdir "$folder/home"
cd "$folder"
export HOME="$folder/home" RAY_AUTH_MODE=disabled
unset RAY_ADDRESS
cat > program.py <<'PROGRAM'
import os
import signal
import sys
import time

import ray


def mine(number, frame):
    os._exit(7)


when = sys.argv[1]
if when != "without Ray":
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=80_000_000)
signal.signal(signal.SIGTERM, mine)
if when in ("after shutdown", "set again"):
    ray.shutdown()
if when == "set again":
    signal.signal(signal.SIGTERM, mine)
assert signal.getsignal(signal.SIGTERM) is mine
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(5)
PROGRAM
cat > each.py <<'EACH'
import subprocess
import sys

found = {}
for when in ("without Ray", "while it runs", "after shutdown", "set again"):
    done = subprocess.run([sys.executable, "program.py", when], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    found[when] = done.returncode
print(found)
assert found == {"without Ray": 7, "while it runs": 7, "after shutdown": -15, "set again": 7}
EACH
"$folder/venv/bin/python" each.py

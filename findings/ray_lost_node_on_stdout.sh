#!/usr/bin/env bash
# ray 2.60.0: a driver with log_to_driver=False and logging off still gets a lost raylet's state on its standard output.
#
# log_to_driver is documented for the output of workers. What nodes and raylets report goes another way: a thread of the driver
# prints it to standard output whatever log_to_driver and logging_level are, also to drivers that have nothing on that node. For a
# raylet that was killed that is some forty lines, most of them statistics out of its log. A program whose standard output is data, read by
# the next one, has them in between. We found no public setting; as of this version the messages stop with
# ray._private.worker._worker_logs_enabled = False.
# Seen: 2026-11-29, a head and a second node on this machine, whose raylet is killed; the driver itself prints nothing. Ray's health
# checks are made shorter here, to see it within seconds.
set -euo pipefail
folder=$(mktemp -d)
groups=()
end() {
    for group in "${groups[@]}"; do kill -9 -- "-$group" || true; done 2>/dev/null
    wait 2>/dev/null
    rm -rf "$folder"
}
trap end EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[default]==2.60.0'
mkdir "$folder/home"
cd "$folder"
export HOME="$folder/home" RAY_AUTH_MODE=disabled
export RAY_health_check_period_ms=500 RAY_health_check_timeout_ms=500 RAY_health_check_failure_threshold=2
unset RAY_ADDRESS
python=$folder/venv/bin/python

free() { # an option with a free port for each name
    "$python" -c '
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in sys.argv[1:]]
print(*(f"--{name}={each.getsockname()[1]}" for name, each in zip(sys.argv[1:], held)))' "$@"
}
node() { # a node with ports of its own, in a process group of its own
    local log=$1
    shift
    setsid "$folder/venv/bin/ray" start --block --num-cpus=1 --disable-usage-stats "$@" $(free node-manager-port \
        object-manager-port runtime-env-agent-port dashboard-agent-listen-port dashboard-agent-grpc-port metrics-export-port) \
        > "$log" 2>&1 &
    groups+=($!)
    for _ in $(seq 90); do sleep 1; grep -q "Ray runtime started" "$log" && return; done
    cat "$log"
    exit 1
}

port=$(free port)
node head.log --head --node-ip-address=127.0.0.1 --include-dashboard=false --temp-dir="$folder/ray" "$port" $(free ray-client-server-port)
node second.log --address="127.0.0.1:${port#--port=}" --node-ip-address=127.0.0.2
cat > driver.py <<'PY'
import logging
import sys
import time

import ray

ray.init(sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)


def wait_for(nodes: int) -> None:
    while sum(each["Alive"] for each in ray.nodes()) != nodes:
        time.sleep(0.2)


wait_for(2)
print("ray", ray.__version__, "with two nodes", file=sys.stderr, flush=True)
wait_for(1)
time.sleep(5)
PY
"$python" driver.py "127.0.0.1:${port#--port=}" > out 2> err &
driver=$!
for _ in $(seq 60); do sleep 1; grep -q "two nodes" err && break; done
kill -9 "$(ps -o pid=,comm= -g "${groups[1]}" | awk '$2 == "raylet" {print $1}')"
wait "$driver"
cat err
echo "on standard output: $(wc -l < out) lines, such as"
[ "$(wc -l < out)" -gt 5 ]
grep -m 1 -o "Raylet is terminated. Termination is unexpected" out
grep -m 1 -o "The node with node id.*127.0.0.2 has been marked dead" out

#!/usr/bin/env bash
# ray 2.60.0: a local ray.init() writes ~/.ray/auth_token, and the user's next `ray start --head` refuses drivers without a variable.
#
# A local Ray has token authentication by default and keeps its token in the home. `ray start --head` finds the file and turns
# authentication on as well; without the file it leaves it off. A driver that names the head's address reads the file only where
# RAY_AUTH_MODE=token is set, also on the same machine by the same user. Each step says in a warning that tokens are on, and the
# refusal names variable and file. Still a cluster that took its drivers yesterday refuses them today, since somebody tried
# something on its head in between. Set RAY_AUTH_MODE for the head and for every driver, to token or to disabled. Since 2.59.0:
# 2.58.0's source does not have it.
# Seen: 2026-11-29, in a home that was empty: the file; a driver that is refused; the same driver with RAY_AUTH_MODE=token.
set -euo pipefail
folder=$(mktemp -d)
head=""
end() {
    if [ -n "$head" ]; then
        kill "$head" 2>/dev/null && wait "$head" || true
        kill -9 -- "-$head" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap end EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[default]==2.60.0'
mkdir "$folder/home"
cd "$folder"
export HOME="$folder/home"
unset RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_AUTH_TOKEN_PATH RAY_ADDRESS
python=$folder/venv/bin/python
"$python" -c "
import ray
ray.init('local', num_cpus=1, include_dashboard=False, _temp_dir='$folder/local')
print('a local ray', ray.__version__)" 2> local.log
ls "$HOME/.ray/auth_token"

port=$("$python" -c "import socket; print(socket.create_server(('127.0.0.1', 0)).getsockname()[1])")
"$python" - "$port" > options <<'PY'
import socket
import sys

names = ["node-manager-port", "object-manager-port", "ray-client-server-port", "runtime-env-agent-port"]
names += ["dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port"]
held = [socket.create_server(("127.0.0.1", 0)) for _ in names]
print(f"--port={sys.argv[1]}", *(f"--{name}={each.getsockname()[1]}" for name, each in zip(names, held)))
PY
setsid "$folder/venv/bin/ray" start --head --block --node-ip-address=127.0.0.1 --num-cpus=1 --include-dashboard=false \
    --disable-usage-stats --temp-dir="$folder/head" $(cat options) > head.log 2>&1 &
head=$!
for _ in $(seq 90); do sleep 1; grep -q "Ray runtime started" head.log && break; done
grep -o "Token authentication is enabled for this Ray cluster" head.log

driver="import ray; ray.init('127.0.0.1:$port'); print('joined')"
if "$python" -c "$driver" > plain.log 2>&1; then echo "it was not refused"; exit 1; fi
grep -o "InvalidAuthToken.*(not 'token')" plain.log | tail -1
tail -1 plain.log
RAY_AUTH_MODE=token "$python" -c "$driver" 2> token.log | grep joined

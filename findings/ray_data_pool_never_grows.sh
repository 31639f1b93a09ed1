#!/usr/bin/env bash
# ray 2.60.0: an autoscaling ActorPoolStrategy with max_tasks_in_flight_per_actor=1 never grows, however long the queue.
#
# Ray Data adds actors once tasks in flight, divided by what the actors run at once, reach 1.75 (the default of
# DataContext.autoscaling_config.actor_pool_util_upscaling_threshold). With one task given to an actor at a time that share is 1
# at most, so min_size stays the size, and nothing is said, though max_size asks for more, CPUs are idle and blocks wait. The
# docstring of the threshold says how the share is counted, not that such a pool is one of a fixed size. One in flight is what
# long tasks ask for, since an actor's second one waits behind the first while others are idle. Lower the threshold to 1.
# Seen: 2026-11-29, 24 blocks of half a second on 4 logical CPUs: 1 of 3 actors; 3 with two in flight, and 3 with the lower threshold.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'ray[data]==2.60.0' pyarrow==26.0.1
mkdir "$folder/home"
cd "$folder"
export HOME="$folder/home"
unset RAY_ADDRESS
"$folder/venv/bin/python" - "$folder/ray" 2> log <<'PY' | tee seen
import logging
import os
import sys
import time

import ray
from ray.data import ActorPoolStrategy, DataContext

ray.init(num_cpus=4, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False, _temp_dir=sys.argv[1])
context = DataContext.get_current()
context.enable_progress_bars = False


class Slow:
    def __call__(self, batch):
        time.sleep(0.5)
        batch["pid"] = [os.getpid()] * len(batch["id"])
        return batch


def actors(in_flight):
    pool = ActorPoolStrategy(min_size=1, max_size=3, max_tasks_in_flight_per_actor=in_flight)
    blocks = ray.data.range(24, override_num_blocks=24)
    rows = blocks.map_batches(Slow, compute=pool, batch_size=None).take_all()
    return len({row["pid"] for row in rows})


print("ray", ray.__version__)
print("one in flight:", actors(1), "of 3 actors")
print("two in flight:", actors(2), "of 3 actors")
context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
print("one in flight, threshold 1:", actors(1), "of 3 actors")
PY
grep -x "one in flight: 1 of 3 actors" seen
grep -x "two in flight: 3 of 3 actors" seen
grep -xE "one in flight, threshold 1: [23] of 3 actors" seen

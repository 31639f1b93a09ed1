"""Commands on a Ray of their own, in a process of their own."""

import json
import subprocess
import sys
from collections.abc import Sequence

#: Takes commands in JSON, which run one after the other on one Ray, since that takes seconds to
#: start; and the CPUs that it believes in.
COMMANDS = """
import json, sys
from shardrank.core.settings import ClusterSettings
from shardrank.jobs.cli import main
from shardrank.stages.run.cluster import connect

commands, cpus = json.loads(sys.argv[1]), int(sys.argv[2])
with connect(ClusterSettings(cpus=cpus, object_store_mb=100), lambda sentence: None):
    for words in commands:
        sys.argv = ["shardrank", *words]
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise
"""


def run_on_ray(commands: Sequence[Sequence[str]], cpus: int, timeout: float) -> None:
    """Run them to their ends."""
    words = [sys.executable, "-c", COMMANDS, json.dumps(commands), str(cpus)]
    subprocess.run(words, check=True, timeout=timeout)

"""Whether two indexes, and the rankings over them, are the same byte for byte.

    python -m tests.same INDEX OUT OTHER_INDEX OTHER_OUT [--set s3.endpoint=URL]

Paths are folders or s3://. What is compared: parts, shards, codecs, rankings, run.trec,
metrics.json, and manifest.json and the versions without how they were made.
"""

import argparse
import sys

from shardrank.core.overrides import parse_settings
from shardrank.storage import open_storage
from tests.world import snapshot_of


def main() -> None:
    """Print what differs; exit code 1 where anything does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("paths", nargs=4, metavar="PATH")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    arguments = parser.parse_args()
    s3 = parse_settings({}, arguments.sets).s3
    index, out, other_index, other_out = (open_storage(path, s3) for path in arguments.paths)
    one, other = snapshot_of(index, out), snapshot_of(other_index, other_out)
    differing = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    for key in differing:
        print(f"differs: {key}")
    print(f"{len(one) - len(differing)} of {len(one)} files are the same")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()

"""Where shardrank is not installed: the folder pipelines is the package of that name.

Nothing else says so there. Import this first.
"""

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

if find_spec("shardrank") is None:
    spec = spec_from_file_location("shardrank", Path(__file__).parents[2] / "pipelines/__init__.py")
    assert spec
    assert spec.loader
    sys.modules["shardrank"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["shardrank"])

"""scan: read every source row once, keep the keys of good rows, set the bad ones aside."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pipelines.core.settings import CorpusSettings
from pipelines.core.units import Done, Unit
from pipelines.corpus.scan import scan_slice
from pipelines.corpus.slices import Slice
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace
from pipelines.storage import Sources


def scan(context: Context, slices: Sequence[Slice]) -> list[Done]:
    """Validate every row of the corpus; one marker a slice, output "keys" has DOCUMENT_KEYS."""
    units = plan_scan(slices, context.settings.corpus)
    make = partial(Scan, context.workspace, Sources(context.settings.s3))
    return run_stage(context, "scan", units, [Step(make)])


def plan_scan(slices: Sequence[Slice], settings: CorpusSettings) -> list[Unit]:
    """One unit a slice."""
    deciding = settings.deciding()
    return [Unit("scan", {"slice": s.json(), "corpus": deciding}) for s in slices]


@dataclass(frozen=True)
class Scan:
    """A slice → its keys, its rejected rows, and their counts."""

    workspace: Workspace
    sources: Sources

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        settings = CorpusSettings(**unit.spec["corpus"])
        found = scan_slice(Slice.parse(unit.spec["slice"]), self.sources.open, settings)
        write = partial(self.workspace.write_scratch, unit)
        outputs = {
            "keys": write("keys.parquet", found.keys),
            "rejected": write("rejected.parquet", found.rejected),
        }
        accepted, rejected = found.keys.num_rows, found.rejected.num_rows
        counts = {"rows": found.rows, "accepted": accepted, "rejected": rejected}
        return Result(outputs, counts, {})

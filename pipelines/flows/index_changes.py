"""What an index run found about its corpus, and whether that may be published."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow.compute as pc

from shardrank.core.errors import GateRefused
from shardrank.core.files import FileRef
from shardrank.core.index_settings import GateSettings
from shardrank.core.units import Done, total
from shardrank.corpus.changes import Mode
from shardrank.stages.index.compare import Compared
from shardrank.stages.index.delete import read_ids
from shardrank.stages.index.embed import Embedded
from shardrank.stages.index.ingest import Ingested
from shardrank.stages.index.publish import rejected_told
from shardrank.stages.index.scan import Scanned
from shardrank.stages.run.runner import Context
from shardrank.stages.run.workspace import Workspace
from shardrank.version.gate import Change, Refusal, collapsed, refusals
from shardrank.version.manifest import Changes
from shardrank.version.parts import Part


@dataclass(frozen=True)
class Made:
    """What a run cut and embedded: the markers of both stages, and the new parts."""

    ingested: Sequence[Done[Ingested]]
    embedded: Sequence[Done[Embedded]]
    parts: Sequence[Part]

    @property
    def late(self) -> list[FileRef]:
        """Lists of the documents that were rejected after the comparison."""
        found = [done.made.rejected for done in self.ingested]
        found += [done.made.rejected for done in self.embedded]
        return [ref for ref in found if ref.rows]


@dataclass(frozen=True)
class Night:
    """What a run found about its corpus, as counts that add up.

    rows = added + changed + unchanged + tombstones + superseded + rejected, and
    documents after = documents before + added - deleted.

    Attributes:
        stored: the parts of the version that the corpus is compared with.
        mode: of the run.
        anew: whether nothing that is stored serves, so that everything is embedded.
        scans, compared: what the first stages left.
    """

    stored: Sequence[Part]
    mode: Mode
    anew: bool
    scans: Sequence[Done[Scanned]]
    compared: Compared

    @property
    def before(self) -> int:
        return sum(part.live.documents for part in self.stored)

    def expected(self) -> Changes:
        """The version's counts if every document can be cut and embedded."""
        return self._counts(late=0, in_vain=0)

    def changes(self, workspace: Workspace, made: Made) -> Changes:
        """The version's counts."""
        late = made.late
        in_vain = _replaced_in_vain(workspace, self.compared, late)
        counts = self._counts(sum(ref.rows for ref in late), in_vain)
        return replace(counts, embedded=total(made.embedded, "rows"))

    def _counts(self, late: int, in_vain: int) -> Changes:
        """Where `late` documents were rejected after the comparison, `in_vain` of which were to
        replace live ones; in a snapshot these are gone."""
        count = self.compared.count
        changed = count("changed") - in_vain
        return Changes(
            rows=total(self.scans, "rows"),
            added=count("added") - (late - in_vain),
            changed=changed,
            # Of those in vain some were changed: no more than these is let past the gate.
            backfilled=0 if self.anew else max(0, count("backfilled") - in_vain),
            unchanged=count("unchanged"),
            tombstones=count("tombstones"),
            superseded=count("superseded"),
            deleted=count("deleted") + (in_vain if self.mode == "snapshot" else 0),
            rejected=total(self.scans, "rejected") + count("rejected") + late,
        )

    def refuse(self, context: Context, changes: Changes) -> None:
        """Raise GateRefused where this changes too much. The run's rejected rows are listed."""
        change = Change(
            before=self.before,
            after=self.before + changes.added - changes.deleted,
            # gate.reembed has allowed what is embedded anew, and backfill.share what is backfilled
            changed=0 if self.anew else changes.changed - changes.backfilled,
            deleted=changes.deleted,
            rows=changes.rows,
            rejected=changes.rejected,
        )
        found = refusals(change, context.settings.gate)
        rejected = found and changes.rejected and rejected_told(context.workspace, context.run)
        _refuse(found, f"Rejected: {rejected}." if rejected else "")


def refuse_collapsed(stored: Sequence[Part], new: Sequence[Part], gate: GateSettings) -> None:
    """Raise GateRefused where the new vectors point in fewer directions than the stored ones."""
    _refuse(collapsed(stored, new, gate))


def _refuse(reasons: Sequence[Refusal], told: str = "") -> None:
    if reasons:
        said = "; ".join(refusal.reason for refusal in reasons)
        allowed = " ".join(f"--set {refusal.setting}" for refusal in reasons)
        raise GateRefused(
            f"The gate refused to publish: {said}. {told}".rstrip(),
            f"Look at the corpus. If this is meant, allow it for this run: {allowed}.",
        )


def _replaced_in_vain(workspace: Workspace, compared: Compared, late: Sequence[FileRef]) -> int:
    """How many documents were live before and are rejected in their new form."""
    if not late:
        return 0
    rejected = read_ids(workspace, late)
    tables = (workspace.read_table(ref) for ref in compared.removed)
    replaced = (table.filter(pc.field("replaced"))["doc_id"] for table in tables)
    return sum(pc.sum(pc.is_in(ids, value_set=rejected)).as_py() or 0 for ids in replaced)

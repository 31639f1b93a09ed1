"""What a stage needs of a cluster, and the sizes of what it handles row by row."""

import math
from dataclasses import dataclass
from typing import Literal

from shardrank.forecast.model import Model
from shardrank.forecast.rates import Rates
from shardrank.forecast.work import Work

#: What runs a unit: a task of one CPU, an actor with a model, one that searches, or the driver.
Runner = Literal["task", "model", "search", "driver"]

#: Bytes of a process that has loaded torch and Ray, about: an index run on two cores held 3.7 GB
#: in all of its processes.
PROCESS_BYTES = 0.8e9

#: A file's key and checksum: bytes as JSON, and as an object in the driver.
REF_BYTES = 165
REF_MEMORY = 600

#: Bytes of a part in the spec of a stage that reads its vectors.
PART_SPEC_BYTES = 600

#: Stored bytes of a hit with a random id, of its place alone, of a reranker's score.
HIT_BYTES, PAIR_BYTES, SCORE_BYTES = 14, 6, 8

#: Bytes in memory of each hit that is kept while those of 8 shards are merged, one shard after
#: another; measured at 409,600.
MERGED_MEMORY = 220

#: Bytes in the driver of the count of one part's pairs, which each block's marker holds.
COUNT_MEMORY = 130


@dataclass(frozen=True)
class Need:
    """What a stage needs.

    Attributes:
        stage: its name.
        units: how many there are.
        runner: what runs them.
        work_s: seconds of one core on a unit, the model's left out.
        files: read and written by a unit, one after another.
        bytes: of these files.
        memory: bytes of one worker.
        spec: bytes of a unit's spec, which passes through the driver.
        flops: of the model, in a unit.
        moved: numbers of its weights that a unit's writing goes through, token after token.
        model: whose flops they are.
        loaded: bytes that each worker reads once.
        gathered: bytes that the driver holds at the stage's end.
        tokenises: whether texts are tokenised, though no model runs.
        spread: whether a unit computes on all cores of its node.
        steps: of the stage; around a model, reading and writing are steps of their own.
    """

    stage: str
    units: int
    runner: Runner
    work_s: float
    files: float
    bytes: float
    memory: float
    spec: float
    flops: float = 0.0
    moved: float = 0.0
    model: Model | None = None
    loaded: float = 0.0
    gathered: float = 0.0
    tokenises: bool = False
    spread: bool = False
    steps: int = 1

    @property
    def loads(self) -> bool:
        """Whether each worker reads a model or a tokeniser first."""
        return self.tokenises or self.model is not None


def part_memory(work: Work) -> float:
    """Bytes of a part while its vectors are read: both files, and the vectors as fp32."""
    return work.part_rows * (work.vector_row_bytes + work.dim * 4)


def part_files(work: Work, rows: int) -> int:
    """The files of the parts that hold so many passages: two of each, its keys and its vectors."""
    return 2 * math.ceil(rows / work.part_rows)


def read_parts_s(work: Work, rows: int, rates: Rates) -> float:
    """Seconds of a core for so many passages' keys and vectors."""
    return rows * work.vector_row_bytes / rates.part_bytes_per_core_s

"""A static table's folder, read without its rows: tokenizer.json and the header of its weights.

sentence-transformers 6.2 reads `embedding.weight`, or else what model2vec writes: `embeddings`,
beside them perhaps `mapping` (a row for each token) and `weights` (a factor for each token). It
only takes padding off tokenizer.json, so that a truncation that was saved there cuts texts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shardrank.core.errors import InputError
from shardrank.models.folder.headers import Header, read_header
from shardrank.models.folder.reading import read_object

#: Longer than any text: a table has no longest input.
UNLIMITED = 1 << 30
#: Types of rows that float32 holds, or that a factor of float32 turns into one.
_FLOATS = ("F16", "BF16", "F32", "F64")
_WHOLE = ("I8", "U8")


@dataclass(frozen=True)
class TableShape:
    """A table as its file says it.

    Attributes:
        file: of the weights.
        rows: tensor with the rows.
        mapping: tensor with each token's row; none: token i has row i.
        factors: tensor with each token's factor; none: 1.
        tokens: how many tokens have a row.
        width: components of a row.
    """

    file: Path
    rows: str
    mapping: str | None
    factors: str | None
    tokens: int
    width: int


def read_table_shape(folder: Path) -> TableShape:
    """The table of a folder.

    Raises:
        InputError: model.safetensors is absent or no such file, or holds no table that is
            understood.
    """
    file = folder / "model.safetensors"
    header = read_header(file)
    rows = next((name for name in ("embedding.weight", "embeddings") if name in header), None)
    if rows is None:
        raise InputError(
            f"{file} holds {', '.join(sorted(header)) or 'nothing'}, and no table of vectors: "
            "neither embedding.weight nor embeddings.",
            "Name a complete StaticEmbedding or model2vec folder.",
        )
    beside = {
        n: n if rows == "embeddings" and n in header else None for n in ("mapping", "weights")
    }
    shape = TableShape(file, rows, beside["mapping"], beside["weights"], 0, 0)
    return _measured(shape, header)


def longest_input(folder: Path) -> int:
    """Tokens that are taken of a text: all, but where tokenizer.json says how many.

    Raises:
        InputError: tokenizer.json is missing, or cuts at the left.
    """
    path = folder / "tokenizer.json"
    cut = read_object(path).get("truncation")
    if not cut:
        return UNLIMITED
    if cut.get("direction", "Right") != "Right":
        raise InputError(
            f"{path} cuts texts at the {cut['direction'].lower()}; documents are cut at the right.",
            "Take the truncation out of the file, or use another model.",
        )
    return int(cut["max_length"])


def _measured(shape: TableShape, header: Mapping[str, Header]) -> TableShape:
    found = header[shape.rows]
    kinds = (*_FLOATS, *_WHOLE) if shape.factors else _FLOATS
    ends = {name: header[name].shape for name in (shape.mapping, shape.factors) if name}
    tokens = next(iter(ends.values()), found.shape)[0] if found.shape else 0
    whole = all(end == (tokens,) for end in ends.values()) and len(found.shape) == 2
    if found.dtype not in kinds or not whole:
        tensors = (shape.rows, *ends)
        listed = ", ".join(f"{n} {header[n].dtype} {list(header[n].shape)}" for n in tensors)
        raise InputError(
            f"{shape.file} holds {listed}, which is no table that is understood.",
            "Name a table of float16, bfloat16 or float32 rows, one for each token.",
        )
    return TableShape(shape.file, shape.rows, shape.mapping, shape.factors, tokens, found.shape[1])

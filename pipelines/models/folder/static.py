"""What a static table's weights say of it: rows and components, from the header alone."""

from pipelines.core.errors import InputError
from pipelines.models.folder.headers import Header, read_headers
from pipelines.models.folder.modules import StaticTable
from pipelines.models.folder.weights import find_weights

#: The names of the table by sentence-transformers, and by model2vec; the latter may number rows
#: by `mapping` and weigh them by `weights`.
TABLES = ("embedding.weight", "embeddings")
MAPPING, WEIGHTS = "mapping", "weights"


def table_width(table: StaticTable) -> int:
    """Components of the table's vectors. Raises InputError where the folder holds no table."""
    return _table(table).shape[1]


def table_rows(table: StaticTable) -> int:
    """How many token ids have a vector."""
    headers = _headers(table)
    return headers[MAPPING].shape[0] if MAPPING in headers else _table(table).shape[0]


def _headers(table: StaticTable) -> dict[str, Header]:
    found = read_headers(find_weights(table.folder).files)
    unknown = found.keys() - {*TABLES, MAPPING, WEIGHTS}
    if unknown:
        raise InputError(
            f"{table.folder} holds {min(unknown)} beside its table of vectors, which is not "
            "understood.",
            "Use another model.",
        )
    return found


def _table(table: StaticTable) -> Header:
    headers = _headers(table)
    found = [headers[name] for name in TABLES if name in headers]
    if len(found) != 1 or len(found[0].shape) != 2:
        raise InputError(
            f"{table.folder} holds no table of vectors under {' or '.join(TABLES)}.",
            "Name a complete model folder.",
        )
    return found[0]

"""Options and arguments that several commands have; each says the same wherever it stands."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Mode(StrEnum):
    """Of an index run: whether the corpus is all there is, or only what is new."""

    snapshot = "snapshot"
    upsert = "upsert"


Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="A TOML file of settings.", metavar="FILE")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="One setting; wins over the file.", metavar="TABLE.KEY=VALUE"),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Ray's own messages.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Where another run holds the place, wait until it ends.")
]
ModeOption = Annotated[
    Mode, typer.Option("--mode", help="upsert: documents that CORPUS lacks stay.")
]
Corpus = Annotated[str, typer.Argument(help="File, folder or glob; local or s3://.")]
IndexPath = Annotated[str, typer.Argument(metavar="INDEX", help="Folder or s3:// of the index.")]
Queries = Annotated[str, typer.Argument(help="File, folder or glob of queries.")]
Out = Annotated[str, typer.Argument(metavar="OUT", help="Folder or s3:// of the rankings.")]
Qrels = Annotated[str | None, typer.Option(help="Judgements: BEIR TSV or TREC.")]

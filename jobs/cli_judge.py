"""The commands that judge rankings, and choose by judgements."""

from pathlib import Path
from typing import Annotated

import typer

from shardrank.jobs.options import Config, Out, Overrides, Qrels

commands = typer.Typer()


@commands.command()
def evaluate(
    out: Out,
    qrels: Annotated[str, typer.Argument(help="Judgements: BEIR TSV or TREC.")],
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Metrics of the rankings in OUT: those of evaluate.metrics."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.evaluate import run

    run(out, qrels, load_settings(config, overrides or []))


@commands.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="OUT1", help="Folder or s3:// of rankings.")],
    second: Annotated[str, typer.Argument(metavar="OUT2", help="Of others of the same queries.")],
    qrels: Qrels = None,
    to: Annotated[
        Path | None,
        typer.Option(help="A .csv or .parquet to write, a row a query.", dir_okay=False),
    ] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Whether OUT2 is better than OUT1 by judgements, and how much alike they are."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.compare import CompareJob, run

    run(CompareJob(first, second, qrels, to), load_settings(config, overrides or []))


@commands.command()
def tune(
    out: Out,
    qrels: Annotated[str, typer.Option(help="Judgements to choose by: BEIR TSV or TREC.")],
    test: Annotated[
        str | None, typer.Option(help="Judgements of other queries, to measure the choice on.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="What to choose by, as ir-measures calls it.")
    ] = "nDCG@10",
    to: Annotated[
        Path | None, typer.Option(help="A TOML file to write, for --config.", dir_okay=False)
    ] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """The fusion of several retrievers, and the weight of the reranker's score, that judgements
    favour; nothing in OUT changes."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.tune import TuneJob, run

    run(TuneJob(out, qrels, test, metric, to), load_settings(config, overrides or []))

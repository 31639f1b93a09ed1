"""The commands that look after what was made."""

from typing import Annotated

import typer

from shardrank.jobs.options import Config, IndexPath, Overrides, Wait

commands = typer.Typer()


@commands.command()
def status(
    path: Annotated[str, typer.Argument(help="An INDEX, an OUT or a LABELS.")],
    runs: Annotated[int, typer.Option(min=1, help="Newest runs to show.")] = 1,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="As Prometheus reads it: docs/watching.md.")
    ] = False,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """How far a run is, or how it ended, from the files alone; from any machine."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs import prometheus as for_prometheus
    from shardrank.jobs import status as for_people

    settings = load_settings(config, overrides or [])
    if prometheus:
        for_prometheus.run(path, settings)
    else:
        for_people.run(path, runs, settings)


@commands.command()
def versions(index: IndexPath, config: Config = None, overrides: Overrides = None) -> None:
    """The versions of an index: when, by what, documents, recall and size."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.versions import run

    run(index, load_settings(config, overrides or []))


@commands.command()
def rollback(
    index: IndexPath,
    version: Annotated[int, typer.Argument(help="The version to go back to.")],
    wait: Wait = False,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Make an old version the latest again; copies nothing."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.rollback import run

    run(index, version, load_settings(config, overrides or []), wait)


@commands.command()
def verify(
    index: IndexPath,
    version: Annotated[int | None, typer.Option(help="Instead of the latest.")] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Read every file of a version: checksums, rows, live documents."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.verify import run

    run(index, version, load_settings(config, overrides or []))


@commands.command()
def gc(
    index: IndexPath,
    keep: Annotated[int, typer.Option(min=1, help="Newest versions to keep.")] = 3,
    grace: Annotated[
        float, typer.Option(min=0, help="Days for which everything younger is kept.")
    ] = 7.0,
    delete: Annotated[bool, typer.Option("--delete", help="Do it; otherwise only say.")] = False,
    wait: Wait = False,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Delete what no kept version needs."""
    from shardrank.flows.options import load_settings
    from shardrank.jobs.gc import run
    from shardrank.version.retention import Retention

    rule, settings = Retention(keep, grace * 86_400), load_settings(config, overrides or [])
    run(index, rule, delete, settings, wait)

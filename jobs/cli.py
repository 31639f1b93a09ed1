"""The command line: `shardrank`. One command a job; Ray and torch load only where a job runs."""

import signal
import sys
from typing import Annotated

import typer

from shardrank import __version__
from shardrank.core.errors import ShardrankError
from shardrank.core.no_pandas import leave_pandas_out
from shardrank.core.outcomes import INTERRUPTED, TERMINATED
from shardrank.core.python_gc import collect_seldom
from shardrank.jobs import cli_judge, cli_plan, cli_run, cli_upkeep
from shardrank.jobs.console import say_error, say_stopped

app = typer.Typer(
    name="shardrank",
    help="Batch indexing and reranking of large document stores on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for commands in (cli_run.commands, cli_judge.commands, cli_upkeep.commands):
    app.add_typer(commands)
app.add_typer(cli_plan.commands, name="plan")


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"shardrank {__version__}")
        raise typer.Exit()


@app.callback()
def _every_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which it is."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point. Exit codes: 0 done; 1 failed, retry is safe; 2 bad input or settings;
    3 gate or audit refused; 4 commit state unknown; 130 and 143 stopped by SIGINT and SIGTERM."""
    collect_seldom()
    leave_pandas_out()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except ShardrankError as error:
        say_error(error)
        sys.exit(error.exit_code)
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code in (INTERRUPTED, TERMINATED):
            sys.exit(say_stopped(stop.code))
        raise


def _terminate(signal_number: int, frame: object) -> None:
    """What `ray job stop`, Kubernetes and systemd send: the run says how far it is, and ends."""
    sys.exit(TERMINATED)


if __name__ == "__main__":  # where the package travels with a job, and no script is installed
    main()

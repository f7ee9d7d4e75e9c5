"""The typer application with all commands."""

from __future__ import annotations

from typing import Annotated

import typer

from driftwell._version import __version__
from driftwell.cli import data, demo, doctor, keeping, live, serve

__all__ = ["app"]

app = typer.Typer(
    name="driftwell",
    help="Watch machine-learning models in production: record, compare, alert, ask for retraining, show.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
tokens = typer.Typer(help="Tokens of the service.", no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"driftwell {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Watch machine-learning models in production."""


app.command()(data.baseline)
app.command()(data.monitor)
app.command()(data.compare)
app.command("log")(live.log)
app.command()(live.feedback)
app.command()(live.check)
app.command()(live.status)
app.command()(keeping.prune)
app.command()(keeping.export)
app.command()(keeping.delete)
app.command()(doctor.doctor)
app.command()(serve.serve)
tokens.command("create")(serve.create_token)
app.add_typer(tokens, name="token")
app.command()(demo.demo)

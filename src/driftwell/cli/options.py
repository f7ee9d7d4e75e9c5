"""Options that several commands share, stated once."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["AsJson", "Model", "Outputs", "Store", "Version", "pairs"]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Store = Annotated[
    str | None,
    typer.Option("--store", help="Address of the store (default DRIFTWELL_STORE, else sqlite:///driftwell.db)."),
]
Model = Annotated[str | None, typer.Option("--model", help="Name of the monitored model.")]
Version = Annotated[str | None, typer.Option("--version", help="Version of the monitored model.")]
Outputs = Annotated[
    list[str] | None,
    typer.Option("--output", "-o", help="Write the result to a .json, .html or .md file (repeatable)."),
]


def pairs(items: list[str] | None, what: str) -> dict[str, str]:
    """``NAME=VALUE`` options as a dict."""
    found = {}
    for item in items or []:
        name, sign, value = item.partition("=")
        if not sign or not name:
            raise typer.BadParameter(f"{what} must look like NAME=VALUE, got {item!r}")
        found[name] = value
    return found

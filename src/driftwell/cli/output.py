"""What commands print: JSON, small tables, progress, one line for an error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from driftwell.results import plain

__all__ = ["emit", "fail", "progress", "table", "write_report"]

Item = TypeVar("Item")


def emit(answer: Any, as_json: bool, text: str) -> None:
    """Print ``answer`` as JSON, or ``text``."""
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(plain(answer)), indent=2).decode()
    sys.stdout.write(text.rstrip("\n") + "\n")


def fail(message: str, code: int = 2) -> int:
    """One line on standard error; the exit code."""
    first = " ".join(message.split())
    sys.stderr.write(f"driftwell: {first}\n")
    return code


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A plain aligned table; None is a dash, floats have four digits."""
    cells = [list(headers)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def progress(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """A progress bar on standard error while it is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=label, total=total, console=Console(stderr=True), transient=True)


def write_report(result: Any, path: str) -> None:
    """Write a drift result by suffix: .json, .html or .md."""
    from driftwell.errors import BadInput

    suffix = path.rpartition(".")[2].lower()
    if suffix == "json":
        result.to_json(path)
    elif suffix in ("html", "htm"):
        result.to_html(path)
    elif suffix == "md":
        from driftwell.reports import render_markdown, write_text

        write_text(path, render_markdown(result.to_dict()))
    else:
        raise BadInput(f"cannot write {path}: the suffix must be .json, .html or .md")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)

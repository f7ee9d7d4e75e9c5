"""The ``driftwell`` command: parse, call, print. Heavy imports happen inside the commands."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from driftwell.cli.output import fail
from driftwell.errors import DriftwellError

__all__ = ["main", "run"]

# typer brings its own copy of click or uses the installed one, by version; this is the root of its errors in both.
_UsageError: Any = next(found for found in typer.BadParameter.__mro__ if found.__name__ == "ClickException")


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0 fine, 1 findings that were asked for, 2 an error.

    A user's mistake is one clear line on standard error, never a traceback; so is a mistake of ours, and with
    ``DRIFTWELL_DEBUG=1`` in the environment its traceback.
    """
    from driftwell.cli.app import app

    try:
        code = app(args=list(arguments), standalone_mode=False, prog_name="driftwell")
        return code if isinstance(code, int) else 0
    except DriftwellError as exc:
        return fail(str(exc))
    except typer.Exit as exc:
        return exc.exit_code
    except _UsageError as exc:
        if not arguments or type(exc).__name__ == "NoArgsIsHelpError":
            exc.show()
            return 2
        return fail(f"{exc.format_message()} (see driftwell --help)")
    except (KeyboardInterrupt, typer.Abort):
        return fail("interrupted")
    except BrokenPipeError:
        return 0
    except Exception as exc:  # noqa: BLE001 - python would exit with 1, which says that drift was found
        return _internal(exc)


def _internal(exc: Exception) -> int:
    if os.environ.get("DRIFTWELL_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(exc)
    return fail(
        f"internal error: {type(exc).__name__}: {exc}; please report it, run with DRIFTWELL_DEBUG=1 for the traceback"
    )

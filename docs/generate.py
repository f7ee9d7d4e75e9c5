"""Writes the reference pages from the code they describe: ``python docs/generate.py``; ``--check`` only compares.

A public name, setting, command, endpoint or metric without words of its own fails here, and so in the tests.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import driftwell
from driftwell.client import Client
from driftwell.config import SETTINGS
from driftwell.config.values import format_duration

DOCS = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py from the code; edit there. -->\n\n"
SECTIONS = {
    "Reference and profiles": ["Reference", "Profile", "profile", "merge_profiles"],
    "Drift": ["compare", "DriftResult", "ColumnResult", "DriftDetector", "methods", "Severity"],
    "Whole rows": [
        "mmd_test",
        "energy_test",
        "domain_classifier",
        "pca_reconstruction",
        "lsdd_test",
        "hotelling_test",
        "portfolio_test",
        "random_feature_test",
    ],
    "Performance": ["performance", "PerformanceWindow"],
    "Live models": ["Monitor", "create_monitor", "CaptureMiddleware", "CheckResult"],
    "Alert rules": ["AlertRule", "evaluate_rules"],
}


def words(thing: object, what: str) -> str:
    """The docstring of something public; having none is an error."""
    text = inspect.getdoc(thing)
    if not text:
        raise SystemExit(f"{what} has no docstring")
    return text


def api() -> str:
    """docs/api.md: every public name with its signature and its docstring."""
    listed = [name for names in SECTIONS.values() for name in names]
    missing = set(driftwell.__all__) - set(listed) - {"__version__"}
    if missing:
        raise SystemExit(f"docs/generate.py does not list {', '.join(sorted(missing))}")
    out = ["# Python API\n", "`import driftwell as dw`; names load on first use.\n"]
    for section, names in SECTIONS.items():
        out.append(f"## {section}\n")
        for name in names:
            out += _entry(f"dw.{name}", getattr(driftwell, name))
    out.append("## Other processes\n")
    out += _entry("driftwell.client.Client", Client)
    return "\n".join(out)


def _entry(title: str, thing: Any) -> list[str]:
    name = title.rpartition(".")[2]
    text = f"### {title}\n\n```text\n{name}{_signature(thing)}\n```\n\n{_prose(words(thing, name))}\n"
    return [text, *(_members(thing) if inspect.isclass(thing) else ())]


def _members(thing: type) -> list[str]:
    rows = []
    for name, member in vars(thing).items():
        if name.startswith("_") or not (callable(member) or isinstance(member, (property, staticmethod, classmethod))):
            continue
        function = member.fget if isinstance(member, property) else getattr(thing, name)
        if not inspect.getdoc(function) or not hasattr(function, "__name__"):
            continue
        first = words(function, f"{thing.__name__}.{name}").split("\n\n")[0].replace("\n", " ")
        call = "" if isinstance(member, property) else _signature(function, short=True)
        rows.append(f"- `.{name}{call}`: {first}")
    return [*rows, ""] if rows else []


def _signature(thing: object, *, short: bool = False) -> str:
    try:
        signature = inspect.signature(thing)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    if not short:
        return (
            str(signature.replace(parameters=parameters))
            if len(parameters) == len(signature.parameters)
            else str(signature)
        )
    shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
    return f"({', '.join(shown)})"


def _prose(docstring: str) -> str:
    """numpydoc sections as small headings, doctest blocks as code that is shown but run by doctest."""
    lines, out, in_code = docstring.splitlines(), [], False
    for i, line in enumerate(lines):
        if set(line.strip()) == {"-"}:
            continue
        underlined = i + 1 < len(lines) and lines[i + 1].strip() and set(lines[i + 1].strip()) == {"-"}
        starts = line.startswith(">>>")
        if starts and not in_code:
            out.append("```pycon")
            in_code = True
        if in_code and not line.strip():
            out.append("```")
            in_code = False
        out.append(f"**{line}**\n" if underlined else line)
    return "\n".join([*out, "```"] if in_code else out)


def settings() -> str:
    """docs/settings.md: every setting once."""
    out = [
        "# Settings\n",
        "Every option of `Monitor` and of the service. `Monitor(…, name=value)` and `create_monitor({…})` take those "
        "of scope *monitor*; `driftwell.toml` takes all, and in a table `[models.<name>]` those of scope *monitor* "
        "together with `version` and `reference`. Order: `DRIFTWELL_…` variable > plain variable > file > default. "
        "An unknown name is an error that names the nearest. A secret can also be given as `<name>_file`.\n",
        "| setting | scope | default | what it may be | variables | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for row in SETTINGS.values():
        variables = ", ".join(f"`{name}`" for name in (row.env, *row.plain))
        also = f" (also `{'`, `'.join(row.aliases)}`)" if row.aliases else ""
        out.append(
            f"| `{row.name}`{also} | {row.scope} | `{_shown(row.default)}` | {row.type} | {variables} "
            f"| {row.meaning} |".replace("\n", " ")
        )
    return "\n".join([*out, ""])


def _shown(default: Any) -> str:
    return repr(format_duration(default) if isinstance(default, timedelta) else default)


def commands() -> str:
    """docs/cli.md: the help of every command."""
    from driftwell.cli.app import app

    out = [
        "# Command line\n",
        "Every command takes `--json`. Exit code 0 is fine, 1 means findings that were asked for, 2 an error, said in "
        "one line. "
        "Progress goes to standard error, and only to a terminal.\n",
    ]
    names = [[c.name or c.callback.__name__] for c in app.registered_commands if c.callback] + [["token", "create"]]
    for words_ in names:
        shown = subprocess.run(
            [sys.executable, "-m", "driftwell", *words_, "--help"], capture_output=True, text=True, check=True,
            env={"COLUMNS": "110", "PATH": "/usr/bin:/bin"},
        ).stdout  # fmt: skip
        out.append(f"## driftwell {' '.join(words_)}\n\n```text\n{shown.strip()}\n```\n")
    return "\n".join(out)


def http() -> str:
    """docs/http.md: every endpoint and every metric."""
    from driftwell.monitor.runtime import Runtime
    from driftwell.routes.scopes import SCOPES
    from driftwell.service.app import create_app

    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime.open(f"sqlite:///{folder}/docs.db")
        document = create_app(runtime).openapi()
        families = _families(runtime)
        runtime.close()
    out = [
        "# HTTP API and metrics\n",
        "`driftwell serve` answers all of these; `monitor.router()` answers the one-model paths inside your own "
        "application. "
        "Bearer tokens come from `driftwell token create --scope …`. Errors are problem details (RFC 9457). "
        "`?model=` and `?version=` may be left out where one model is served. The full schema is at `/openapi.json`.\n",
        "| method and path | scope | query | what it does |",
        "|---|---|---|---|",
    ]
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            text = about.get("description")
            if not text:
                raise SystemExit(f"{method.upper()} {path} has no description")
            query = ", ".join(p["name"] for p in about.get("parameters", ()) if p["in"] == "query")
            scope = SCOPES.get((method.upper(), path), "none")
            out.append(f"| `{method.upper()} {path}` | {scope} | {query} | {' '.join(text.split())} |")
    out += ["", "## Metrics", "", "With the default prefix; labels `model` and `version` on each.", ""]
    out += ["| metric | type | further labels | meaning |", "|---|---|---|---|"]
    out += [f"| `{name}` | {kind} | {labels} | {text} |" for name, kind, labels, text in families]
    return "\n".join([*out, ""])


def _families(runtime: Any) -> list[tuple[str, str, str, str]]:
    """Name, type, labels and meaning of every metric, read from a scrape of a model that has everything."""
    from prometheus_client.parser import text_string_to_metric_families

    monitor = runtime.monitor("docs", "1")
    monitor.set_reference({"x": [float(i) for i in range(200)], "prediction": [0, 1] * 100})
    monitor.set_baseline({"accuracy": 0.9})
    for i in range(200):
        monitor.record_prediction(
            {"x": float(i)}, i % 2, score=0.5, latency_seconds=0.01, true_label=i % 2, prediction_id=str(i)
        )
    monitor.record_metric("revenue", 1.0)
    monitor.check("PT1H", at=datetime.now(UTC) + timedelta(seconds=1))
    found = []
    for family in text_string_to_metric_families(monitor.metrics_text()):
        labels = {label for sample in family.samples for label in sample.labels} - {"model", "version", "le"}
        name = family.name + ("_total" if family.type == "counter" else "")
        if not family.documentation:
            raise SystemExit(f"metric {name} has no help")
        found.append((name, family.type, ", ".join(sorted(labels)), family.documentation))
    return found


PAGES = {"api.md": api, "settings.md": settings, "cli.md": commands, "http.md": http}


def main() -> int:
    """Write the pages, or with --check say which are out of date."""
    check = "--check" in sys.argv
    stale = []
    for name, write in PAGES.items():
        text = NOTE + write()
        page = DOCS / name
        if check:
            if not page.exists() or page.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            page.write_text(text, encoding="utf-8")
    if stale:
        print(f"out of date: {', '.join(stale)}; run python docs/generate.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

"""Reports as one HTML file: offline, without any request, readable with scripts off, on phone and paper."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from driftwell.reports import charts
from driftwell.reports.monitoring import check_view, monitoring_view
from driftwell.reports.views import drift_view
from driftwell.reports.words import clean, figure
from driftwell.results import Severity

if TYPE_CHECKING:
    import jinja2

__all__ = ["asset", "environment", "render_drift", "render_monitoring"]

CHARTS = ("bars", "ecdf", "heatmap", "line", "overlay", "sparkline", "thumbnail")


def render_drift(report: Mapping[str, Any]) -> str:
    """A drift report as one self-contained HTML file.

    Parameters
    ----------
    report
        ``DriftResult.to_dict()``. A key ``check`` (``CheckResult.to_dict()``) adds that check's performance
        and verdicts, a key ``weeks`` (a list of such checks) the heat map of features over time.

    Examples
    --------
    >>> page = render_drift({"status": "no_data", "columns": {}})
    >>> page.startswith("<!doctype html>") and "http" not in page.replace('http-equiv', '')
    True
    """
    check, weeks = report.get("check"), report.get("weeks")
    return _render(
        "drift.html",
        view=drift_view(report),
        check=check_view(check) if isinstance(check, Mapping) else None,
        weeks=monitoring_view("", weeks) if isinstance(weeks, (list, tuple)) and weeks else None,
    )


def render_monitoring(
    title: str, checks: Sequence[Mapping[str, Any]], *, alerts: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Many checks of one model as one self-contained HTML file: what moved when, and what the quality did.

    Parameters
    ----------
    checks
        ``CheckResult.to_dict()`` each, in any order. None at all gives a report that says what to do next.
    alerts
        Alert states of the ledger: ``rule, severity, state, since_us, value, message``.
    """
    return _render("monitoring.html", view=monitoring_view(title, checks, alerts=alerts))


def _render(template: str, **values: Any) -> str:
    style, script = asset("style.css"), asset("report.js")
    from markupsafe import Markup

    return (
        environment()
        .get_template(template)
        .render(
            **values,
            style=Markup(style),  # noqa: S704 - our own file; escaping would change it
            script=Markup(script),  # noqa: S704
            style_hash=_hash(style),
            script_hash=_hash(script),
        )
    )


@cache
def asset(name: str) -> str:
    """The text of ``style.css`` or ``report.js``, which the pages serve too."""
    return files("driftwell.reports").joinpath(name).read_text(encoding="utf-8")


@cache
def environment(package: str = "driftwell.reports") -> jinja2.Environment:
    """Templates with escaping on, and the charts as functions whose answers are markup.

    Templates of ``package`` come first, those of the reports after them.
    """
    import jinja2
    from markupsafe import Markup

    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in (package, "driftwell.reports")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in CHARTS:
        draw = getattr(charts, name)
        found.globals[name] = lambda *args, _draw=draw, **options: Markup(_draw(*args, **options))  # noqa: S704
    found.globals["figure"] = figure
    found.globals["ranks"] = {str(s): int(s) for s in Severity} | {"no_data": -1, "error": -2}
    found.finalize = _clean
    return found


def _clean(value: Any) -> Any:
    from markupsafe import Markup

    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

"""Commands on tables and files: ``baseline``, ``monitor``, ``compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftwell.cli.comparison import comparison_text
from driftwell.cli.options import AsJson, Model, Outputs, Store, Version, pairs
from driftwell.cli.output import emit, progress, write_report
from driftwell.errors import BadInput

if TYPE_CHECKING:
    from driftwell.drift import DriftResult

__all__ = ["baseline", "compare", "monitor"]

Thresholds = Annotated[
    list[str] | None,
    typer.Option("--threshold", help="COLUMN=VALUE or METHOD=VALUE, or a number for all (repeatable)."),
]
Methods = Annotated[list[str] | None, typer.Option("--method", help="Drift method (repeatable); default psi.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="Compare this column (repeatable); default all of the reference.")
]
Multivariate = Annotated[
    str | None, typer.Option("--multivariate", help="Also test whole rows, for example by 'portfolio' or 'mmd'.")
]
Html = Annotated[str | None, typer.Option("--html", help="Write the HTML report here.")]
FailOn = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        help="Exit with 1 on 'drift', or only on 'high' severity; with 2 where data is broken or cannot be judged.",
    ),
]


def baseline(
    data: Annotated[str, typer.Argument(help="A table: .parquet, .csv, .jsonl or .npy, or a glob of them.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Where the reference is written.")] = "baseline.json",
    model: Model = None,
    version: Version = None,
    store: Store = None,
    prediction: Annotated[str | None, typer.Option(help="Column of the model's predictions.")] = None,
    score: Annotated[str | None, typer.Option(help="Column of the model's scores.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the true labels.")] = None,
    timestamp: Annotated[str | None, typer.Option(help="Column of the event times.")] = None,
    prediction_id: Annotated[str | None, typer.Option("--prediction-id", help="Column of the ids.")] = None,
    segment: Annotated[str | None, typer.Option(help="Column of the segments.")] = None,
    weights: Annotated[str | None, typer.Option(help="Column of row weights.")] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", help="A column that is a feature (repeatable); default all without a role."),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="COLUMN=KIND where the inferred kind is wrong.")
    ] = None,
    performance: Annotated[
        list[str] | None, typer.Option("--performance", help="METRIC=VALUE of the baseline (repeatable).")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Build a reference from a table and say what is weak about it; with --model register it in the store too."""
    from driftwell.profiles.reference import Reference

    if version is not None and model is None:
        raise BadInput("--version names a version of a model: give --model too")
    reference = Reference.from_data(
        data, feature_names=feature or None, kinds=pairs(kind, "--kind") or None, prediction=prediction, score=score,
        label=label, timestamp=timestamp, prediction_id=prediction_id, segment=segment, weights=weights, name=model,
        version=version, performance=_numbers(pairs(performance, "--performance")),
    )  # fmt: skip
    reference.save(output)
    registered = None
    if model is not None:
        from driftwell.cli.opening import open_runtime
        from driftwell.monitor.runtime import DEFAULT_VERSION

        runtime = open_runtime(store, records=False, creates=True)
        registered = {"model": model, "version": version or DEFAULT_VERSION, "store": runtime.store.url}
        runtime.put_reference(model, version or DEFAULT_VERSION, reference)
        runtime.close()
    weaknesses = reference.check()
    answer = {
        "output": output, "id": reference.id, "rows": reference.n_rows, "kinds": reference.kinds,
        "ignored": reference.ignored, "registered": registered,
        "weaknesses": [weakness.to_dict() for weakness in weaknesses],
    }  # fmt: skip
    notes = [f"not a feature: {name} ({reason})" for name, reason in reference.ignored.items()]
    where = f"; registered for {model}" if registered else ""
    lines = [
        f"{output}: reference {reference.id}, {reference.n_rows:,} rows, {len(reference.kinds)} features{where}",
        *notes,
        *(f"weakness ({weakness.severity}) {weakness.code}: {weakness.message}" for weakness in weaknesses),
    ]
    emit(answer, as_json, "\n".join(lines))
    return 0


def monitor(
    data: Annotated[str, typer.Argument(help="The current table or glob.")],
    baseline: Annotated[str, typer.Option("--baseline", help="The reference written by 'driftwell baseline'.")],
    column: Columns = None,
    method: Methods = None,
    threshold: Thresholds = None,
    multivariate: Multivariate = None,
    output: Outputs = None,
    html: Html = None,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> int:
    """Compare a table with a saved reference."""
    from driftwell.profiles.reference import Reference

    options = _options(column, method, threshold, multivariate)
    return _report(Reference.load(baseline), data, options, _paths(output, html), fail_on, as_json)


def compare(
    reference: Annotated[str, typer.Argument(help="The reference table or glob.")],
    current: Annotated[str, typer.Argument(help="The current table or glob.")],
    column: Columns = None,
    method: Methods = None,
    threshold: Thresholds = None,
    multivariate: Multivariate = None,
    output: Outputs = None,
    html: Html = None,
    fail_on: FailOn = None,
    as_json: AsJson = False,
) -> int:
    """Compare two tables."""
    options = _options(column, method, threshold, multivariate)
    return _report(reference, current, options, _paths(output, html), fail_on, as_json)


def _paths(output: list[str] | None, html: str | None) -> list[str]:
    return [*(output or []), *([html] if html else [])]


def _options(
    columns: list[str] | None, method: list[str] | None, threshold: list[str] | None, multivariate: str | None
) -> dict[str, Any]:
    """The arguments of ``driftwell.compare`` that the command line gives."""
    given = {"columns": columns or None, "method": method or None, "threshold": _threshold(threshold)}
    return given | {"multivariate": multivariate}


def _report(
    reference: Any, current: str, options: dict[str, Any], outputs: list[str], fail_on: str | None, as_json: bool
) -> int:
    from driftwell.drift import compare

    if fail_on not in (None, "drift", "high"):
        raise BadInput(f"--fail-on takes 'drift' or 'high', not {fail_on!r}")
    result = compare(reference, current, **options)
    for path in progress(outputs, len(outputs), "writing"):
        write_report(result, path)
    emit(result.to_dict(), as_json, comparison_text(result, outputs))
    return _exit_code(result, fail_on)


def _exit_code(result: DriftResult, fail_on: str | None) -> int:
    """1 for what was asked for, else 2 where the gate cannot answer for what it lets pass."""
    if fail_on is None:
        return 0
    if result.drift_detected if fail_on == "drift" else str(result.severity) == "high":
        return 1
    critical = result.quality is not None and result.quality.status == "critical"
    unjudged = any(c.error or c.status == "broken" for c in result.columns.values())
    return 2 if critical or unjudged else 0


def _threshold(items: list[str] | None) -> Any:
    if not items:
        return None
    if len(items) == 1 and "=" not in items[0]:
        return _number(items[0])
    return _numbers(pairs(items, "--threshold"))


def _numbers(found: dict[str, str]) -> dict[str, float]:
    return {name: _number(value) for name, value in found.items()}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"{text!r} is not a number") from None

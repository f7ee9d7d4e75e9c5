"""Commands on what a store keeps: ``prune``, ``export``, ``delete``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from driftwell.cli.opening import open_runtime
from driftwell.cli.options import AsJson, Model, Store, Version
from driftwell.cli.output import emit, fail

__all__ = ["delete", "export", "prune"]

TOGETHER = ("redis",)
"""Stores in which a prediction goes with its features."""
NOTES = {
    "redis": "Redis lets all of a prediction expire by itself when its features are old enough, which is not counted "
    "here; label_maturity changes nothing",
    "influxdb": "InfluxDB hides what went from all readers at once, and deletes it by and by",
}


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is old enough, delete nothing.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """Delete what is older than the retention: feature rows, predictions past their label maturity, history.

    With --dry-run only the moments are said: how many are older is counted as they go.
    """
    from driftwell.config.addresses import kind_of
    from driftwell.monitor.windowing import from_us
    from driftwell.results import isoformat

    runtime = open_runtime(store, records=False)
    kind = kind_of(runtime.store.url) or ""
    try:
        before = runtime.housekeeping.limits
        gone = {} if dry_run else runtime.housekeeping.prune()
    finally:
        runtime.close()
    moments = {
        "rows": before.rows_before_us,
        "predictions": before.rows_before_us if kind in TOGETHER else before.predictions_before_us,
        "history": before.history_before_us,
    }
    told = {name: None if us is None else isoformat(from_us(us)) for name, us in moments.items()}
    words = {"rows": "feature rows", "predictions": "predictions", "history": "entries of history"}
    lines = [
        f"{words[name]} from before {moment}"
        + (" would go (how many is counted as they go)" if dry_run else f": {gone[name]:,} deleted")
        for name, moment in told.items()
        if moment is not None
    ]
    kept = [words[name] for name, moment in told.items() if moment is None]
    if kept:
        lines.append(f"kept for ever: {', '.join(kept)} (retention_hours and history_retention say for how long)")
    note = NOTES.get(kind)
    answer = {"dry_run": dry_run, "before": told, "deleted": gone or None, "note": note}
    emit(answer, as_json, "\n".join([*lines, *([note] if note else [])]))
    return 0


def export(
    path: Annotated[str, typer.Argument(help="The Parquet file to write.")],
    model: Annotated[str, typer.Option("--model", help="Name of the monitored model.")],
    version: Version = None,
    window: Annotated[str, typer.Option(help="Duration such as P30D, or a number of predictions.")] = "P30D",
    at: Annotated[str | None, typer.Option(help="End of the window, RFC 3339 (default now).")] = None,
    every: Annotated[bool, typer.Option("--all", help="Rows without a label too.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """Write stored predictions, with their labels and features, to a Parquet file, for retraining.

    It only reads the store. Predictions whose features are gone by the retention are not in the file; how many is said.
    """
    from driftwell.monitor.checks.context import CheckContext
    from driftwell.monitor.rows import export_window
    from driftwell.monitor.windowing import as_moment, resolve_window

    runtime = open_runtime(store, records=False)
    try:
        monitor = runtime.find(model, version)
        span: Any = int(window) if window.isdigit() else window
        moment = datetime.now(UTC) if at is None else as_moment(at)
        found, _ = resolve_window(runtime.store, model, monitor.version, span, moment)
        context = CheckContext(
            store=runtime.store, ledger=runtime.ledger, model=model, version=monitor.version,
            settings=monitor.settings, reference=monitor.reference, baseline={},
        )  # fmt: skip
        written = export_window(context, found, Path(path), labelled=None if every else True)
    finally:
        runtime.close()
    answer = {"path": path, "model": model, "version": monitor.version, **asdict(written)}
    emit(answer, as_json, f"{written.rows:,} rows of {model} {monitor.version} written to {path}")
    return 0


def delete(
    prediction_id: Annotated[
        list[str] | None, typer.Option("--prediction-id", help="Delete this prediction (repeatable).")
    ] = None,
    entity_id: Annotated[
        list[str] | None, typer.Option("--entity-id", help="Delete all predictions about this subject (repeatable).")
    ] = None,
    model: Model = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """Delete predictions with their features and labels, for good; of one model, or of all where none is named.

    What ended processes left in the spool is stored first, so that it is deleted too.
    """
    from driftwell.monitor.deletion import delete_records

    predictions, subjects = prediction_id or [], entity_id or []
    named = ", ".join(f"{len(ids):,} {what}" for ids, what in ((predictions, "ids"), (subjects, "subjects")) if ids)
    runtime = open_runtime(store, records=True)
    try:
        if model is not None:
            runtime.find(model)
        if named and not yes and not typer.confirm(f"Delete what is stored of {named}? It cannot be undone.", err=True):
            return fail("nothing was deleted")
        found = delete_records(
            runtime,
            prediction_ids=predictions,
            entity_ids=subjects,
            model=model,
            who="command line",
            one_by_one=True,
        )
    finally:
        runtime.close()
    text = f"{found.deleted:,} predictions deleted"
    if found.not_found is not None:
        text += f"; of the ids and subjects named: {found.found} found, {found.not_found} not found"
    if found.waiting_elsewhere:
        text += (
            f"\n{found.waiting_elsewhere:,} bytes of other processes still wait in {found.spool}: what they hold may "
            "arrive later; run this again when they have been stored"
        )
    emit(found, as_json, text)
    return 0

"""Commands on what a store keeps: ``prune``, ``export``, ``delete``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from driftwell.cli.opening import open_runtime
from driftwell.cli.options import AsJson, Model, Store, Version
from driftwell.cli.output import emit, fail

__all__ = ["delete", "export", "prune"]


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is old enough, delete nothing.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """Delete what is older than the retention: feature rows, predictions past their label maturity, history."""
    from driftwell.monitor.windowing import from_us
    from driftwell.results import isoformat

    runtime = open_runtime(store)
    try:
        before = runtime.housekeeping.limits
        gone = {} if dry_run else runtime.housekeeping.prune()
    finally:
        runtime.close()
    moments = {
        "rows": before.rows_before_us,
        "predictions": before.predictions_before_us,
        "history": before.history_before_us,
    }
    told = {name: None if us is None else isoformat(from_us(us)) for name, us in moments.items()}
    words = {"rows": "feature rows", "predictions": "predictions", "history": "entries of history"}
    lines = [
        f"{words[name]} from before {moment}" + (" would go" if dry_run else f": {gone[name]:,} deleted")
        for name, moment in told.items()
        if moment is not None
    ]
    kept = [words[name] for name, moment in told.items() if moment is None]
    if kept:
        lines.append(f"kept for ever: {', '.join(kept)} (retention_hours and history_retention say for how long)")
    emit({"dry_run": dry_run, "before": told, "deleted": gone or None}, as_json, "\n".join(lines))
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
    """Write stored predictions, with their labels and features, to a Parquet file, for retraining."""
    import pyarrow.parquet as pq

    runtime = open_runtime(store)
    try:
        monitor = runtime.find(model, version)
        span: Any = int(window) if window.isdigit() else window
        written = monitor.export(path, span, labelled=None if every else True, at=at)
        n = pq.read_metadata(written).num_rows
    finally:
        runtime.close()
    answer = {"path": str(written), "model": model, "version": monitor.version, "rows": n}
    emit(answer, as_json, f"{n:,} rows of {model} {monitor.version} written to {written}")
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
    """Delete predictions with their features and labels, for good; of one model, or of all where none is named."""
    from driftwell.monitor.deletion import delete_records

    predictions, subjects = prediction_id or [], entity_id or []
    named = ", ".join(f"{len(ids):,} {what}" for ids, what in ((predictions, "ids"), (subjects, "subjects")) if ids)
    if named and not yes and not typer.confirm(f"Delete what is stored of {named}? It cannot be undone.", err=True):
        return fail("nothing was deleted")
    runtime = open_runtime(store)
    try:
        found = delete_records(
            runtime, prediction_ids=predictions, entity_ids=subjects, model=model, who="command line"
        )
    finally:
        runtime.close()
    text = f"{found.deleted:,} predictions deleted"
    if found.waiting_elsewhere:
        text += (
            f"\n{found.waiting_elsewhere:,} bytes of other processes still wait in {found.spool}: what they hold may "
            "arrive later; run this again when they have been stored"
        )
    emit(found, as_json, text)
    return 0

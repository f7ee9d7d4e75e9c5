"""Commands on a store: ``log``, ``feedback``, ``check``, ``status``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from driftwell.cli.opening import open_runtime
from driftwell.cli.options import AsJson, Model, Store, Version
from driftwell.cli.output import emit, progress, table
from driftwell.errors import BadInput

__all__ = ["check", "feedback", "log", "status"]

CHUNK = 20_000


def log(
    file: Annotated[str, typer.Argument(help="Rows to record: .parquet, .csv, .jsonl, or a glob.")],
    model: Annotated[str, typer.Option("--model", help="Name of the monitored model.")],
    version: Version = None,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """Send the rows of a file into the store, and what ended processes left for it in the spool."""
    from driftwell.frame import read_table

    rows = read_table(file)
    runtime, monitor = _monitor(store, model, version)
    try:
        starts = range(0, rows.num_rows, CHUNK)
        for start in progress(starts, len(starts), "storing"):
            monitor.record_batch(rows.slice(start, CHUNK))
            monitor.flush()
        stats, reference = monitor.stats(), monitor.reference
        present = set(rows.column_names)
        absent = [name for name in reference.feature_names if name not in present] if reference else []
    finally:
        runtime.close()
    lost = sum(stats["dropped"].values()) + sum(stats["rejected"].values())
    reasons = {**stats["dropped"], **stats["rejected"]}
    text = f"{stats['stored']:,} of {stats['offered']:,} rows stored for {model} {monitor.version}"
    why = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items() if n)
    text += f"; not stored: {why}" if lost else ""
    if ignored := stats["ignored_features"]:
        text += f"\nnot features of the reference, ignored: {', '.join(list(ignored)[:10])}"
    if absent:
        text += f"\nfeatures of the reference that the file lacks, stored as missing: {', '.join(absent[:10])}"
    emit(stats | {"model": model, "version": monitor.version, "absent_features": absent}, as_json, text)
    return 0


def feedback(
    file: Annotated[str, typer.Argument(help="Rows with prediction_id and true_label.")],
    model: Model = None,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """Send the labels of a file into the store, and what ended processes left for it in the spool."""
    import msgspec

    from driftwell.frame import read_table
    from driftwell.monitor.windowing import as_moment, to_us
    from driftwell.stores.base import Label

    rows = read_table(file)
    absent = {"prediction_id", "true_label"} - set(rows.column_names)
    if absent:
        raise BadInput(f"{file} lacks {' and '.join(sorted(absent))}; it has {', '.join(rows.column_names)}")
    runtime = open_runtime(store, records=True, creates=True)
    rules = runtime.redaction_for(model or "")
    counts = {"matched": 0, "early": 0, "duplicate": 0, "conflicting": 0, "ambiguous": 0}
    try:
        now = to_us(as_moment(_now()))
        starts = range(0, rows.num_rows, CHUNK)
        for start in progress(starts, len(starts), "storing"):
            labels = [
                Label(
                    str(row["prediction_id"]) if rules is None else rules.id(row["prediction_id"]),
                    msgspec.json.encode(
                        row["true_label"] if rules is None else rules.label(row["true_label"])
                    ).decode(),
                    to_us(as_moment(row["timestamp"])) if row.get("timestamp") is not None else now,
                    model,
                )
                for row in rows.slice(start, CHUNK).to_pylist()
                if row["true_label"] is not None
            ]
            found = runtime.store.add_labels(labels)
            for key in counts:
                value = getattr(found, key)
                counts[key] += len(value) if key == "ambiguous" else value
    finally:
        runtime.close()
    emit(counts, as_json, ", ".join(f"{n:,} {key}" for key, n in counts.items()))
    return 0


def check(
    model: Model = None,
    version: Version = None,
    window: Annotated[str, typer.Option(help="Duration such as PT1H, or a number of predictions.")] = "PT24H",
    at: Annotated[str | None, typer.Option(help="End of the window, RFC 3339 (default now).")] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """Run one check now, of one model or of all (for cron, Kubernetes, Airflow). Exit code 1 when one is critical.

    It stores the verdicts, stores what ended processes left in the spool, and prunes what is older than the retention.
    """
    runtime = open_runtime(store, records=True)
    try:
        names = [model] if model else list(dict.fromkeys(name for name, *_ in runtime.models()))
        span: Any = int(window) if window.isdigit() else window
        results = []
        for name in progress(names, len(names), "checking"):
            monitor = runtime.find(name, version)
            results.append(monitor.check(span, at=at).to_dict())
            monitor.stop()
        runtime.housekeeping.run()  # started by cron, this may be the only process that ever does it
    finally:
        runtime.close()
    rows = [
        (r["model"], r["version"], r["status"], r["sample_count"], len(r["drifted_features"]), r["max_drift_score"],
         ", ".join(r["culprits"][:3]) or r["reason"] or "") for r in results
    ]  # fmt: skip
    text = (
        table(("model", "version", "status", "rows", "drifted", "max score", "what"), rows) if rows else "no model yet"
    )
    emit(results[0] if model else results, as_json, text)
    return 1 if any(r["status"] == "critical" for r in results) else 0


def status(model: Model = None, version: Version = None, store: Store = None, as_json: AsJson = False) -> int:
    """What is monitored and how it is doing; only reads."""
    runtime = open_runtime(store, records=False)
    try:
        if model:
            answers = [runtime.find(model, version).status()]
        else:
            answers = [runtime.monitor(name, v).status() for name, v, *_ in runtime.models()]
    finally:
        runtime.close()
    rows = [
        (a["model"], a["version"], a["status"], a["counts"]["predictions"], a["counts"]["labels"],
         a["reference_id"], a["last_check"]) for a in answers
    ]  # fmt: skip
    empty = "no model has sent a prediction yet: call monitor.record_prediction, or 'driftwell log FILE --model NAME'"
    text = (
        table(("model", "version", "status", "predictions", "labels", "reference", "last check"), rows)
        if rows
        else empty
    )
    emit(answers[0] if model else answers, as_json, text)
    return 0


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def _monitor(store: str | None, model: str, version: str | None) -> tuple[Any, Any]:
    runtime = open_runtime(store, records=True, creates=True)
    return runtime, runtime.monitor(model, version)

"""Commands on a store: ``log``, ``feedback``, ``check``, ``status``, ``doctor``."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Annotated, Any

import typer

from driftwell._version import __version__
from driftwell.cli.options import AsJson, Model, Store, Version
from driftwell.cli.output import emit, progress, table
from driftwell.errors import BadInput, DriftwellError

__all__ = ["check", "doctor", "feedback", "log", "status"]

CHUNK = 20_000


def log(
    file: Annotated[str, typer.Argument(help="Rows to record: .parquet, .csv, .jsonl, or a glob.")],
    model: Annotated[str, typer.Option("--model", help="Name of the monitored model.")],
    version: Version = None,
    store: Store = None,
    as_json: AsJson = False,
) -> int:
    """Send the rows of a file into the store."""
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
    """Send the labels of a file into the store."""
    import msgspec

    from driftwell.frame import read_table
    from driftwell.monitor.windowing import as_moment, to_us
    from driftwell.stores.base import Label

    rows = read_table(file)
    absent = {"prediction_id", "true_label"} - set(rows.column_names)
    if absent:
        raise BadInput(f"{file} lacks {' and '.join(sorted(absent))}; it has {', '.join(rows.column_names)}")
    runtime = _runtime(store)
    counts = {"matched": 0, "early": 0, "duplicate": 0, "conflicting": 0, "ambiguous": 0}
    try:
        now = to_us(as_moment(_now()))
        starts = range(0, rows.num_rows, CHUNK)
        for start in progress(starts, len(starts), "storing"):
            labels = [
                Label(
                    str(row["prediction_id"]),
                    msgspec.json.encode(row["true_label"]).decode(),
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
    """Run one check now, of one model or of all (for cron, Kubernetes, Airflow). Exit code 1 when one is critical."""
    runtime = _runtime(store)
    try:
        names = [model] if model else list(dict.fromkeys(name for name, *_ in runtime.models()))
        span: Any = int(window) if window.isdigit() else window
        results = []
        for name in progress(names, len(names), "checking"):
            monitor = runtime.find(name, version)
            results.append(monitor.check(span, at=at).to_dict())
            monitor.stop()
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
    """What is monitored and how it is doing."""
    runtime = _runtime(store)
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


def doctor(store: Store = None, as_json: AsJson = False) -> int:
    """Say what is wrong with this installation and its store. Exit code 1 when something is."""
    libraries: dict[str, str | None] = {}
    for name in (
        "numpy",
        "scipy",
        "pyarrow",
        "msgspec",
        "apsw",
        "fastapi",
        "uvicorn",
        "prometheus-client",
        "scikit-learn",
    ):
        try:
            libraries[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            libraries[name] = None
    report: dict[str, Any] = {
        "driftwell": __version__, "python": platform.python_version(), "libraries": libraries,
        "problems": [], "advice": [],
    }  # fmt: skip
    if libraries["fastapi"] is None:
        report["advice"].append("the service is not installed: pip install 'driftwell[service]'")
    try:
        _examine(store, report)
    except DriftwellError as exc:
        report["problems"].append(str(exc))
    lines = [f"driftwell {__version__}, python {report['python']}"]
    lines += [f"  {name} {found or 'not installed'}" for name, found in libraries.items()]
    lines += [f"  store {key}: {value}" for key, value in report.get("store", {}).items()]
    lines += [f"problem: {line}" for line in report["problems"]] + [f"advice: {line}" for line in report["advice"]]
    lines += [] if report["problems"] else ["nothing is wrong"]
    emit(report, as_json, "\n".join(lines))
    return 1 if report["problems"] else 0


def _examine(url: str | None, report: dict[str, Any]) -> None:
    runtime = _runtime(url)
    try:
        report["store"] = {"url": runtime.store.url, **runtime.ledger.info()}
        if report["store"].get("integrity") not in (None, "ok"):
            report["problems"].append(f"the store is damaged: {report['store']['integrity']}")
        for name, version, predictions, _ in runtime.models():
            if runtime.reference_for(name, version) is None:
                report["advice"].append(
                    f"{name} {version} has {predictions:,} predictions and no reference: "
                    f"run 'driftwell baseline DATA --model {name} --version {version}'"
                )
            if not runtime.ledger.checks(name, version, limit=1):
                report["advice"].append(f"{name} {version} was never checked: run 'driftwell check --model {name}'")
        dead = runtime.ledger.notices(state="dead", limit=5)
        report["problems"] += [
            f"a notice to {n['channel'].split(':')[0]} could not be delivered: {n.get('error')}" for n in dead
        ]
    finally:
        runtime.close()


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def _runtime(store: str | None) -> Any:
    from driftwell.monitor.runtime import Runtime

    return Runtime.open(store)


def _monitor(store: str | None, model: str, version: str | None) -> tuple[Any, Any]:
    runtime = _runtime(store)
    return runtime, runtime.monitor(model, version)

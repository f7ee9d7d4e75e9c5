"""``driftwell doctor``: what is wrong with this installation, its store, its ledger and its spool."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from driftwell._version import __version__
from driftwell.cli.opening import command_config, no_ledger, no_store
from driftwell.cli.options import AsJson, Store
from driftwell.cli.output import emit
from driftwell.errors import DriftwellError, StoreError

if TYPE_CHECKING:
    from driftwell.config import Config
    from driftwell.monitor.runtime import Runtime
    from driftwell.stores.base import PredictionStore

__all__ = ["doctor"]

LIBRARIES = ("numpy", "scipy", "pyarrow", "msgspec", "apsw", "fastapi", "uvicorn", "prometheus-client",
             "scikit-learn", "psycopg", "redis")  # fmt: skip
FULL = 0.8
MOST_SKEW_SECONDS = 5.0
DAY_US = 86_400_000_000
LACKING = {
    "exact_dedupe": "an id that two processes offer at once may be stored twice",
    "delete": "nothing can be deleted by prediction or by subject",
    "durable": "what is stored does not outlive the process or the server",
}
"""What it means that a store lacks a capability."""

Report = dict[str, Any]


def doctor(store: Store = None, as_json: AsJson = False) -> int:
    """Say what is wrong with this installation, its store and what waits for it. Exit code 1 when something is.

    It only looks: nothing is stored, and nothing taken out of the spool.
    """
    report: Report = {"driftwell": __version__, "python": platform.python_version(), "libraries": _libraries()}
    report |= {"problems": [], "advice": []}
    if report["libraries"]["fastapi"] is None:
        report["advice"].append("the service is not installed: pip install 'driftwell[service]'")
    try:
        config = command_config(store)
        report["advice"] += config.notices
        _look_at_spool(config, report)
        _look_at_store(config, report)
    except DriftwellError as exc:
        report["problems"].append(str(exc))
    emit(report, as_json, _text(report))
    return 1 if report["problems"] else 0


def _libraries() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _text(report: Report) -> str:
    lines = [f"driftwell {__version__}, python {report['python']}"]
    lines += [f"  {name} {found or 'not installed'}" for name, found in report["libraries"].items()]
    for part in ("store", "ledger", "spool"):
        told = {key: value for key, value in report.get(part, {}).items() if key != "problems"}
        lines += [f"  {part} {key}: {value}" for key, value in told.items()]
    lines += [f"problem: {line}" for line in report["problems"]] + [f"advice: {line}" for line in report["advice"]]
    return "\n".join(lines if report["problems"] else [*lines, "nothing is wrong"])


# -- the spool -----------------------------------------------------------------------------------------------


def _look_at_spool(config: Config, report: Report) -> None:
    """Looked at first: while the store does not answer, this is where the records are."""
    from driftwell.monitor.spooling import spool_folder, spool_name, spool_state

    settings = config.settings_for("")
    folder = spool_folder(config.store, settings.spool_dir)
    if folder is None:
        return
    state = spool_state(folder, spool_name(config.store, settings.spool_dir))
    report["spool"] = asdict(state) | {"most_bytes": settings.spool_bytes}
    full = state.bytes_of_all / settings.spool_bytes
    if full > FULL:
        report["problems"].append(
            f"the spool {folder} is {full:.0%} full: is the store reachable? When it is "
            "full, further records are lost; spool_bytes sets its size"
        )
    if state.left_behind:
        report["advice"].append(
            f"{state.left_behind} ended processes left records in {folder}: the next Monitor or service on this store "
            "takes them over"
        )


# -- the store -----------------------------------------------------------------------------------------------


def _look_at_store(config: Config, report: Report) -> None:
    from driftwell.monitor.runtime import Runtime

    if problem := no_store(config):
        raise StoreError(problem)
    if problem := no_ledger(config):
        _look_at_rows(config, report, problem)
        return
    started = time.perf_counter()
    runtime = Runtime.configured(config, records=False)
    try:
        taken = time.perf_counter() - started
        _tell_of(runtime.store, config, report, taken)
        if runtime.stores.are_split:
            report["ledger"] = runtime.ledger.info()
            report["problems"] += report["ledger"].get("problems", ())
        _look_at_models(runtime, report)
        _look_at_notices(runtime, report)
    finally:
        runtime.close()


def _look_at_rows(config: Config, report: Report, no_ledger: str) -> None:
    """The store alone, whose ledger is a file that is not there: it is not made by looking."""
    from driftwell.stores import open_store

    started = time.perf_counter()
    rows = open_store(config.store, retention_hours=config.settings_for("").retention_hours)
    try:
        _tell_of(rows, config, report, time.perf_counter() - started)
        report["ledger"] = {"kind": "sqlite", "exists": False}
        report["problems" if rows.models() else "advice"].append(no_ledger)
    finally:
        rows.close()


def _tell_of(store: PredictionStore, config: Config, report: Report, seconds: float) -> None:
    info = store.info()
    report["store"] = {"url": store.url, "opened_in_seconds": round(seconds, 3), **info}
    report["problems"] += [*info.get("problems", ()), *_clock(info), *_size(info, config)]
    lacking = [words for name, words in LACKING.items() if not getattr(store.capabilities, name)]
    report["advice"] += [f"a {info.get('kind')} store: {words}" for words in lacking]


def _clock(info: Mapping[str, Any]) -> list[str]:
    """The store's clock against ours, where it tells its time."""
    theirs = info.get("server_time_us")
    skew = 0.0 if theirs is None else theirs / 1e6 - time.time()
    if abs(skew) <= MOST_SKEW_SECONDS:
        return []
    return [f"the clock of the store's server is {skew:+.0f} s off ours: windows, retention and leases go by both"]


def _size(info: Mapping[str, Any], config: Config) -> list[str]:
    most, used = config.settings_for("").max_store_bytes, info.get("bytes")
    if most is None or used is None or used < FULL * most:
        return []
    return [
        f"the store has {used:,} bytes, {used / most:.0%} of max_store_bytes: set retention_hours, or give it more room"
    ]


def _look_at_models(runtime: Runtime, report: Report) -> None:
    now_us = round(time.time() * 1e6)
    for name, version, predictions, _ in runtime.models():
        if runtime.reference_for(name, version) is None:
            report["advice"].append(
                f"{name} {version} has {predictions:,} predictions and no reference: "
                f"run 'driftwell baseline DATA --model {name} --version {version}'"
            )
        if not runtime.ledger.checks(name, version, limit=1):
            report["advice"].append(f"{name} {version} was never checked: run 'driftwell check --model {name}'")
        losses = runtime.ledger.losses(name, version, now_us - DAY_US, now_us + DAY_US)
        dropped = {reason: n for reason, n in losses.items() if reason.startswith("dropped.") and n}
        if dropped:
            why = ", ".join(f"{n:,} {reason.removeprefix('dropped.')}" for reason, n in dropped.items())
            report["problems"].append(f"{name} {version} lost predictions within the last day: {why}")


def _look_at_notices(runtime: Runtime, report: Report) -> None:
    for notice in runtime.ledger.notices(state="dead", limit=5):
        channel = notice["channel"].split(":")[0]
        report["problems"].append(f"a notice to {channel} could not be delivered: {notice.get('error')}")

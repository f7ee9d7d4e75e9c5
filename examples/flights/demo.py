"""A model of January and February, watched through the rest of 2013: the whole story in one command.

Trains the model, starts its application as a process of its own, plays the year to it over HTTP, checks every
simulated week, says week by week what it found, and writes the report.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pyarrow.compute as pc
from data import REPLAY_END, REPLAY_START, departures, flights_file, read_flights, split
from replay import Replay, ReplayError, Sent, free_port, serving
from story import Story
from train import MODEL, VERSION, Artifacts, train

import driftwell as dw
from driftwell.errors import DriftwellError
from driftwell.reports import render_monitoring
from driftwell.stores.base import Ledger

__all__ = ["Week", "main", "run"]

WEEK = timedelta(days=7)
SHORT_WEEKS = 3


@dataclass
class Week:
    """One simulated week: what left, what was known of it when the week ended, and what the check found."""

    number: int
    start: datetime
    end: datetime
    flights: int
    labelled: int
    late_share: float | None
    check: dict[str, Any]
    alerts: list[dict[str, Any]]
    retraining: list[str]


def run(
    short: bool = False,
    serve: bool = False,
    output: str = "report.html",
    work_dir: str | None = None,
    json: bool = False,
) -> int:
    """Run the demo; the exit code, 0 when it went through.

    Parameters
    ----------
    short
        Three weeks instead of the whole year.
    serve
        Afterwards, leave the web page up on a loopback port until interrupted.
    output
        Where the report is written.
    work_dir
        Where the model, its reference and the store go; ``demo-data`` by default. The store of an earlier run
        there is replaced.
    json
        Print one JSON document instead of the story.
    """
    began = time.monotonic()
    folder = Path(work_dir or "demo-data")
    store = _fresh_store(folder)
    logging.basicConfig(filename=folder / "driftwell.log", force=True)
    logging.getLogger("driftwell").setLevel(logging.INFO)
    story = Story(silent=json)
    story.reading(flights_file())
    learn, live = split(departures(read_flights(flights_file())))
    artifacts = train(learn, folder / "model")
    story.trained(learn, artifacts)
    weeks, alerts, sent = _watch(live, artifacts, store, story, SHORT_WEEKS if short else None)
    _report(Path(output), weeks, alerts)
    story.summary(weeks, sent, artifacts.baseline, output, time.monotonic() - began)
    if json:
        _print_json(artifacts, weeks, sent, output, store)
    if not serve:
        story.kept(store)
        return 0
    from driftwell.cli import run as driftwell

    return driftwell(["serve", "--store", store, "--port", str(free_port())])


def _fresh_store(folder: Path) -> str:
    """The address of an empty store: the same flights cannot be recorded twice."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal", "-shm"):
        (folder / f"flights.db{suffix}").unlink(missing_ok=True)
    return f"sqlite:///{(folder / 'flights.db').resolve()}"


def _watch(
    live: pa.Table, artifacts: Artifacts, store: str, story: Story, most: int | None
) -> tuple[list[Week], list[dict[str, Any]], Sent]:
    """Play the flights to the running application, and check each week as it ends."""
    ends = _ends()[:most]
    log = artifacts.folder.parent / "app.log"
    with (
        serving(artifacts.folder, store, log) as address,
        httpx2.Client(base_url=address, timeout=60) as client,
        closing(dw.Monitor(MODEL, version=VERSION, store=store)) as monitor,
    ):
        story.started(address)
        monitor.on_retraining(_refuse)
        ledger = monitor.runtime.ledger
        replay = Replay(client, live.filter(pc.less(live["timestamp"], ends[-1])))
        weeks: list[Week] = []
        told: set[str] = set()
        for number, end in enumerate(ends, 1):
            replay.until(end)
            check = monitor.check(window="P7D", at=end).to_dict()
            weeks.append(_week(number, end, live, check, _news(ledger, told), _asked(ledger, end)))
            story.week(weeks[-1])
        replay.until(ends[-1] + timedelta(days=1))  # the planes still in the air come down
        return weeks, ledger.get_alerts(MODEL), replay.sent


def _refuse(reason: str, details: dict[str, Any]) -> None:
    """Retraining would begin here. This story keeps its model, to see what becomes of it."""


def _news(ledger: Ledger, told: set[str]) -> list[dict[str, Any]]:
    """The alerts that were sent out since the last look: what began and what ended."""
    fresh = [notice for notice in ledger.notices() if notice["key"] not in told]
    told.update(notice["key"] for notice in fresh)
    return [
        {
            "name": notice["body"]["labels"]["alertname"],
            "severity": notice["body"]["labels"]["severity"],
            "status": notice["body"]["status"],
            "message": notice["body"]["annotations"].get("description"),
        }
        for notice in reversed(fresh)
    ]


def _asked(ledger: Ledger, at: datetime) -> list[str]:
    """Why retraining was asked for in the check of this time."""
    return [run["reason"] for run in ledger.runs(MODEL) if run["at_us"] == round(at.timestamp() * 1e6)]


def _ends() -> list[datetime]:
    """When the checks run: at the end of each week and of the year.

    The last one looks back on seven days as well, two of which belong to the week before it: five days alone
    would differ from the reference in their weekdays.
    """
    whole = (REPLAY_END - REPLAY_START) // WEEK
    return [*(REPLAY_START + k * WEEK for k in range(1, whole + 1)), REPLAY_END]


def _week(
    number: int,
    end: datetime,
    live: pa.Table,
    check: dict[str, Any],
    alerts: list[dict[str, Any]],
    retraining: list[str],
) -> Week:
    """What the replay itself knows of a week, beside what the check found in the store."""
    start = end - WEEK
    left = pc.and_(pc.greater_equal(live["timestamp"], start), pc.less(live["timestamp"], end))
    flights = live.filter(left)
    down = flights.filter(pc.less(flights["landing"], end))
    late = pc.mean(down["late"].cast(pa.int8())).as_py()
    return Week(number, start, end, flights.num_rows, down.num_rows, late, check, alerts, retraining)


def _report(path: Path, weeks: list[Week], alerts: list[dict[str, Any]]) -> None:
    title = "Flights from New York, 2013: is a model of January and February still right?"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_monitoring(title, [week.check for week in weeks], alerts=alerts), encoding="utf-8")


def _print_json(artifacts: Artifacts, weeks: list[Week], sent: Sent, output: str, store: str) -> None:
    document = {
        "model": MODEL,
        "version": VERSION,
        "trained_on": artifacts.rows,
        "baseline": artifacts.baseline,
        "sent": asdict(sent),
        "weeks": [asdict(week) for week in weeks],
        "report": output,
        "store": store,
    }
    json.dump(document, sys.stdout, default=lambda moment: moment.isoformat(), indent=1)
    print()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"replay {SHORT_WEEKS} weeks only")
    parser.add_argument("--serve", action="store_true", help="leave the web page up on a loopback port")
    parser.add_argument("--output", default="report.html", help="where the report is written")
    parser.add_argument("--work-dir", help="where model and store go (demo-data)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the story")
    asked = vars(parser.parse_args())
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # the application that was started is stopped on the way out
    try:
        return run(**asked)
    except (DriftwellError, ReplayError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

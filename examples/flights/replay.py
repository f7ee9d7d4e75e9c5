"""The application as a process of its own, and the year that is played to it over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from data import FEATURES

__all__ = ["Replay", "ReplayError", "Sent", "free_port", "serving"]

FLIGHTS_PER_REQUEST = 300
LABELS_PER_REQUEST = 1000
START_SECONDS = 60.0
SETTLE_SECONDS = 30.0
STOP_SECONDS = 30.0


class ReplayError(RuntimeError):
    """The application did not do its part: it did not start, or lost something."""


@dataclass
class Sent:
    """What went over the wire. ``label_answers`` adds up what the service said became of the labels."""

    requests: int = 0
    flights: int = 0
    label_requests: int = 0
    labels: int = 0
    label_answers: dict[str, int] = field(default_factory=dict)


class Replay:
    """Plays flights in the order in which they left, and each label once its plane is down.

    Simulated time is the departure of the newest flight sent. ``until`` moves it on.
    """

    def __init__(self, client: httpx2.Client, flights: pa.Table) -> None:
        self._client = client
        self._flights = flights.select(["flight_id", "timestamp", *FEATURES])
        self._left = _microseconds(flights["timestamp"])
        known = flights.filter(pc.is_valid(flights["late"])).sort_by("landing")
        self._labels = pa.table(
            {
                "prediction_id": known["flight_id"],
                "true_label": known["late"].cast(pa.int8()),
                "timestamp": known["landing"],
            }
        )
        self._landed = _microseconds(known["landing"])
        self._next_flight = self._next_label = 0
        self.sent = Sent()

    def until(self, end: datetime) -> None:
        """Send every flight that left before ``end``, and the label of every plane down before then."""
        stop = int(np.searchsorted(self._left, _instant(end)))
        while self._next_flight < stop:
            last = min(self._next_flight + FLIGHTS_PER_REQUEST, stop)
            self._send_flights(last)
            self._send_labels(int(self._left[last - 1]), at_least=LABELS_PER_REQUEST)
        self._send_labels(_instant(end), at_least=1)
        self._settle()

    def _send_flights(self, last: int) -> None:
        rows = self._flights.slice(self._next_flight, last - self._next_flight).to_pylist()
        answer = self._post("/predict", {"instances": rows})
        if (n := len(answer["predictions"])) != len(rows):
            raise ReplayError(f"{len(rows)} flights sent, {n} predictions came back")
        self.sent.requests += 1
        self.sent.flights += len(rows)
        self._next_flight = last

    def _send_labels(self, now: int, *, at_least: int) -> None:
        answers = self.sent.label_answers
        stop = int(np.searchsorted(self._landed, now))
        while stop - self._next_label >= at_least:
            last = min(self._next_label + LABELS_PER_REQUEST, stop)
            labels = self._labels.slice(self._next_label, last - self._next_label).to_pylist()
            answer = self._post("/api/v1/feedback", labels)
            self.sent.label_requests += 1
            self.sent.labels += len(labels)
            for became in ("matched", "early", "duplicate", "conflicting", "pending"):
                answers[became] = answers.get(became, 0) + answer[became]
            self._next_label = last

    def _settle(self) -> None:
        """Wait until the service has stored what was sent: it answers before it stores."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (n := self._stored()) < self.sent.flights:
            if time.monotonic() > deadline:
                raise ReplayError(f"{self.sent.flights:,} flights were sent and only {n:,} are stored")
            time.sleep(0.05)

    def _stored(self) -> int:
        response = self._client.get("/monitoring/status").raise_for_status()
        stored: int = response.json()["counts"]["predictions"]
        return stored

    def _post(self, path: str, body: Any) -> Any:
        response = self._client.post(
            path, content=msgspec.json.encode(body), headers={"content-type": "application/json"}
        )
        response.raise_for_status()
        return response.json()


@contextmanager
def serving(model_dir: Path, store_url: str, log: Path) -> Iterator[str]:
    """Run the application under uvicorn on a free loopback port; its address. Stopped when the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "--factory"]
    command += ["app:from_environment", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    settings = {"FLIGHTS_MODEL": str(model_dir), "FLIGHTS_STORE": store_url}
    settings["OMP_NUM_THREADS"] = "1"  # a few hundred rows are scored faster by one thread than by several
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | settings)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_it_answers(process, address, log)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx2.get(f"{address}/health").is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise ReplayError(f"the application did not start; it said:\n{log.read_text(errors='replace')[-2000:]}")


def _microseconds(times: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    whole: npt.NDArray[np.int64] = times.cast(pa.int64()).to_numpy()
    return whole


def _instant(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, moment.tzinfo)) // timedelta(microseconds=1)

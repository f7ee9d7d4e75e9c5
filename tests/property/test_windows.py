"""Whatever way rows came into the store, a window's profile is the profile of exactly its rows, byte for byte."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell import Reference
from driftwell.stores.base import HOUR_US
from driftwell.stores.checks import NOON, make_batch
from driftwell.stores.sqlite import SQLiteStore
from driftwell.stores.windows import leaf_builder, window_profile

SPAN = 5 * HOUR_US
TYPES = {"x": pa.float64(), "c": pa.string(), "b": pa.bool_(), "prediction": pa.string(), "score": pa.float64()}
FEATURES = ("x", "c", "b")

# Many rows on the very edges of hours and windows, where a row is easily lost or counted twice.
TIMES = (
    st.integers(0, SPAN)
    | st.integers(0, 5).map(lambda h: h * HOUR_US)
    | st.integers(1, 5).map(lambda h: h * HOUR_US - 1)
)
NUMBERS = st.none() | st.floats(-60, 60) | st.sampled_from([0.0, -0.0, 1e300, float("nan"), float("inf")])


@dataclass(frozen=True)
class Row:
    at: int
    x: float | None
    c: str | None
    b: bool | None
    score: float
    late: bool
    segment: str | None


ROWS = st.lists(
    st.builds(
        Row,
        at=TIMES,
        x=NUMBERS,
        c=st.none() | st.sampled_from("abcdxy"),
        b=st.none() | st.booleans(),
        score=st.floats(0, 1),
        late=st.booleans(),
        segment=st.none() | st.sampled_from(["north", "south"]),
    ),
    min_size=1,
    max_size=12,
)
STEPS = st.lists(
    st.tuples(st.just("rows"), ROWS)
    | st.tuples(st.just("again"), st.just(None))
    | st.tuples(st.just("seal"), st.integers(1, 3))
    | st.tuples(st.just("reference"), st.just(None)),
    min_size=1,
    max_size=9,
)


@functools.cache
def reference() -> Reference:
    rng = np.random.default_rng(11)
    n = 1_500
    table = {
        "x": np.where(rng.random(n) < 0.3, 0.0, rng.normal(0, 20, n)),
        "c": rng.choice(list("abcd"), n),
        "b": rng.random(n) < 0.4,
        "prediction": rng.choice(["late", "in time"], n),
        "score": rng.random(n),
    }
    return Reference.from_data(table)


def expected(rows: list[Row]) -> bytes:
    """The profile of the rows as one table; without any row there are no outputs."""
    lists = {
        "x": [row.x for row in rows],
        "c": [row.c for row in rows],
        "b": [row.b for row in rows],
        "prediction": ["late" if row.late else "in time" for row in rows],
        "score": [row.score for row in rows],
    }
    names = list(TYPES) if rows else FEATURES
    return reference().profile_of(pa.table({n: pa.array(lists[n], TYPES[n]) for n in names})).to_bytes()


@dataclass
class Writer:
    """Stores rows as one process does: the first rows without a reference, later ones in its bins."""

    store: SQLiteStore
    rows: list[Row] = field(default_factory=list)
    last: Any = None
    known: Reference | None = None

    def take(self, what: str, value: Any) -> None:
        if what == "reference" and self.known is None:
            self.known = reference()
            self.store.replace_leaves("m", "v1", self.known.edges_id, leaf_builder(self.known))
        elif what == "seal":
            self.store.seal(NOON + 2 * SPAN, more_than=value)
        elif what == "again" and self.last is not None:
            assert self.store.append(self.last, leaf_builder(self.known)).stored == 0
        elif what == "rows":
            self._append(value)

    def _append(self, rows: list[Row]) -> None:
        kind = pa.struct([(name, TYPES[name]) for name in FEATURES])
        self.last = make_batch(
            f"b{len(self.rows)}",
            [str(len(self.rows) + i) for i in range(len(rows))],
            features=pa.array([{name: getattr(row, name) for name in FEATURES} for row in rows], kind),
            timestamp=[NOON + row.at for row in rows],
            prediction=['"late"' if row.late else '"in time"' for row in rows],
            score=[row.score for row in rows],
            segment=[row.segment for row in rows],
        )
        assert self.store.append(self.last, leaf_builder(self.known)).stored == len(rows)
        self.rows += rows


@settings(max_examples=80, deadline=None)
@given(steps=STEPS, windows=st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=4))
def test_a_window_is_the_profile_of_exactly_its_rows(steps: list[tuple[str, Any]], windows: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteStore(Path(folder) / "s.db")
        writer = Writer(store)
        for what, value in steps:
            writer.take(what, value)
        for start, end in [*map(sorted, windows), (0, SPAN + 1)]:
            inside = [row for row in writer.rows if start <= row.at < end]
            found = window_profile(store, store, "m", "v1", NOON + start, NOON + end, reference())
            assert found.skipped == 0
            assert found.profile.to_bytes() == expected(inside)
        store.close()


@settings(max_examples=40, deadline=None)
@given(before=st.lists(ROWS, max_size=3), after=st.lists(ROWS, min_size=1, max_size=3), sealed=st.booleans())
def test_after_a_mark_only_later_arrivals_count(before: list[Any], after: list[Any], sealed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteStore(Path(folder) / "s.db")
        writer = Writer(store, known=reference())
        for rows in before:
            writer.take("rows", rows)
        mark = store.set_mark("m")
        for rows in after:
            writer.take("rows", rows)
        if sealed:
            writer.take("seal", 1)
        window = (NOON + HOUR_US // 2, NOON + SPAN + 1)
        found = window_profile(store, store, "m", "v1", *window, reference(), after_arrival=mark).profile
        kept = [row for rows in after for row in rows if row.at >= HOUR_US // 2]
        assert found.to_bytes() == expected(kept)
        store.close()

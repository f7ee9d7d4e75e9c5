"""For users' own tests: drift made on purpose, a clock that stands still, streams that are the same every
time.

Nothing in Driftwell imports this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput, ColumnError, UnknownName, nearest, shown
from driftwell.frame import read_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["INJECTIONS", "FakeClock", "inject", "stream"]

Floats = npt.NDArray[np.float64]

_START = datetime(2026, 1, 1, tzinfo=UTC)


def inject(table: Any, kind: str, column: str | tuple[str, str], amount: float, seed: int = 0) -> pa.Table:
    """A copy of a table with one fault in it, of a known size.

    Parameters
    ----------
    table
        Anything Driftwell reads as a table; it is not changed.
    kind
        ``"mean_shift"``
            adds ``amount`` × the column's standard deviation to every value (negative moves down).
        ``"scale"``
            multiplies every value's distance from the column's mean by ``amount`` (2 doubles the spread;
            the mean stays).
        ``"unit"``
            multiplies every value by ``amount``, as when miles arrive as kilometres (1.609344).
        ``"missing"``
            empties the share ``amount`` of the rows, chosen by ``seed``.
        ``"swap"``
            exchanges the column's values with another column's in the share ``amount`` of the rows, chosen
            by ``seed`` (1 exchanges all). ``column`` names both; one name takes the next column of the same
            type.
        ``"freeze"``
            repeats one value to the end, as when a sensor hangs: the last share ``amount`` of the rows hold
            the value of the row before them (of the first row where there is none).
    column
        The column to spoil; for ``"swap"`` also a pair of columns.
    amount
        In standard deviations, a factor, or a share of rows in 0…1, as said above. A share is rounded to
        whole rows.
    seed
        Chooses the rows; the same seed chooses the same ones.

    Returns
    -------
    pyarrow.Table
        The same columns and rows in the same order. ``mean_shift``, ``scale`` and ``unit`` make the column
        float64; missing and non-finite values stay as they are and do not enter mean and deviation.

    Raises
    ------
    UnknownName
        No such kind.
    ColumnError
        No such column, or one that is not numeric where numbers are needed.
    BadInput
        ``amount`` is not a number, or a share outside 0…1; or ``seed`` is no whole number.

    Examples
    --------
    >>> table = {"age": [20.0, 30.0, 40.0], "income": [1.0, 2.0, 3.0]}
    >>> inject(table, "unit", "age", 1000).column("age").to_pylist()
    [20000.0, 30000.0, 40000.0]
    >>> inject(table, "freeze", "age", 0.7).column("age").to_pylist()
    [20.0, 20.0, 20.0]
    >>> inject(table, "swap", "age", 1).to_pydict()
    {'age': [1.0, 2.0, 3.0], 'income': [20.0, 30.0, 40.0]}
    """
    if kind not in INJECTIONS:
        raise UnknownName("kind of drift", kind, INJECTIONS)
    if isinstance(amount, bool) or not isinstance(amount, Real) or not np.isfinite(amount):
        raise BadInput(f"amount must be a finite number; got {amount!r}")
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise BadInput(f"seed must be a whole number of at least 0; got {shown(seed)}")
    rows = read_table(table)
    names = tuple(column) if isinstance(column, (tuple, list)) else (column,)
    for name in names:
        _check_column(rows, name)
    return INJECTIONS[kind](rows, names, float(amount), np.random.default_rng(int(seed)))


def _check_column(rows: pa.Table, name: str) -> None:
    if name not in rows.column_names:
        close = nearest(str(name), rows.column_names)
        hint = f"; did you mean {close!r}?" if close else "."
        raise ColumnError(f"no column {name!r}{hint} The table has: {', '.join(rows.column_names) or 'none'}")


# -- numbers ------------------------------------------------------------------------------------------------


def _mean_shift(rows: pa.Table, names: tuple[str, ...], amount: float, _: np.random.Generator) -> pa.Table:
    return _with_numbers(rows, names, lambda values, here: values + amount * values[here].std())


def _scale(rows: pa.Table, names: tuple[str, ...], amount: float, _: np.random.Generator) -> pa.Table:
    def spread(values: Floats, here: npt.NDArray[np.bool_]) -> Floats:
        mean = float(values[here].mean())
        return mean + (values - mean) * amount

    return _with_numbers(rows, names, spread)


def _unit(rows: pa.Table, names: tuple[str, ...], amount: float, _: np.random.Generator) -> pa.Table:
    return _with_numbers(rows, names, lambda values, _here: values * amount)


def _with_numbers(
    rows: pa.Table, names: tuple[str, ...], change: Callable[[Floats, npt.NDArray[np.bool_]], Floats]
) -> pa.Table:
    """Replace one column by ``change(values, finite ones)``, nulls staying null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name = _only(names)
    column = rows.column(name).combine_chunks()
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise ColumnError(f"column {name!r} holds {kind}, not numbers: only missing, swap and freeze fit it")
    values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    here = np.isfinite(values)
    if not here.any():
        return rows
    missing = pc.is_null(column).to_numpy(zero_copy_only=False)
    return _replaced(rows, name, pa.array(change(values, here), mask=missing))


# -- any type -----------------------------------------------------------------------------------------------


def _missing(rows: pa.Table, names: tuple[str, ...], amount: float, rng: np.random.Generator) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    name = _only(names)
    column = rows.column(name)
    return _replaced(rows, name, pc.if_else(_chosen(rows, amount, rng), pa.scalar(None, column.type), column))


def _swap(rows: pa.Table, names: tuple[str, ...], amount: float, rng: np.random.Generator) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    one, other = names if len(names) == 2 else (_only(names), _partner(rows, names[0]))
    first, second = rows.column(one), rows.column(other)
    if first.type != second.type:
        numeric = [pa.types.is_integer(c.type) or pa.types.is_floating(c.type) for c in (first, second)]
        if not all(numeric):
            raise ColumnError(f"columns {one!r} ({first.type}) and {other!r} ({second.type}) cannot be swapped")
        first, second = first.cast(pa.float64()), second.cast(pa.float64())
    chosen = _chosen(rows, amount, rng)
    swapped = _replaced(rows, one, pc.if_else(chosen, second, first))
    return _replaced(swapped, other, pc.if_else(chosen, first, second))


def _freeze(rows: pa.Table, names: tuple[str, ...], amount: float, _: np.random.Generator) -> pa.Table:
    import pyarrow as pa

    name = _only(names)
    start = rows.num_rows - _count(rows, amount)
    if start == rows.num_rows:
        return rows
    positions = np.minimum(np.arange(rows.num_rows), max(0, start - 1))
    return _replaced(rows, name, rows.column(name).take(pa.array(positions)))


def _only(names: tuple[str, ...]) -> str:
    if len(names) != 1:
        raise BadInput(f"one column at a time, not {len(names)}: call inject again for the next")
    return names[0]


def _partner(rows: pa.Table, name: str) -> str:
    """The next column of the same type, from the start again after the last."""
    here = rows.column_names.index(name)
    others = rows.column_names[here + 1 :] + rows.column_names[:here]
    same = [other for other in others if rows.column(other).type == rows.column(name).type]
    if not same:
        raise ColumnError(f"no other column has the type of {name!r}: name both columns, ('{name}', other)")
    return str(same[0])


def _count(rows: pa.Table, share: float) -> int:
    if not 0 <= share <= 1:
        raise BadInput(f"amount is a share of the rows, from 0 to 1; got {share!r}")
    n_rows: int = rows.num_rows
    return round(share * n_rows)


def _chosen(rows: pa.Table, share: float, rng: np.random.Generator) -> pa.Array:
    import pyarrow as pa

    mask = np.zeros(rows.num_rows, np.bool_)
    mask[rng.permutation(rows.num_rows)[: _count(rows, share)]] = True
    return pa.array(mask)


def _replaced(rows: pa.Table, name: str, column: Any) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, column)


INJECTIONS: dict[str, Callable[[pa.Table, tuple[str, ...], float, np.random.Generator], pa.Table]] = {
    "mean_shift": _mean_shift,
    "scale": _scale,
    "missing": _missing,
    "swap": _swap,
    "unit": _unit,
    "freeze": _freeze,
}


# -- time ---------------------------------------------------------------------------------------------------


@dataclass
class FakeClock:
    """A clock that moves only when told. Calling it gives Unix seconds, so it stands in for ``time.time``.

    Examples
    --------
    >>> clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
    >>> clock.advance(90)
    >>> clock.now().isoformat(), clock() == clock.now().timestamp()
    ('2026-01-01T00:01:30+00:00', True)
    """

    moment: datetime = _START

    def __post_init__(self) -> None:
        if self.moment.tzinfo is None:
            raise BadInput("FakeClock needs a time with a zone: datetime(…, tzinfo=UTC)")

    def __call__(self) -> float:
        return self.moment.timestamp()

    def now(self) -> datetime:
        """The time it stands at."""
        return self.moment

    def advance(self, seconds: float) -> None:
        """Move forward, or back with a negative number."""
        self.moment += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        """``advance`` under the name of ``time.sleep``, which it stands in for."""
        self.advance(seconds)


# -- streams ------------------------------------------------------------------------------------------------


def stream(
    n: int,
    seed: int = 0,
    *,
    start: datetime = _START,
    every_seconds: float = 60.0,
    change_at: int | None = None,
    mean_shift: float = 1.0,
) -> Iterator[dict[str, Any]]:
    """Predictions of a small credit model with their labels, the same for the same seed.

    Each is a dict of ``prediction_id, timestamp, features, prediction, score, true_label``: the keywords of
    ``monitor.record_prediction``. Features are ``age`` (years), ``income`` (thousands, one in twenty
    missing), ``city`` and ``member``; ``score`` is the probability of the label 1 and ``prediction``
    whether it is at least 0.5.

    Parameters
    ----------
    n
        How many.
    start, every_seconds
        Event time of the first, and between two.
    change_at
        From this position on ``income`` is higher by ``mean_shift`` of its standard deviations while the
        labels go on as if it were not: inputs drift, and the model gets worse. None: nothing changes.

    Examples
    --------
    >>> first = next(stream(3, seed=7))
    >>> sorted(first), first["prediction_id"]
    (['features', 'prediction', 'prediction_id', 'score', 'timestamp', 'true_label'], '7-0')
    >>> list(stream(5, seed=7)) == list(stream(5, seed=7))
    True
    """
    for i in range(n):
        rng = np.random.default_rng((seed, i))  # one generator a record: a longer stream begins like a shorter one
        age, income = rng.normal(45, 12), rng.normal(50, 15)
        member = bool(rng.random() < 0.4)
        label = int(rng.random() < _chance(age, income, member))
        if change_at is not None and i >= change_at:
            income += 15 * mean_shift
        score = _chance(age, income, member)
        yield {
            "prediction_id": f"{seed}-{i}",
            "timestamp": start + timedelta(seconds=i * every_seconds),
            "features": {
                "age": round(age, 1),
                "income": None if rng.random() < 0.05 else round(income, 2),
                "city": str(rng.choice(["Bergen", "Lima", "Osaka", "Turin"], p=[0.4, 0.3, 0.2, 0.1])),
                "member": member,
            },
            "prediction": int(score >= 0.5),
            "score": score,
            "true_label": label,
        }


def _chance(age: float, income: float, member: bool) -> float:
    """Probability of the label 1: rises with income, falls with age, is higher for members."""
    return float(1 / (1 + np.exp(-((income - 50) / 8 - (age - 45) / 12 + (0.5 if member else -0.5)))))

"""Pairs of label and prediction, ready to be counted: which task, which classes, which rows can be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput, UnknownName
from driftwell.evaluation.cells import Cells, Numbers, as_numbers, as_texts, read_cells
from driftwell.frame import text_of

__all__ = ["MOST_NUMERIC_CLASSES", "TASKS", "Outcomes", "read_outcomes"]

TASKS = ("binary", "multiclass", "regression", "classification")

MOST_NUMERIC_CLASSES = 20
"""Whole numbers are classes up to this many distinct values, amounts beyond."""

_LOOKUP_RANGE = 1 << 16
_NEGATIVE_OF = {"yes": "no", "true": "false", "1": "0", "y": "n", "positive": "negative"}
_POSITIVE_OF = {negative: positive for positive, negative in _NEGATIVE_OF.items()}


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Rows that have both a label and a prediction, and how many lack one.

    ``truth`` and ``predicted`` are codes into ``classes``, for regression the numbers themselves. A binary
    task has exactly the classes ``(negative, positive)``. ``kept`` marks the rows of the input that are
    here.
    """

    task: str
    truth: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    classes: tuple[Any, ...]
    kept: npt.NDArray[np.bool_]
    n_unlabelled: int
    n_missing: int

    @property
    def n(self) -> int:
        """Rows that can be judged."""
        return int(self.truth.size)

    @property
    def positive(self) -> Any:
        """The positive class of a binary task, else None."""
        return self.classes[1] if self.task == "binary" else None

    def take(self, rows: npt.NDArray[np.int64]) -> Outcomes:
        """The judged rows at these positions, with the same task and classes; counts of other rows are 0."""
        kept = np.ones(rows.size, np.bool_)
        part = replace(self, truth=self.truth[rows], predicted=self.predicted[rows], kept=kept)
        return replace(part, n_unlabelled=0, n_missing=0)


def read_outcomes(
    labels: Any,
    predictions: Any,
    *,
    task: str | None = None,
    positive: Any = None,
    classes: Sequence[Any] | None = None,
) -> Outcomes:
    """Pair labels with predictions, decide the task, and code the classes.

    Parameters
    ----------
    labels, predictions
        Columns of equal length (see ``read_cells``); None and NaN are missing.
    task
        "binary", "multiclass", "regression", or "classification" for whichever of the first two fits. None
        decides: text and booleans are classes; numbers are amounts (regression) when any is fractional or
        the labels have more than 20 distinct values, else classes; up to two classes are binary.
    positive
        The positive class; makes the task binary, everything else is negative then. None: 1, True, "1",
        "true", "yes", "y" or "positive" where they occur, else the last class in sorted order.
    classes
        Classes known beforehand, so that a few rows that lack some are judged like the others.

    Raises
    ------
    BadInput
        The columns differ in length or are not one value a row.
    UnknownName
        ``task`` is not one of the four.

    Examples
    --------
    >>> found = read_outcomes(["no", "yes", None], ["no", "no", "yes"])
    >>> found.task, found.classes, found.truth, found.n_unlabelled
    ('binary', ('no', 'yes'), array([0, 1]), 1)
    """
    if task is not None and task not in TASKS:
        raise UnknownName("task", task, TASKS)
    known = [*(() if classes is None else classes), *(() if positive is None else (positive,))]
    columns = [read_cells(labels), read_cells(predictions), read_cells(known)]
    n_labels, n_predictions = _size(columns[0]), _size(columns[1])
    if n_labels != n_predictions:
        raise BadInput(f"{n_labels} labels for {n_predictions} predictions: pass one of each for every row")
    if task == "regression":
        return _amounts(columns)
    numbers = as_numbers(columns) if known else as_numbers(columns[:2])
    if numbers is None:
        arrays, names = as_texts(columns)
        return _classified(arrays, names, task, positive)
    boolean = any(isinstance(c, Numbers) and c.boolean for c in columns)
    if task is None and positive is None and not boolean and _are_amounts(numbers):
        return _amounts(columns)
    arrays, values = _code_numbers(numbers)
    return _classified(arrays, tuple(_class_name(v, boolean) for v in values.tolist()), task, positive)


def _amounts(columns: Sequence[Cells]) -> Outcomes:
    forced = as_numbers(columns[:2], force=True)
    assert forced is not None
    truth, predicted = forced
    labelled, answered = ~np.isnan(truth), ~np.isnan(predicted)
    return _paired("regression", truth, predicted, (), labelled, answered)


def _classified(
    arrays: list[npt.NDArray[np.int64]], names: tuple[Any, ...], task: str | None, positive: Any
) -> Outcomes:
    truth, predicted = arrays[:2]
    found = _paired("multiclass", truth, predicted, names, truth >= 0, predicted >= 0)
    used = np.zeros(len(names), np.bool_)
    for codes in arrays:
        used[codes[codes >= 0]] = True
    several = bool(used.sum() > 2) and positive is None
    if task == "multiclass" or (several and task != "binary"):
        return found
    return _binary(found, [name for name, seen in zip(names, used, strict=True) if seen], positive)


def _binary(found: Outcomes, seen: list[Any], positive: Any) -> Outcomes:
    name = _positive_class(seen, positive)
    others = [c for c in seen if c != name]
    negative = _opposite(name) if not others else others[0] if len(others) == 1 else "(other)"
    code = found.classes.index(name) if name in found.classes else -1
    truth, predicted = (found.truth == code).astype(np.int64), (found.predicted == code).astype(np.int64)
    return replace(found, task="binary", truth=truth, predicted=predicted, classes=(negative, name))


def _positive_class(seen: list[Any], positive: Any) -> Any:
    if positive is not None:
        text = text_of(positive)
        same = [c for c in seen if text_of(c) == text or _equal(c, positive)]
        return same[0] if same else positive
    for candidate in seen:
        if candidate == 1 or candidate in _NEGATIVE_OF:
            return candidate
    if len(seen) == 1 and seen[0] == 0:
        return _opposite(seen[0])
    if len(seen) == 1 and seen[0] in _POSITIVE_OF:
        return _POSITIVE_OF[seen[0]]
    return seen[-1] if seen else 1


def _opposite(name: Any) -> Any:
    """The other class of a pair that everybody knows, for rows that show only one."""
    if isinstance(name, (bool, int)) and name in (0, 1):
        return not name if isinstance(name, bool) else 1 - name
    return _NEGATIVE_OF.get(name, "(other)")


def _equal(one: Any, other: Any) -> bool:
    numeric = (bool, int, float)
    return isinstance(one, numeric) and isinstance(other, numeric) and one == other


def _paired(
    task: str,
    truth: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    classes: tuple[Any, ...],
    labelled: npt.NDArray[np.bool_],
    answered: npt.NDArray[np.bool_],
) -> Outcomes:
    kept = labelled & answered
    n_labelled, n = int(labelled.sum()), int(kept.sum())
    if n < kept.size:
        truth, predicted = truth[kept], predicted[kept]
    return Outcomes(task, truth, predicted, classes, kept, kept.size - n_labelled, n_labelled - n)


def _are_amounts(numbers: list[npt.NDArray[np.float64]]) -> bool:
    labels, predictions = (column[~np.isnan(column)] for column in numbers[:2])
    if any(bool((column != np.rint(column)).any()) for column in (labels, predictions)):
        return True
    return _distinct(labels).size > MOST_NUMERIC_CLASSES


def _code_numbers(
    numbers: list[npt.NDArray[np.float64]],
) -> tuple[list[npt.NDArray[np.int64]], npt.NDArray[np.float64]]:
    """Codes into the sorted distinct values of all columns, -1 where missing."""
    distinct = np.array(sorted(set().union(*(_distinct(c[~np.isnan(c)]).tolist() for c in numbers))))
    codes = [np.searchsorted(distinct, column) for column in numbers]
    return [np.where(np.isnan(c), -1, code) for c, code in zip(numbers, codes, strict=True)], distinct


def _distinct(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sorted distinct values; counting beats sorting where they are whole and close together."""
    if values.size:
        low, high = float(values.min()), float(values.max())
        if high - low < _LOOKUP_RANGE and bool((values == np.rint(values)).all()):
            return np.flatnonzero(np.bincount((values - low).astype(np.int64))).astype(np.float64) + low
    return np.unique(values)


def _class_name(value: float, boolean: bool) -> Any:
    if boolean and value in (0.0, 1.0):
        return bool(value)
    return int(value) if value.is_integer() else value


def _size(column: Cells) -> int:
    return int(column.values.size if isinstance(column, Numbers) else column.codes.size)

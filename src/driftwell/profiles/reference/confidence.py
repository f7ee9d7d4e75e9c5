"""Confidence: the probability a model gave to the class that it predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from driftwell.frame import CodedColumn, Frame, NumericColumn, text_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["confidence"]

Floats = npt.NDArray[np.float64]

POSITIVE, NEGATIVE = {"1", "true"}, {"0", "false", "-1"}


def confidence(table: pa.Table, prediction: str, given: Sequence[str], classes: Sequence[str]) -> pa.Array | None:
    """Probability of the predicted class of each row, null where it is not known; None where no row has one.

    Parameters
    ----------
    prediction
        The column of predicted classes.
    given
        Columns that may tell the probability, the first that does decides: numbers, ``{class: p}`` or JSON text of
        either. A number in 0…1 is the probability of the positive class where there are two classes (of ``classes``
        the second), else that of the predicted one.
    classes
        Class names in order; empty where they are not known.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rows = pa.table({"prediction": [1, 0], "score": [0.9, 0.2]})
    >>> confidence(rows, "prediction", ["score"], ["0", "1"]).to_pylist()
    [0.9, 0.8]
    """
    import pyarrow as pa

    found = Frame.of(table.select([prediction]), kinds={prediction: "categorical"}).columns[prediction]
    if not isinstance(found, CodedColumn):
        return None
    for name in given:
        shares = _shares(table.column(name), found, classes)
        if shares is not None and np.isfinite(shares).any():
            return pa.array(shares, pa.float64(), from_pandas=True)
    return None


def _shares(column: pa.ChunkedArray, predicted: CodedColumn, classes: Sequence[str]) -> Floats | None:
    import pyarrow.types as types

    if types.is_struct(column.type) or types.is_map(column.type):
        return _of_class(_mappings(column), predicted)
    if types.is_string(column.type) or types.is_large_string(column.type):
        cells = [None if text is None else _decoded(text) for text in column.to_pylist()]
        if any(isinstance(cell, dict) for cell in cells):
            return _of_class(cells, predicted)
        numbers = [cell if isinstance(cell, (int, float)) else None for cell in cells]
        return _of_number(np.array(numbers, np.float64), predicted, classes)
    numeric = Frame.of(_alone(column)).columns["p"]
    if not isinstance(numeric, NumericColumn):
        return None
    values = numeric.values if numeric.missing is None else np.where(numeric.missing, np.nan, numeric.values)
    return _of_number(values, predicted, classes)


def _of_number(p: Floats, predicted: CodedColumn, classes: Sequence[str]) -> Floats | None:
    with np.errstate(invalid="ignore"):
        if ((p < 0) | (p > 1)).any():
            return None  # a score that ranks but is no probability
    known = list(classes) or sorted(predicted.categories)
    if len(known) > 2:
        return np.where(predicted.codes < 0, np.nan, p)
    positive = _positive(known)
    if positive is None:
        return None
    code = predicted.categories.index(positive) if positive in predicted.categories else len(predicted.categories)
    return np.where(predicted.codes < 0, np.nan, np.where(predicted.codes == code, p, 1 - p))


def _positive(classes: Sequence[str]) -> str | None:
    """The second of two classes; of a single one only what its name says."""
    if len(classes) == 2:
        return classes[1]
    if classes and classes[0] in POSITIVE:
        return classes[0]
    return "1" if classes and classes[0] in NEGATIVE else None


def _of_class(cells: Sequence[Any], predicted: CodedColumn) -> Floats:
    """The entry of the predicted class; a class without an entry has no known probability."""
    found = np.full(len(cells), np.nan)
    for row, (cell, code) in enumerate(zip(cells, predicted.codes.tolist(), strict=True)):
        share = cell.get(predicted.categories[code]) if code >= 0 and isinstance(cell, dict) else None
        if isinstance(share, (int, float)):
            found[row] = share
    return found


def _mappings(column: pa.ChunkedArray) -> list[Any]:
    """``{class: p}`` of each row; Arrow gives a map as a list of pairs."""
    return [None if cell is None else {text_of(k): v for k, v in dict(cell).items()} for cell in column.to_pylist()]


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _alone(column: pa.ChunkedArray) -> pa.Table:
    import pyarrow as pa

    return pa.table({"p": column})

"""Columns by kind: what the rest of the program sees of a table, and the rule that says which kind a column has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput, UnknownName, shown

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "BOOLEAN_CATEGORIES",
    "COMPOSITE_KINDS",
    "KINDS",
    "CodedColumn",
    "Column",
    "CompositeColumn",
    "DatetimeColumn",
    "Moments",
    "NumericColumn",
    "SeriesColumn",
    "TextColumn",
    "UnreadColumn",
    "VectorColumn",
    "check_kinds",
    "infer_kind",
    "looks_like_text",
    "text_of",
]

COMPOSITE_KINDS = ("datetime", "text", "vector", "series")
KINDS = ("numeric", "categorical", "boolean", *COMPOSITE_KINDS)
BOOLEAN_CATEGORIES = ("false", "true")
TEXT_ROWS = 20
TEXT_WORDS = 3

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """Float64 values; ``missing`` marks nulls (NaN is a value of its own), ``invalid`` counts unreadable
    cells, which are missing too, and ``rounded`` the values that float64 cannot hold (see ``docs/kinds.md``)."""

    name: str
    values: npt.NDArray[np.float64]
    missing: Mask | None = None
    invalid: int = 0
    rounded: int = 0
    kind: str = "numeric"


@dataclass(frozen=True, slots=True)
class CodedColumn:
    """Codes into ``categories``, -1 where missing; kind ``categorical`` or ``boolean``."""

    name: str
    codes: Ints
    categories: tuple[str, ...]
    invalid: int = 0
    kind: str = "categorical"


class Moments(NamedTuple):
    """Points in time, exact: whole seconds since 1970 UTC, the nanoseconds beyond them, and which are missing."""

    seconds: Ints
    nanos: Ints
    missing: Mask


@dataclass(frozen=True, slots=True)
class DatetimeColumn:
    """Points in time; ``event`` are the event times of the same rows where known, ``dates`` says that there is no
    time of day."""

    name: str
    moments: Moments
    dates: bool = False
    event: Moments | None = None
    invalid: int = 0
    kind: str = "datetime"

    @property
    def missing(self) -> Mask:
        """Rows without a value."""
        return self.moments.missing


@dataclass(frozen=True, slots=True)
class TextColumn:
    """Codes into the distinct ``texts``, -1 where missing."""

    name: str
    codes: Ints
    texts: tuple[str, ...]
    invalid: int = 0
    kind: str = "text"

    @property
    def missing(self) -> Mask:
        """Rows without a value."""
        return self.codes < 0


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """``values`` has a row for each vector that is not missing, shape ``(vectors, length)``; a vector with a null, NaN
    or infinite element is ``invalid`` and missing. ``length`` is None where the column does not say it."""

    name: str
    values: npt.NDArray[np.floating[Any]]
    missing: Mask
    length: int | None
    invalid: int = 0
    kind: str = "vector"


@dataclass(frozen=True, slots=True)
class SeriesColumn:
    """Lists of numbers of any length: ``lengths`` of the rows (0 where missing) and all elements one after the other,
    null elements marked in ``absent``."""

    name: str
    values: npt.NDArray[np.float64]
    absent: Mask
    lengths: Ints
    missing: Mask
    invalid: int = 0
    kind: str = "series"


@dataclass(frozen=True, slots=True)
class UnreadColumn:
    """A column that cannot be read as its kind, with the reason; the other columns are not touched.

    ``found`` is the kind its type would be of itself, where ``kind`` is never read from that type.
    """

    name: str
    reason: str
    kind: str = "unknown"
    found: str | None = None


CompositeColumn = DatetimeColumn | TextColumn | VectorColumn | SeriesColumn
Column = NumericColumn | CodedColumn | CompositeColumn | UnreadColumn


def check_kinds(kinds: Mapping[str, str] | None) -> None:
    """Refuse what is no dict of kinds, and a kind that is not known."""
    if kinds is not None and not isinstance(kinds, Mapping):
        raise BadInput(f"kinds is a dict such as {{'zip': 'categorical'}}. Got {shown(kinds)}")
    for kind in (kinds or {}).values():
        if kind not in KINDS:
            raise UnknownName("column kind", kind, KINDS)


def infer_kind(data: pa.DataType) -> str | None:
    """The kind of an Arrow type.

    Numbers are ``numeric``, booleans ``boolean``, strings and dictionaries ``categorical``, timestamps and dates
    ``datetime``, fixed-size lists of floats ``vector``, all other lists of numbers ``series``. A column of nulls is
    ``numeric``. None means the type has no kind (times of day, durations, structs, bytes, lists of anything else).

    Examples
    --------
    >>> import pyarrow as pa
    >>> infer_kind(pa.date32()), infer_kind(pa.list_(pa.float32(), 384)), infer_kind(pa.list_(pa.int64()))
    ('datetime', 'vector', 'series')
    """
    import pyarrow.types as types

    if types.is_boolean(data):
        return "boolean"
    if _is_number(data) or types.is_null(data):
        return "numeric"
    if types.is_dictionary(data) or is_text_type(data):
        return "categorical"
    if types.is_timestamp(data) or types.is_date(data):
        return "datetime"
    if is_list_type(data) and (_is_number(data.value_type) or types.is_null(data.value_type)):
        return "vector" if types.is_fixed_size_list(data) and types.is_floating(data.value_type) else "series"
    return None


def looks_like_text(column: CodedColumn) -> bool:
    """Whether a column of strings is free text rather than categories; asked of references only.

    It is when at least 20 rows hold a value, more than half of the values are distinct, and more than half of the
    distinct ones have three words or more (parts between white space). Identifiers without spaces and names stay
    categories.

    Examples
    --------
    >>> codes = np.arange(30)
    >>> looks_like_text(CodedColumn("note", codes, tuple(f"parcel {i} arrived late" for i in codes)))
    True
    >>> looks_like_text(CodedColumn("id", codes, tuple(f"customer-{i}" for i in codes)))
    False
    """
    rows, distinct = int(np.count_nonzero(column.codes >= 0)), len(column.categories)
    if column.kind != "categorical" or rows < TEXT_ROWS or 2 * distinct <= rows:
        return False
    return 2 * sum(len(text.split(None, TEXT_WORDS - 1)) == TEXT_WORDS for text in column.categories) > distinct


def text_of(value: Any) -> str:
    """The canonical text of a category: ``3``, ``3.0`` and the decimal ``3.00`` are ``"3"``, ``True`` is ``"true"``."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(value)


def is_text_type(data: pa.DataType) -> bool:
    """Whether this is one of Arrow's string types."""
    import pyarrow.types as types

    return bool(types.is_string(data) or types.is_large_string(data) or types.is_string_view(data))


def is_list_type(data: pa.DataType) -> bool:
    """Whether this is one of Arrow's list types."""
    import pyarrow.types as types

    return bool(types.is_list(data) or types.is_large_list(data) or types.is_fixed_size_list(data))


def _is_number(data: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(data) or types.is_floating(data) or types.is_decimal(data))

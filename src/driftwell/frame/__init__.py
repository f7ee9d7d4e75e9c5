"""Any table becomes typed columns here; nobody else knows pandas, polars or NumPy layouts.

Two steps: ``read_table`` turns whatever the user has into an Arrow table, ``Frame.of`` gives each column its
kind.
"""

from driftwell.frame.columns import (
    BOOLEAN_CATEGORIES,
    COMPOSITE_KINDS,
    KINDS,
    CodedColumn,
    Column,
    CompositeColumn,
    DatetimeColumn,
    Moments,
    NumericColumn,
    SeriesColumn,
    TextColumn,
    UnreadColumn,
    VectorColumn,
    check_kinds,
    infer_kind,
    looks_like_text,
    text_of,
)
from driftwell.frame.frame import Frame
from driftwell.frame.memory import to_arrow
from driftwell.frame.nested import as_text
from driftwell.frame.reading import read_table

__all__ = [
    "BOOLEAN_CATEGORIES",
    "COMPOSITE_KINDS",
    "KINDS",
    "CodedColumn",
    "Column",
    "CompositeColumn",
    "DatetimeColumn",
    "Frame",
    "Moments",
    "NumericColumn",
    "SeriesColumn",
    "TextColumn",
    "UnreadColumn",
    "VectorColumn",
    "as_text",
    "check_kinds",
    "infer_kind",
    "looks_like_text",
    "read_table",
    "text_of",
    "to_arrow",
]

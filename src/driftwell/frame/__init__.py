"""Any table becomes typed columns here; nobody else knows pandas, polars or NumPy layouts.

Two steps: ``read_table`` turns whatever the user has into an Arrow table, ``Frame.of`` gives each column its
kind.
"""

from driftwell.frame.columns import (
    BOOLEAN_CATEGORIES,
    KINDS,
    CodedColumn,
    Column,
    Frame,
    NumericColumn,
    UnreadColumn,
    check_kinds,
    infer_kind,
    text_of,
)
from driftwell.frame.reading import read_table, to_arrow

__all__ = [
    "BOOLEAN_CATEGORIES",
    "KINDS",
    "CodedColumn",
    "Column",
    "Frame",
    "NumericColumn",
    "UnreadColumn",
    "check_kinds",
    "infer_kind",
    "read_table",
    "text_of",
    "to_arrow",
]

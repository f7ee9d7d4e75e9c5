"""How profiles are laid out in bytes: structures by position, one a kind of column and version."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["Codes", "Document", "Numbers", "Numbers2", "Parts", "WeightedCodes", "WeightedNumbers", "Written"]


class Codes(msgspec.Struct, tag="codes", array_like=True):
    """A categorical or boolean column as it is written; by position, for leaves are small and many."""

    kind: Literal["categorical", "boolean"]
    bins_id: str
    bins: dict[str, Any] | None
    counts: bytes
    rows: tuple[int, int]
    newcomers: list[tuple[str, int]]


class Numbers(msgspec.Struct, tag="numbers", array_like=True):
    """A numeric column as it is written; ``finite`` and ``total`` spare readers of totals the unpacking."""

    bins_id: str
    bins: dict[str, Any] | None
    counts: bytes
    rows: tuple[int, int, int, int, int]
    centre: float
    shift: int
    sums: tuple[bytes, bytes]
    large: list[tuple[int, bytes]]
    squares: bytes
    range: tuple[float | None, float | None]
    finite: int
    total: bytes


class Numbers2(Numbers, tag="numbers2", array_like=True):
    """What version 2 adds. ``sums`` is packed tight, as one array where the sums fit into 62 bits; ``grid`` is the
    shift, the differences of the cells and the counts."""

    rounded: int = 0
    grid: tuple[int, bytes, bytes] | None = None
    uncertainty: tuple[int, int, bytes] | None = None


class WeightedCodes(Codes, tag="weighted_codes", array_like=True):
    """A column of a weighted reference, counted in units of weight; ``weighting`` is rows, rows with a value, and the
    sum of squared units."""

    weighting: tuple[int, int, bytes] = (0, 0, b"")


class WeightedNumbers(Numbers2, tag="weighted_numbers", array_like=True):
    """The same of a numeric column."""

    weighting: tuple[int, int, bytes] = (0, 0, b"")


class Parts(msgspec.Struct, tag="parts", array_like=True):
    """A composite column as it is written: its facets without bins, which ``bins`` has for all of them."""

    kind: str
    bins_id: str
    bins: dict[str, Any] | None
    rows: tuple[int, int, int]
    facets: list[tuple[str, Codes | Numbers | Numbers2]]
    sums: bytes


Written = Codes | Numbers | Numbers2 | WeightedCodes | WeightedNumbers | Parts


class Document(msgspec.Struct, array_like=True):
    edges_id: str
    n_rows: int
    columns: list[tuple[str, Written]]
    outputs: list[tuple[str, Written]]
    unread: list[tuple[str, str]]

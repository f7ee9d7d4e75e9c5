"""Bytes of profiles: packed integers, and documents that fit no profile."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwell.errors import FormatError
from driftwell.profiles import Profile, Reference, profile
from driftwell.profiles.format.codec import MAGIC, VERSION, decode_bins, pack, summaries, unpack

int64 = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300) | st.just(0)


@given(st.lists(int64, max_size=80))
def test_packed_integers_come_back(values: list[int]) -> None:
    array = np.array(values, np.int64)
    assert unpack(pack(array)).tolist() == values


@given(st.integers(1, 70_000), st.lists(st.tuples(st.integers(0, 69_999), int64), max_size=5))
def test_sparse_integers_come_back(n: int, held: list[tuple[int, int]]) -> None:
    array = np.zeros(n, np.int64)
    for at, value in held:
        array[at % n] = value
    assert unpack(pack(array)).tolist() == array.tolist()


def test_packing_takes_the_fewest_bytes_of_one_width() -> None:
    assert len(pack(np.full(1_000, 100))) == 5 + 1_000
    assert len(pack(np.full(1_000, 1_000))) == 5 + 2_000
    sparse = np.zeros(1_000, np.int64)
    sparse[7] = 1_000
    assert len(pack(sparse)) == 5 + 2 + 2
    assert len(pack(np.zeros(1_000, np.int64))) == 5


@given(st.binary(max_size=60))
def test_unpacking_anything_is_bounded_and_fails_cleanly(data: bytes) -> None:
    """No allocation beyond the data or 2**16 integers, whatever length the bytes state."""
    try:
        found = unpack(data)
    except (KeyError, ValueError, IndexError):
        return
    assert len(found) <= max(len(data), 65_536)


def test_stated_length_beyond_the_data_is_refused() -> None:
    for head in (b"\x01", b"\x81"):
        with pytest.raises(ValueError):
            unpack(head + b"\xff\xff\xff\xff" + b"\x00" * 8)


# Fields stand by position, as they are written.
DOCUMENT = ("edges_id", "n_rows", "columns", "outputs", "unread")
FIELDS = {
    "x": ("type", "bins_id", "bins", "counts", "rows", "centre", "shift", "sums", "large", "squares", "range"),
    "c": ("type", "kind", "bins_id", "bins", "counts", "rows", "newcomers"),
}


def written() -> list[Any]:
    ref = Reference.from_data({"x": [1.0, 2.0, 3.0], "c": ["a", "b", "a"]})
    data = profile({"x": [1.0, 1e200, None], "c": ["a", "new", None]}, ref).to_bytes()
    document: list[Any] = msgspec.msgpack.decode(data[8:])
    return document


def sealed(document: Any) -> bytes:
    body = msgspec.msgpack.encode(document)
    return MAGIC + bytes([VERSION]) + zlib.crc32(body).to_bytes(4, "little") + body


def of(document: list[Any], name: str) -> list[Any]:
    found: list[Any] = dict(document[DOCUMENT.index("columns")])[name]
    return found


def put(name: str, field: str, value: Any) -> Callable[[list[Any]], None]:
    """Write another value into a field of a column."""

    def forge(document: list[Any]) -> None:
        of(document, name)[FIELDS[name].index(field)] = value

    return forge


def rebin(**changed: Any) -> Callable[[list[Any]], None]:
    """Write other bins into the numeric column."""

    def forge(document: list[Any]) -> None:
        of(document, "x")[FIELDS["x"].index("bins")].update(changed)

    return forge


def test_what_was_taken_apart_and_sealed_again_is_read() -> None:
    assert Profile.from_bytes(sealed(written())).n_rows == 3


FORGERIES: dict[str, Callable[[list[Any]], Any]] = {
    "a text for a number": lambda d: d.__setitem__(DOCUMENT.index("n_rows"), "3"),
    "no columns": lambda d: d.pop(),
    "unknown type of column": put("x", "type", "other"),
    "unknown kind": put("c", "kind", "numeric"),
    "negative missing": put("x", "rows", [-1, 0, 0, 0, 0]),
    "too few rows": put("x", "rows", [1, 0]),
    "negative count": put("x", "counts", pack(np.full(7, -1))),
    "counts of another length": put("x", "counts", pack(np.zeros(3, np.int64))),
    "counts of no length": put("c", "counts", pack(np.zeros(0, np.int64))),
    "counts of more categories": put("c", "counts", pack(np.zeros(9, np.int64))),
    "sums of another length": put("x", "sums", [pack(np.zeros(3, np.int64))] * 2),
    "squares below the sums": put("x", "squares", b"\0"),
    "a shift beyond float64": put("x", "shift", 10**9),
    "a large sum of a cell that is not there": put("x", "large", [[99, b"\1"]]),
    "newcomers of text": put("c", "newcomers", [["new", "one"]]),
    "categories for a number": rebin(type="categorical", categories=["a"]),
    "edges that fall": rebin(edges=[3.0, 2.0, 1.0, 0.5, 0.25, 0.1]),
    "edges of text": rebin(edges=["a"] * 6),
    "no edges": rebin(edges=None),
    "a shift of the bins beyond float64": rebin(shift=-(10**9)),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_documents_that_fit_no_profile_are_refused(forgery: str) -> None:
    document = written()
    FORGERIES[forgery](document)
    with pytest.raises(FormatError):
        Profile.from_bytes(sealed(document))


@pytest.mark.parametrize("document", [None, 3, [], {}, "text", [[[[]]]]])
def test_other_documents_are_refused(document: Any) -> None:
    with pytest.raises(FormatError):
        Profile.from_bytes(sealed(document))


def test_document_nested_without_end_is_refused() -> None:
    body = b"\x91" * 100_000
    data = MAGIC + bytes([VERSION]) + zlib.crc32(body).to_bytes(4, "little") + body
    with pytest.raises(FormatError):
        Profile.from_bytes(data)


def test_summaries_of_damaged_bytes_are_refused() -> None:
    data = sealed(written())
    for damaged in (b"", data[:-1], b"XXX" + data[3:], data[:20] + b"\0" + data[21:]):
        with pytest.raises(FormatError):
            summaries(damaged)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "numeric", "edges": [1.0, 2.0], "groups": [0, 0], "centre": 0.0, "shift": 3},
        {"type": "numeric", "edges": [1.0, None], "groups": [0, 0, 0], "centre": 0.0, "shift": 3},
        {"type": "numeric", "edges": [1.0, 2.0], "groups": [0, -1, 0], "centre": 0.0, "shift": 3},
        {"type": "numeric", "edges": [[1.0]], "groups": [[0, 0]], "centre": 0.0, "shift": 3},
    ],
)
def test_bins_that_do_not_fit_together_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode_bins(document)


# -- version 1 -----------------------------------------------------------------------------------------------

GOLDEN = Path(__file__).parent / "golden"


def golden_rows() -> dict[str, Any]:
    """The rows the files were written from, by the code of version 0.1 (format 1)."""
    at = np.arange(400)
    return {
        "x": np.where(at % 5 == 0, 0.0, (at * 37 % 101) / 7.0),
        "c": [["a", "b", "c"][i % 3] for i in range(400)],
        "b": [i % 4 == 0 for i in range(400)],
    }


@pytest.mark.parametrize("name", ["profile-v1.dwp", "leaf-v1.dwp"])
def test_profiles_of_version_1_are_read(name: str) -> None:
    found = Profile.from_bytes((GOLDEN / name).read_bytes(), Reference.load(GOLDEN / "reference-v1.json"))
    assert found.n_rows == 6
    x, c, b = (found.columns[name] for name in "xcb")
    # x was 1.0, 2.5, None, inf, 1e200, 14.0
    assert (x.count, x.missing, x.min, x.max, x.pos_inf) == (5, 1, 1.0, 1e200, 1)  # type: ignore[union-attr]
    assert x.rounded == 0  # type: ignore[union-attr]
    assert (c.count, c.missing, c.newcomers) == (5, 1, {"new": 1})  # type: ignore[union-attr]
    assert (b.counts.tolist(), b.missing) == ([2, 3, 0], 1)  # type: ignore[union-attr]


def test_references_of_version_1_are_read_and_merge_with_new_ones() -> None:
    old = Reference.load(GOLDEN / "reference-v1.json")
    new = Reference.from_data(golden_rows(), name="golden", performance={"accuracy": 0.9})
    assert old.edges_id == new.edges_id
    leaf = Profile.from_bytes((GOLDEN / "leaf-v1.dwp").read_bytes(), new)
    assert leaf.merge(profile(golden_rows(), new)).n_rows == 406

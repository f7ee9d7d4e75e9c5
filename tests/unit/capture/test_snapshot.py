"""What is offered is frozen at the call: later changes are not seen, and hostile objects harm only themselves."""

import decimal
import enum
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

from driftwell.capture.snapshot import RefusedError, Unread, freeze, snapshot, thaw


class Hostile:
    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__
    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("no")

    def __array__(self, *args, **kwargs):
        raise RuntimeError("no")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class LoudText(str):
    def __str__(self):
        raise RuntimeError("no")


def shown(value):
    """Unread values compare by what they say."""
    return repr(value)


def frozen_features(features):
    return thaw(snapshot(features, ("prediction",), (1,)))[0]


def test_later_changes_are_not_seen():
    inner, array = [1.0], np.array([1.0, 2.0])
    features = {"a": 1, "inner": inner, "array": array}
    kept = snapshot(features, ("metadata",), ({"deep": inner},))
    features["a"] = 2
    inner.append(2.0)
    array[0] = 99
    again, metadata = thaw(kept)
    assert (again["a"], again["inner"], again["array"].tolist()) == (1, [1.0], [1.0, 2.0])
    assert metadata == {"deep": [1.0]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.longdouble(2), 2.0),
        (decimal.Decimal("1.5"), 1.5),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (LoudText("x"), "x"),
        (pd.NA, None),
        (pd.NaT, Unread("NaT")),
        (np.datetime64("NaT", "us"), Unread("NaT")),
        (np.datetime64("2026-01-01"), datetime(2026, 1, 1, tzinfo=UTC)),
        (pd.Timestamp("2026-01-01T00:00:00.123456789Z"), datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (range(3), [0, 1, 2]),
        (1j, Unread("1j")),
    ],
)
def test_values_of_other_libraries_become_plain(value, expected):
    found = thaw(freeze(value))
    assert shown(found) == shown(expected)


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i4", "|u1", "|b1"])
def test_arrays_keep_type_and_shape(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    found = thaw(freeze(array))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_nan_and_none_stay_apart():
    found = thaw(freeze([float("nan"), None]))
    assert np.isnan(found[0])
    assert found[1] is None


def test_hostile_cells_keep_their_place_unread():
    found = frozen_features({"good": 1.0, "bad": Hostile()})
    assert shown(found) == shown({"good": 1.0, "bad": Unread("<Hostile>")})


def test_lone_surrogates_are_replaced():
    assert frozen_features({"a\ud800": "b\udfff"}) == {"a?": "b?"}


def test_integers_beyond_64_bits_become_floats():
    assert frozen_features({"big": 2**70, "huge": -(10**400)}) == {"big": float(2**70), "huge": float("-inf")}


@pytest.mark.parametrize("name", ["prediction", "score", "metadata", "timestamp"])
def test_a_hostile_field_refuses_the_record_by_name(name):
    with pytest.raises(RefusedError) as refused:
        snapshot({"a": 1}, (name,), (Hostile(),))
    assert refused.value.reason == name


def test_a_hostile_label_is_marked_only():
    assert shown(thaw(snapshot({"a": 1}, ("true_label",), (Hostile(),)))) == shown([{"a": 1}, Unread("")])


def test_what_contains_itself_is_refused():
    loop = {}
    loop["loop"] = loop
    with pytest.raises(RefusedError):
        snapshot(None, ("metadata",), (loop,))


def test_rows_of_other_libraries():
    assert frozen_features(pd.Series({"a": 1.5, "b": 2.0})) == {"a": 1.5, "b": 2.0}
    assert frozen_features(np.array([[1.0, 2.0]])).tolist() == [1.0, 2.0]
    assert frozen_features((1, "x")) == [1, "x"]
    assert frozen_features(MappingProxyType({"a": 1})) == {"a": 1}
    assert frozen_features(None) is None


@pytest.mark.parametrize(
    "features", [3.0, "text", b"bytes", {1, 2}, Hostile(), np.ones((2, 2)), np.float64(1), iter([1])]
)
def test_what_cannot_be_a_row_is_refused(features):
    with pytest.raises(RefusedError, match="features"):
        snapshot(features, (), ())

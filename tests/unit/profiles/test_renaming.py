"""feature_map: what it renames, and the one clear error of each map that cannot be meant."""

from __future__ import annotations

import pyarrow as pa
import pytest

from driftwell.errors import BadInput, ColumnError
from driftwell.profiles import Reference
from driftwell.profiles.reference import rename

TABLE = pa.table({"a": [1.0], "b": [2.0], "c": [3.0]})


@pytest.mark.parametrize(
    ("feature_map", "names"),
    [
        (None, ["a", "b", "c"]),
        ({}, ["a", "b", "c"]),
        ({"a": "x"}, ["x", "b", "c"]),
        ({"a": "a"}, ["a", "b", "c"]),
        ({"a": "b", "b": "a"}, ["b", "a", "c"]),
        ({"a": "b", "b": "c", "c": "a"}, ["b", "c", "a"]),
    ],
)
def test_all_names_change_at_once(feature_map: dict[str, str] | None, names: list[str]) -> None:
    assert rename(TABLE, feature_map).column_names == names


@pytest.mark.parametrize(
    ("feature_map", "says"),
    [
        ({"nowhere": "x"}, "does not have: nowhere"),
        ({"a": "x", "b": "x"}, "gives 'a' and 'b' the one name 'x'"),
        ({"a": "b"}, "a second column the name b: the table has 'b' beside 'a'"),
        ({"a": "b", "b": "x"}, "is a chain, a → b → x"),
        ({"a": "b", "b": "c", "c": "x"}, "is a chain, a → b → c → x"),
    ],
)
def test_map_that_cannot_be_meant_is_one_clear_error(feature_map: dict[str, str], says: str) -> None:
    with pytest.raises(ColumnError, match=says):
        rename(TABLE, feature_map)


@pytest.mark.parametrize("feature_map", [["a"], "ab", {"a": 1}, {1: "a"}])
def test_map_is_a_dict_of_names(feature_map: object) -> None:
    with pytest.raises(BadInput, match="feature_map is a dict"):
        rename(TABLE, feature_map)  # type: ignore[arg-type]


def test_name_the_reference_does_not_have_is_refused_with_the_nearest() -> None:
    ref = Reference.from_data({"age": [1.0, 2.0], "fare": [1.0, 2.0]})
    with pytest.raises(ColumnError, match="'agee', which the reference does not have; did you mean 'age'"):
        ref.profile_of({"age_years": [1.0], "fare": [1.0]}, feature_map={"age_years": "agee"})


def test_output_may_be_mapped_too() -> None:
    ref = Reference.from_data({"x": [1.0, 2.0], "prediction": [0.25, 0.75]})
    found = ref.profile_of({"x": [1.0], "y_hat": [0.5]}, feature_map={"y_hat": "prediction"})
    assert found.outputs["prediction"].mean == 0.5


def test_renamed_column_is_suggested_and_named_in_the_error() -> None:
    ref = Reference.from_data({"customer_age": [1.0, 2.0], "fare": [1.0, 2.0]})
    with pytest.raises(ColumnError, match=r"lacks 'customer_age' \(is it 'customer_ages'\?\).*feature_map=") as caught:
        ref.profile_of({"customer_ages": [1.0], "fare": [1.0]})
    assert "fare" not in str(caught.value)

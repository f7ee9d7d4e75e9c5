"""The reference: built from any table, kept in a file that says when it was touched, the same for the same rows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from driftwell.errors import BadInput, ColumnError, FormatError, MissingReference, UnknownName
from driftwell.profiles import Reference, profile
from driftwell.profiles.reference import rename
from driftwell.profiles.reference.document import FORMAT_VERSION
from driftwell.profiles.reference.roles import ROLES


def rows(n: int = 400, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "age": rng.normal(40, 10, n),
        "city": rng.choice(["Oslo", "Bergen", "Voss"], n).tolist(),
        "member": (rng.random(n) < 0.3).tolist(),
    }


def full(**options: Any) -> Reference:
    table = rows() | {"prediction": [0, 1] * 200, "score": np.linspace(0, 1, 400), "true_label": [1, 0] * 200}
    return Reference.from_data(table, **options)


# -- building ------------------------------------------------------------------------------------------------


def test_kinds_are_inferred_and_can_be_said() -> None:
    table = rows() | {"code": [1, 2] * 200}
    assert Reference.from_data(table).kinds == {
        "age": "numeric",
        "city": "categorical",
        "member": "boolean",
        "code": "numeric",
    }
    assert Reference.from_data(table, kinds={"code": "categorical"}).kinds["code"] == "categorical"


def test_columns_with_a_role_are_no_features() -> None:
    ref = full()
    assert ref.feature_names == ["age", "city", "member"]
    assert ref.roles == {"prediction": "prediction", "score": "score", "true_label": "true_label"}
    assert ref.output_kinds == {"prediction": "categorical", "score": "numeric", "confidence": "numeric"}


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_its_own_name(role: str) -> None:
    ref = Reference.from_data({"x": [1.0, 2.0], role: ["a", "b"]})
    assert ref.feature_names == ["x"]
    assert ref.roles == {role: role}


def test_roles_can_be_given_by_another_name() -> None:
    table = rows() | {"y_hat": [0.5] * 400, "y": [1] * 400, "at": [0] * 400, "id": [str(i) for i in range(400)]}
    ref = Reference.from_data(table, prediction="y_hat", label="y", timestamp="at", prediction_id="id")
    assert ref.feature_names == ["age", "city", "member"]
    assert ref.roles == {"prediction": "y_hat", "true_label": "y", "timestamp": "at", "prediction_id": "id"}
    assert ref.output_kinds == {"prediction": "numeric"}
    found = ref.profile_of(rows() | {"y_hat": [0.25] * 400})
    assert found.outputs["prediction"].mean == 0.25
    # a live table calls it by the role's own name
    assert ref.profile_of(rows() | {"prediction": [0.75] * 400}).outputs["prediction"].mean == 0.75


def test_role_of_a_column_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(ColumnError, match="no column 'predicton' for prediction; did you mean 'prediction'"):
        full(prediction="predicton")


def test_feature_names_choose_columns_of_a_table_and_name_those_of_an_array() -> None:
    assert Reference.from_data(rows(), feature_names=["member", "age"]).feature_names == ["member", "age"]
    array = np.random.default_rng(0).normal(size=(50, 2))
    for table in (array, array.tolist()):
        assert Reference.from_data(table, feature_names=["a", "b"]).feature_names == ["a", "b"]
        assert Reference.from_data(table).feature_names == ["f0", "f1"]
    with pytest.raises(ColumnError, match=r"lacks 'ages' \(is it 'age'\?\)"):
        Reference.from_data(rows(), feature_names=["ages"])


@pytest.mark.parametrize(
    ("predictions", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([10, 9, 2], ["2", "9", "10"]),  # as scikit-learn orders its classes_
        ([-1, 1, 1], ["-1", "1"]),
        ([True, False, True], ["false", "true"]),
        ([0.5, 0.25, 0.1], []),
        (list(range(3)) + [7] * 30, ["0", "1", "2", "7"]),
        (list(range(40)), []),  # too many whole numbers to be labels
    ],
)
def test_classes_of_the_prediction(predictions: list[Any], classes: list[str]) -> None:
    table = {"x": np.arange(len(predictions), dtype=float), "prediction": predictions}
    assert Reference.from_data(table).classes == classes


def test_kind_of_the_prediction_can_be_said() -> None:
    table = {"x": [1.0, 2.0], "prediction": [0, 1]}
    assert Reference.from_data(table, kinds={"prediction": "numeric"}).output_kinds == {"prediction": "numeric"}


def test_columns_without_a_kind_are_listed_with_the_reason() -> None:
    ref = Reference.from_data(rows() | {"wait": pa.array([0] * 400, pa.duration("us"))})
    assert "wait" not in ref.kinds
    assert "duration" in ref.ignored["wait"]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"table": {"x": []}}, BadInput, "needs rows"),
        ({"table": {"prediction": [1, 2]}}, BadInput, "no column can be a feature"),
        ({"table": {"x": ["a"]}, "kinds": {"x": "numeric"}}, ColumnError, "'x' cannot be numeric: text where"),
        ({"table": {"x": [1]}, "kinds": {"xx": "numeric"}}, ColumnError, r"lacks 'xx' \(is it 'x'\?\)"),
        ({"table": {"x": [1]}, "kinds": {"x": "number"}}, UnknownName, "column kind 'number'"),
        ({"table": {"x": [1]}, "performance": 5}, BadInput, "performance is a dict .* Got 5"),
        ({"table": {"x": [1]}, "feature_names": ["x", "x"]}, BadInput, "feature_names has 'x' twice"),
        ({"table": {"x": [1]}, "preprocessing": [5]}, BadInput, "functions or transformers. Got 5"),
        ({"table": {"x": [1]}, "performance": {"accuracy": "high"}}, BadInput, "must be a number. Got 'high'"),
        ({"table": {"x": [1]}, "performance": {"accuracy": float("nan")}}, BadInput, "must be finite"),
        ({"table": {"x": [1]}, "importance": {"y": 0.5}}, ColumnError, "importance: the table lacks 'y'"),
        ({"table": {"x": [1]}, "importance": object()}, BadInput, "a fitted model"),
        ({"table": np.zeros((3, 2)), "feature_names": ["a"]}, ColumnError, "has 2 columns, 1 are expected"),
    ],
)
def test_bad_arguments_are_one_clear_error(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Reference.from_data(**arguments)


def test_importance_comes_from_a_mapping_or_a_model() -> None:
    table = {"a": np.random.default_rng(0).normal(size=60), "b": np.random.default_rng(1).normal(size=60)}
    x, y = pd.DataFrame(table), np.array(table["a"]) > 0
    assert Reference.from_data(table, importance={"a": 2}).importance == {"a": 2.0}
    forest = RandomForestClassifier(5, random_state=0).fit(x, y)
    found = Reference.from_data(table, importance=forest).importance
    assert found == dict(zip("ab", map(float, forest.feature_importances_), strict=True))
    linear = LogisticRegression().fit(x, y)
    assert Reference.from_data(table, importance=linear).importance["a"] == abs(float(linear.coef_[0][0]))
    nameless = LogisticRegression().fit(x.to_numpy(), y)
    assert list(Reference.from_data(table, importance=nameless).importance) == ["a", "b"]
    with pytest.raises(BadInput, match="2 importances for 1 features"):
        Reference.from_data({"a": table["a"]}, importance=nameless)


# -- identity ------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.permutations(range(60)))
def test_id_does_not_depend_on_order_name_version_or_time(order: list[int]) -> None:
    table = pa.table(rows(60))
    ref = Reference.from_data(table)
    shuffled = table.take(order).select(["member", "city", "age"])
    assert Reference.from_data(shuffled, name="other", version="v9", preprocessing=["scale"]).id == ref.id


def test_id_depends_on_rows_and_kinds() -> None:
    table = pa.table(rows() | {"code": [1, 2] * 200})
    ids = {
        Reference.from_data(table).id,
        Reference.from_data(table.slice(1)).id,
        Reference.from_data(table, kinds={"code": "categorical"}).id,
        Reference.from_data(table.select(["age", "city"])).id,
        Reference.from_data(rows(seed=1)).id,
    }
    assert len(ids) == 5


def test_edges_id_is_that_of_the_bins_alone() -> None:
    once = Reference.from_data({"x": [1.0, 2.0]})
    thrice = Reference.from_data({"x": [1.0, 2.0] * 3})
    assert once.edges_id == thrice.edges_id
    assert once.id != thrice.id


# -- profiling against it ------------------------------------------------------------------------------------


def test_columns_are_matched_by_name_and_further_ones_ignored() -> None:
    ref = Reference.from_data(rows())
    table = pa.table(rows(seed=2))
    want = profile(table, ref).to_bytes()
    assert profile(table.select(["member", "age", "city"]), ref).to_bytes() == want
    assert profile(table.append_column("further", pa.array([1] * 400)), ref).to_bytes() == want


def test_arrays_take_the_names_by_position(tmp_path: Path) -> None:
    ref = Reference.from_data({"a": [1.0, 2.0, 3.0], "b": [10.0, 20.0, 30.0]})
    array = np.array([[1.5, 15.0], [2.5, 25.0]])
    np.save(tmp_path / "now.npy", array)
    want = ref.profile_of({"a": [1.5, 2.5], "b": [15.0, 25.0]}).to_bytes()
    for table in (array, array.tolist(), tuple(map(tuple, array)), tmp_path / "now.npy", str(tmp_path / "now.npy")):
        assert ref.profile_of(table).to_bytes() == want
    one = Reference.from_data({"price": [1.0, 2.0]})
    assert one.profile_of(np.array([1.0])).to_bytes() == one.profile_of({"price": [1.0]}).to_bytes()
    with pytest.raises(ColumnError, match="the array has 3 columns, 2 are expected: a, b"):
        ref.profile_of(np.zeros((4, 3)))


def test_renamed_column_is_suggested_never_assumed() -> None:
    ref = Reference.from_data(rows())
    table = pa.table(rows()).rename_columns(["age_years", "city", "member"])
    with pytest.raises(ColumnError, match=r"feature_map=\{'new': 'old'\}"):
        ref.profile_of(table)
    mapped = ref.profile_of(table, feature_map={"age_years": "age"})
    assert mapped.to_bytes() == ref.profile_of(rows()).to_bytes()


@pytest.mark.parametrize(
    ("feature_map", "says"),
    [({"nowhere": "age"}, "does not have: nowhere"), ({"city": "age"}, "a second column the name age")],
)
def test_map_that_fits_no_column_is_an_error(feature_map: dict[str, str], says: str) -> None:
    with pytest.raises(ColumnError, match=says):
        rename(pa.table(rows()), feature_map)


def test_map_may_swap_two_names() -> None:
    swapped = rename(pa.table({"a": [1], "b": [2]}), {"a": "b", "b": "a"})
    assert swapped.to_pydict() == {"b": [1], "a": [2]}


def test_absent_columns_of_a_batch_count_as_unread() -> None:
    ref = Reference.from_data(rows())
    found = ref.profile_table(pa.table({"age": [1.0, 2.0]}))
    assert list(found.columns) == ["age"]
    assert found.n_rows == 2
    assert found.unread == {"city": "the column is absent", "member": "the column is absent"}
    assert ref.profile_table(pa.table({"further": [1, 2]})).n_rows == 2


# -- files ---------------------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    ref = full(
        name="flights",
        version="v1.2.0",
        preprocessing=["impute", "scale"],
        performance={"accuracy": 0.85},
        importance={"age": 2},
    )
    path = tmp_path / "artifacts" / "v1.2.0" / "reference_distribution.json"
    ref.save(path)
    found = Reference.load(path)
    for what in ("id", "edges_id", "kinds", "roles", "name", "version", "preprocessing", "performance", "importance",
                 "ignored", "created", "n_rows", "classes", "feature_names", "output_kinds"):  # fmt: skip
        assert getattr(found, what) == getattr(ref, what), what
    assert found.profile.to_bytes() == ref.profile.to_bytes()
    assert found.profile_of(rows(seed=3)).to_bytes() == ref.profile_of(rows(seed=3)).to_bytes()
    assert found.to_json() == ref.to_json()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_file_says_what_it_holds(tmp_path: Path) -> None:
    document = json.loads(full(name="flights").to_json())
    assert document["n_rows"] == 400
    age = document["features"][0]
    assert (age["name"], age["kind"]) == ("age", "numeric")
    assert age["summary"]["mean"] == pytest.approx(np.mean(rows()["age"]))


@pytest.mark.parametrize(
    "table",
    [{"x": [None, None]}, {"x": [float("nan")]}, {"x": [float("inf"), 1.0]}, {"x": [1.7e308, -1.7e308]}, {"c": [""]}],
)
def test_odd_references_are_saved_and_loaded(table: dict[str, Any]) -> None:
    ref = Reference.from_data(table)
    assert Reference.from_json(ref.to_json()).id == ref.id


def test_raw_values_are_loaded_from_npy(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=500)
    np.save(tmp_path / "ref.npy", values)
    ref = Reference.load(tmp_path / "ref.npy")
    assert ref.kinds == {"value": "numeric"}
    assert ref.id == Reference.from_data(values).id


def test_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingReference, match="run 'driftwell baseline DATA -o"):
        Reference.load(tmp_path / "nowhere.json")


def altered(change: Any) -> bytes:
    document = json.loads(full().to_json())
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1, 2]", "is not a Driftwell reference"),
        (b'{"format": "other"}', "is not a Driftwell reference"),
        (b'{"format": "driftwell-reference"}', "newer Driftwell"),
        (b'{"format": "driftwell-reference", "format_version": 1}', "is corrupt"),
        (altered(lambda d: d.update(format_version=FORMAT_VERSION + 1)), "newer Driftwell .* upgrade"),
        (altered(lambda d: d["features"][0]["bins"]["edges"].__setitem__(0, -1e9)), "do not belong to its counts"),
        (altered(lambda d: d["features"][0].update(kind="boolean")), "was altered"),
        (altered(lambda d: d["features"][0].update(name="years")), "do not belong to its counts"),
        (altered(lambda d: d.update(id="0" * 16)), "was altered"),
        (altered(lambda d: d.pop("id")), "was altered"),
        (altered(lambda d: d.update(state=d["state"][:-8])), "corrupt"),
        (altered(lambda d: d.update(state="###")), "is corrupt"),
        (altered(lambda d: d.update(features=None)), "is corrupt"),
        (altered(lambda d: d.update(created=5)), "is corrupt"),
        (altered(lambda d: d.update(n_rows=401)), "another number of rows"),
        (
            altered(lambda d: d["sample"].update(arrow=d["sample"]["arrow"][:-4])),
            "row sample does not fit its checksum",
        ),
        (altered(lambda d: d["sample"].update(rows=3)), "row sample has another number of rows"),
        (altered(lambda d: d["history"].update(later="")), "is corrupt"),
        (altered(lambda d: d.update(performance={"accuracy": "good"})), "is corrupt"),
    ],
)
def test_damaged_documents_are_one_clear_error(data: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        Reference.from_json(data)


@pytest.mark.parametrize(
    ("key", "value"),
    [("performance", {"accuracy": 0.9}), ("name", "renamed"), ("preprocessing", ["scale"]), ("parent", "0" * 16)],
)
def test_an_altered_document_is_refused_whatever_was_altered(key: str, value: Any) -> None:
    with pytest.raises(FormatError, match=r"was altered: .* digest"):
        Reference.from_json(altered(lambda d: d.update({key: value})))


def test_baseline_may_be_edited_by_hand_where_the_digest_is_taken_out() -> None:
    def edit(document: dict[str, Any]) -> None:
        del document["digest"]
        document.update(performance={"accuracy": 0.9}, name="renamed")

    found = Reference.from_json(altered(edit))
    assert (found.performance, found.name, found.id) == ({"accuracy": 0.9}, "renamed", full().id)


def test_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a_folder").mkdir()
    (tmp_path / "a_file").write_text("")
    for target in (tmp_path / "a_folder", tmp_path / "a_file" / "ref.json"):
        with pytest.raises(BadInput, match="cannot write"):
            full().save(target)
    assert sorted(os.listdir(tmp_path)) == ["a_file", "a_folder"]
    assert os.listdir(tmp_path / "a_folder") == []


def test_folder_is_no_reference(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read"):
        Reference.load(tmp_path)


def test_saving_replaces_the_whole_file_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ref.json"
    full(name="first").save(path)

    def full_disk(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(BadInput, match="No space left"):
        full(name="second").save(path)
    assert Reference.load(path).name == "first"
    assert os.listdir(tmp_path) == ["ref.json"]

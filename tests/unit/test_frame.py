"""Whatever users call a table becomes the same Arrow columns, and each column says what it is."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from driftwell.errors import BadInput, ColumnError, UnknownName
from driftwell.frame import (
    KINDS,
    CodedColumn,
    Column,
    Frame,
    NumericColumn,
    UnreadColumn,
    VectorColumn,
    infer_kind,
    read_table,
    text_of,
)
from driftwell.profiles import Profile, Reference, profile

ROWS = {"age": [31.0, 44.0, None], "city": ["Oslo", None, "Bergen"], "member": [True, False, None]}
"""One table with a missing cell in every column, written down once and read in every form."""


def column(table: Any, name: str | None = None, **options: Any) -> Column:
    """The typed column of that name; without a name the only one."""
    arrow = read_table(table)
    return Frame.of(arrow, **options).columns[name or arrow.column_names[0]]


def numeric(table: Any, name: str | None = None, **options: Any) -> NumericColumn:
    found = column(table, name, **options)
    assert isinstance(found, NumericColumn)
    return found


def coded(table: Any, name: str | None = None, **options: Any) -> CodedColumn:
    found = column(table, name, **options)
    assert isinstance(found, CodedColumn)
    return found


def cells(found: CodedColumn) -> list[str | None]:
    """The categories row by row."""
    return [None if code < 0 else found.categories[code] for code in found.codes.tolist()]


# -- every form of a table -----------------------------------------------------------------------------------


def as_records(rows: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]


FORMS = {
    "pyarrow": pa.table(ROWS),
    "record batch": pa.record_batch(ROWS),
    "reader": pa.table(ROWS).to_reader(),
    "chunked": pa.concat_tables([pa.table(ROWS).slice(0, 1), pa.table(ROWS).slice(1)]),
    "pandas": pd.DataFrame({"age": ROWS["age"], "city": ROWS["city"], "member": pd.array(ROWS["member"], "boolean")}),
    "polars": pl.DataFrame(ROWS),
    "dict of lists": ROWS,
    "dict of arrays": {"age": pa.array(ROWS["age"]), "city": pl.Series(ROWS["city"]), "member": ROWS["member"]},
    "list of dicts": as_records(ROWS),
    "dicts with missing keys": [{k: v for k, v in row.items() if v is not None} for row in as_records(ROWS)],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_columns(form: str) -> None:
    frame = Frame.of(read_table(FORMS[form]))
    age, city, member = frame.columns["age"], frame.columns["city"], frame.columns["member"]
    assert isinstance(age, NumericColumn)
    assert isinstance(city, CodedColumn)
    assert isinstance(member, CodedColumn)
    assert frame.n_rows == 3
    assert age.values[:2].tolist() == [31.0, 44.0]
    assert age.missing is not None
    assert age.missing.tolist() == [False, False, True]
    assert cells(city) == ["Oslo", None, "Bergen"]
    assert member.kind == "boolean"
    assert cells(member) == ["true", "false", None]


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.5, 2.5]),
        [1.5, 2.5],
        (1.5, 2.5),
        pd.Series([1.5, 2.5], name="price"),
        pl.Series("price", [1.5, 2.5]),
        pa.array([1.5, 2.5]),
        pa.chunked_array([[1.5], [2.5]]),
    ],
    ids=lambda v: f"{type(v).__module__}.{type(v).__name__}",
)
def test_one_dimension_is_one_column_value(values: Any) -> None:
    table = read_table(values)
    assert table.column_names == ["value"]
    assert table["value"].to_pylist() == [1.5, 2.5]
    assert read_table(values, feature_names=["age"]).column_names == ["age"]


@pytest.mark.parametrize("rows", [np.arange(6.0).reshape(3, 2), np.arange(6.0).reshape(3, 2).tolist()])
def test_two_dimensions_are_columns_by_position(rows: Any) -> None:
    assert read_table(rows).column_names == ["f0", "f1"]
    named = read_table(rows, feature_names=["a", "b"])
    assert named.to_pydict() == {"a": [0.0, 2.0, 4.0], "b": [1.0, 3.0, 5.0]}


def test_width_other_than_the_names_is_an_error() -> None:
    with pytest.raises(ColumnError, match="the array has 2 columns, 3 are expected: a, b, c"):
        read_table(np.zeros((4, 2)), feature_names=["a", "b", "c"])


def test_names_of_a_table_beat_feature_names() -> None:
    assert read_table(pa.table({"x": [1]}), feature_names=["y"]).column_names == ["x"]


def test_structured_array_has_its_own_names() -> None:
    array = np.array([(1, 2.5), (3, 4.5)], dtype=[("n", "i4"), ("x", "f8")])
    assert read_table(array).to_pydict() == {"n": [1, 3], "x": [2.5, 4.5]}


def test_rows_of_lists_keep_numbers_beside_text() -> None:
    table = read_table([[1, "a"], [2, "b"]])
    assert table.to_pydict() == {"f0": [1, 2], "f1": ["a", "b"]}


def test_dicts_may_have_keys_that_are_no_text() -> None:
    assert read_table([{1: 2.0}, {1: 3.0}]).to_pydict() == {"1": [2.0, 3.0]}


def test_empty_list_is_a_table_without_rows() -> None:
    assert read_table([]).num_rows == 0
    assert read_table([], feature_names=["a", "b"]).column_names == ["a", "b"]


@pytest.mark.parametrize("dtype", [">f8", ">i4", "float16", "longdouble", "uint8", "uint64"])
def test_arrays_of_any_number_type_are_read(dtype: str) -> None:
    assert numeric(np.array([1, 2, 200], dtype)).values.tolist() == [1.0, 2.0, 200.0]


def test_masked_array_masks_are_missing() -> None:
    found = numeric(np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False]))
    assert found.missing is not None
    assert found.missing.tolist() == [False, True, False]


def test_unnamed_pandas_index_is_no_column() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})
    assert read_table(frame[frame.a > 1]).column_names == ["a"]


def test_pandas_index_left_in_a_file_is_no_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=[7, 9])
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").column_names == ["a"]


# -- what is no table ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pl.DataFrame({"a": [1]}).lazy(), "call .collect()"),
        (None, "cannot read a table from NoneType"),
        (3.0, "cannot read a table from float"),
        (np.zeros((2, 2, 2)), "1 or 2 dimensions"),
        ({"a": 1}, "must be an array or a list, not one int"),
        ({"a": "text"}, "must be an array or a list, not one str"),
        ({"a": np.array(1.0)}, "must be an array or a list"),
        ({"a": [1], "b": [1, 2]}, "unequal length"),
        ([{"a": 1}, 5], "must hold dicts only"),
        ([[1.0], [1.0, 2.0]], "rows of equal length"),
        ({"\udc80": [1]}, "not valid text"),
    ],
)
def test_what_is_no_table_is_one_clear_error(table: Any, says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)):
        read_table(table)


@pytest.mark.parametrize(
    "table",
    [pa.table([[1], [2]], names=["a", "a"]), pd.DataFrame([[1, 2]], columns=["a", "a"]), {"1": [1], 1: [2]}],
    ids=["pyarrow", "pandas", "dict"],
)
def test_columns_named_twice_are_refused(table: Any) -> None:
    with pytest.raises(ColumnError, match="named twice"):
        read_table(table)


# -- one bad column never spoils the others ------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        pd.Series([1, "x"], dtype=object),
        pd.Series([1j, 2j]),
        pd.arrays.SparseArray([0, 1]),
        pd.Series([object(), object()]),
    ],
    ids=["mixed", "complex", "sparse", "objects"],
)
def test_pandas_column_arrow_refuses_leaves_the_others(bad: Any) -> None:
    frame = Frame.of(read_table(pd.DataFrame({"good": [1.5, 2.5], "bad": bad})))
    good = frame.columns["good"]
    assert isinstance(good, NumericColumn)
    assert good.values.tolist() == [1.5, 2.5]


MIXED = [1, "x", None, 2.5, True, float("inf"), float("nan")]


def test_mixed_column_is_categorical_by_itself() -> None:
    assert cells(coded({"a": MIXED})) == ["1", "x", None, "2.5", "true", "inf", None]


def test_mixed_column_read_as_numbers_counts_the_rest_as_invalid() -> None:
    found = numeric({"a": MIXED}, kinds={"a": "numeric"})
    assert found.missing is not None
    assert found.values[~found.missing].tolist() == [1.0, 2.5, 1.0]
    # "x" and the infinity, which JSON cannot hold; None and NaN are missing, not invalid
    assert found.invalid == 2


def test_mixed_column_read_as_booleans_counts_the_rest_as_invalid() -> None:
    found = coded({"a": [True, "x", 0, 7, None]}, kinds={"a": "boolean"})
    assert cells(found) == ["true", None, "false", None, None]
    assert found.invalid == 2


def test_pandas_words_for_missing_are_missing() -> None:
    assert cells(coded({"a": [1, "x", pd.NA, pd.NaT]})) == ["1", "x", None, None]


def test_numbers_beyond_int64_are_numbers() -> None:
    values = numeric({"a": [2**70, 1, 2**60 + 1, 1.5, -(10**400)]}).values
    assert values.tolist() == [2.0**70, 1.0, float(2**60 + 1), 1.5, -np.inf]


def test_text_that_is_no_unicode_becomes_visible_escapes() -> None:
    assert cells(coded({"a": ["\udc80", "ok"]})) == [r"\udc80", "ok"]


# -- files ---------------------------------------------------------------------------------------------------


def test_every_file_form_gives_the_same_rows(tmp_path: Path) -> None:
    rows = {"age": [31.5, 44.5], "city": ["Oslo", "Bergen"]}
    table = pa.table(rows)
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    pyarrow.feather.write_feather(table, tmp_path / "t.arrow")
    (tmp_path / "t.csv").write_text("age,city\n31.5,Oslo\n44.5,Bergen\n")
    (tmp_path / "t.tsv").write_text("age\tcity\n31.5\tOslo\n44.5\tBergen\n")
    (tmp_path / "t.jsonl").write_text('{"age":31.5,"city":"Oslo"}\r\n\n{"age":44.5,"city":"Bergen"}\n')
    (tmp_path / "t.json").write_text('[{"age":31.5,"city":"Oslo"},{"age":44.5,"city":"Bergen"}]')
    (tmp_path / "saved.json").write_text('{"predictions":[{"age":31.5,"city":"Oslo"},{"age":44.5,"city":"Bergen"}]}')
    for path in tmp_path.iterdir():
        assert read_table(path).to_pydict() == rows, path.name
        assert read_table(str(path)).to_pydict() == rows, path.name


def test_compressed_csv_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n1,x\n"))
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(b"a\tb\n1\tx\n"))
    for name in ("t.csv.gz", "t.tsv.gz"):
        assert read_table(tmp_path / name).to_pydict() == {"a": [1], "b": ["x"]}


def test_one_column_whose_quoted_name_has_a_semicolon_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('"a;b"\n1\n')
    assert read_table(tmp_path / "t.csv").to_pydict() == {"a;b": [1]}


@pytest.mark.parametrize("address", ["http://example.com/t.csv", "s3://bucket/t.parquet", Path("https://x.org/t.csv")])
def test_addresses_are_not_read(address: Any) -> None:
    with pytest.raises(BadInput, match="addresses are not read"):
        read_table(address)


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is a folder: use a glob such as .*/\*\.parquet"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    "table", [profile({"a": [1.0]}), Reference.from_data({"a": [1.0]})], ids=["profile", "reference"]
)
def test_counts_are_no_rows(table: Any) -> None:
    with pytest.raises(BadInput, match="holds counts, no rows: pass the rows"):
        read_table(table)


def test_npy_goes_by_the_rule_of_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(4.0).reshape(2, 2))
    assert read_table(tmp_path / "a.npy").column_names == ["f0", "f1"]
    assert read_table(tmp_path / "a.npy", feature_names=["x", "y"]).column_names == ["x", "y"]


def test_glob_reads_files_in_order_and_fills_absent_columns(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("x,y\n2,u\n")
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert read_table(str(tmp_path / "*.csv")).to_pydict() == {"x": [1, 2], "y": [None, "u"]}


def test_file_whose_name_looks_like_a_glob_is_read(tmp_path: Path) -> None:
    (tmp_path / "data[1].csv").write_text("x\n1\n")
    assert read_table(tmp_path / "data[1].csv").to_pydict() == {"x": [1]}


def test_csv_cells_without_a_type_are_parsed_and_empty_ones_missing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n,s,b,e\n1,x,true,\n,,false,\n2.5,NA,,\n")
    table = read_table(tmp_path / "t.csv")
    assert table.to_pydict() == {
        "n": [1.0, None, 2.5],
        "s": ["x", None, None],
        "b": [True, False, None],
        "e": [None, None, None],
    }


def test_files_with_columns_of_other_types_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "b.csv").write_text("x\nhello\n")
    with pytest.raises(ColumnError, match="do not have the same columns"):
        read_table(str(tmp_path / "*.csv"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("cell.csv", "a,b\nM\xfcller,1\n".encode("latin-1"), "save the file as UTF-8"),
        ("head.csv", "\xfc,b\nx,1\n".encode("latin-1"), "save it as UTF-8"),
        ("text.jsonl", '{"a":"M\xfcller"}\n'.encode("latin-1"), "save it as UTF-8"),
        ("twice.csv", b"a,a\n1,2\n", "named twice"),
        ("ragged.csv", b"a,b\n1\n", "Expected 2 columns"),
        ("empty.csv", b"", "Empty CSV"),
        ("cut.parquet", b"PAR1abcd", "cannot read"),
        ("empty.parquet", b"", "cannot read"),
        ("cut.jsonl", b'{"a": 1}\n{"a": ', "cannot read"),
        ("scalar.json", b"3", "list of rows"),
        ("empty.npy", b"", "cannot read"),
        ("text.npy", b"hello, this is no array", "save an array of numbers"),
        ("sheet.xlsx", b"PK", "the suffix must be one of"),
        ("semicolons.csv", b"a;b\n1;2\n", "the head is one name with ';' in it"),
        ("decimals.csv", b"a;b\n1,5;2,5\n", "the head is one name with ';' in it"),
        ("commas.tsv", b"a,b\n1,2\n", "the head is one name with ',' in it"),
    ],
)
def test_unreadable_file_is_one_clear_error(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=says) as caught:
        read_table(tmp_path / name)
    assert name in str(caught.value)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(BadInput, match="pickled objects, which are never read"):
        read_table(tmp_path / "o.npy")


def test_several_arrays_in_one_file_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", a=np.zeros(2))
    (tmp_path / "z.npz").rename(tmp_path / "z.npy")
    with pytest.raises(BadInput, match="several arrays"):
        read_table(tmp_path / "z.npy")


def test_absent_file_and_empty_glob_are_errors(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(BadInput, match="no file matches"):
        read_table(str(tmp_path / "*.csv"))


# -- kinds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (pa.int8(), "numeric"),
        (pa.uint64(), "numeric"),
        (pa.float16(), "numeric"),
        (pa.decimal128(10, 2), "numeric"),
        (pa.null(), "numeric"),
        (pa.bool_(), "boolean"),
        (pa.string(), "categorical"),
        (pa.large_string(), "categorical"),
        (pa.string_view(), "categorical"),
        (pa.dictionary(pa.int8(), pa.int64()), "categorical"),
        (pa.timestamp("us"), "datetime"),
        (pa.timestamp("ns", "Europe/Oslo"), "datetime"),
        (pa.date32(), "datetime"),
        (pa.date64(), "datetime"),
        (pa.list_(pa.float64()), "series"),
        (pa.large_list(pa.int16()), "series"),
        (pa.list_(pa.null()), "series"),
        (pa.list_(pa.int8(), 4), "series"),
        (pa.list_(pa.float32(), 4), "vector"),
        (pa.list_(pa.string()), None),
        (pa.time64("us"), None),
        (pa.duration("s"), None),
        (pa.struct([("a", pa.int8())]), None),
        (pa.binary(), None),
    ],
    ids=str,
)
def test_kind_of_an_arrow_type(data: pa.DataType, kind: str | None) -> None:
    assert infer_kind(data) == kind


def test_type_without_a_kind_is_said_not_dropped() -> None:
    found = column({"wait": [dt.timedelta(1)]})
    assert isinstance(found, UnreadColumn)
    assert "duration" in found.reason


def test_text_of_digits_stays_categorical() -> None:
    assert coded({"zip": ["0151", "0152"]}).categories == ("0151", "0152")


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'numeric'"):
        Frame.of(read_table({"a": [1]}), kinds={"a": "numerical"})


def test_text_where_numbers_are_expected_is_a_changed_type() -> None:
    found = column({"a": ["x", "y"]}, kinds={"a": "numeric"})
    assert isinstance(found, UnreadColumn)
    assert (found.reason, found.found) == ("text where numeric values were expected", "categorical")


def test_column_of_missing_text_is_readable_as_any_kind() -> None:
    table = pa.table({"a": pa.array([None, None], pa.string())})
    for kind in ("numeric", "categorical", "boolean"):
        found = column(table, kinds={"a": kind})
        assert not isinstance(found, UnreadColumn)
        assert found.kind == kind


@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical([3, 1, None, 3]),
        pl.Series(["3", "1", None, "3"], dtype=pl.Categorical),
        pl.Series(["3", "1", None, "3"], dtype=pl.Enum(["1", "3"])),
        pa.array([3, 1, None, 3]).dictionary_encode(),
        pa.chunked_array([pa.array(["3", "1"]).dictionary_encode(), pa.array([None, "3"]).dictionary_encode()]),
        pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1], pa.uint8()), pa.array(["1", "3"])),
    ],
    ids=["pandas", "polars categorical", "polars enum", "ints", "two dictionaries", "uint8"],
)
def test_categories_of_any_type_have_canonical_text(values: Any) -> None:
    assert cells(coded({"a": values}, kinds={"a": "categorical"})) == ["3", "1", None, "3"]


def test_dictionary_entries_of_one_text_are_one_category() -> None:
    values = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, None]), pa.array(["a", "a", None]))
    found = coded({"a": values})
    assert found.categories == ("a",)
    assert found.codes.tolist() == [0, 0, -1, -1]


def test_numbers_as_categories_leave_nan_missing() -> None:
    values = np.array([1.0, -0.0, 0.0, 2.5, np.nan])
    assert cells(coded(values, kinds={"value": "categorical"})) == ["1", "0", "0", "2.5", None]


def test_dictionary_of_numbers_can_be_numeric() -> None:
    assert numeric({"a": pa.array([3, 1]).dictionary_encode()}, kinds={"a": "numeric"}).values.tolist() == [3.0, 1.0]


def test_numbers_as_booleans_count_the_others_as_invalid() -> None:
    found = coded(np.array([0.0, 1.0, 2.0, np.nan]), kinds={"value": "boolean"})
    assert cells(found) == ["false", "true", None, None]
    assert found.invalid == 1


def test_null_and_nan_are_told_apart() -> None:
    found = numeric(pa.table({"a": pa.array([1.0, None, float("nan")])}))
    assert found.missing is not None
    assert found.missing.tolist() == [False, True, False]
    assert np.isnan(found.values[2])


def test_decimals_are_correctly_rounded() -> None:
    # Python's own conversion is correctly rounded; Arrow's cast is not (7.38640 becomes 7.386400000000001).
    values = [decimal.Decimal("7.38640"), decimal.Decimal("392.1376582197"), None]
    found = numeric({"a": values})
    assert found.values[:2].tolist() == [float(values[0]), float(values[1])]


@pytest.mark.parametrize(
    "data", [pa.string(), pa.float64(), pa.bool_(), pa.dictionary(pa.int8(), pa.string()), pa.null()]
)
@pytest.mark.parametrize("kind", ["numeric", "categorical", "boolean"])
def test_columns_without_rows_are_read(data: pa.DataType, kind: str) -> None:
    for empty in (pa.chunked_array([], data), pa.chunked_array([pa.array([], data)])):
        frame = Frame.of(pa.table({"a": empty}), kinds={"a": kind})
        found = frame.columns["a"]
        assert frame.n_rows == 0
        assert not isinstance(found, UnreadColumn)
        assert len(found.values if isinstance(found, NumericColumn) else found.codes) == 0


def test_slices_and_offsets_are_respected() -> None:
    table = pa.table({"a": [1.0, None, 3.0, 4.0], "s": ["x", "y", None, "z"]}).slice(1, 2)
    assert numeric(table, "a").values[1] == 3.0
    assert cells(coded(table, "s")) == ["y", None]


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (3.0, "3"), (-0.0, "0"), (2.5, "2.5"), (True, "true"), (np.bool_(False), "false"), (1e300, "1e+300"),
     (np.float32(0.5), "0.5"), ("x", "x")],
)  # fmt: skip
def test_text_of_a_category(value: Any, text: str) -> None:
    assert text_of(value) == text


# -- numbers that float64 cannot hold ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "rounded"),
    [
        (pa.array([2**53, -(2**53), None], pa.int64()), 0),
        (pa.array([2**53 + 1, 2**53 + 2, 0], pa.int64()), 1),
        (pa.array([2**63 - 1, -(2**63), -(2**63) + 1], pa.int64()), 2),
        (pa.array([2**64 - 1, 2**63, 2**53 + 1], pa.uint64()), 2),
        (pa.array([decimal.Decimal("0.1"), decimal.Decimal("-2.50"), None], pa.decimal128(30, 2)), 0),
        (pa.array([decimal.Decimal(2**53 + 1), decimal.Decimal(2**53 + 2)], pa.decimal128(30, 0)), 1),
        (pa.array([decimal.Decimal("12345678901234.567"), decimal.Decimal("1e20")], pa.decimal128(30, 3)), 1),
        (pa.array([decimal.Decimal("0.12345678901234567890")], pa.decimal256(40, 20)), 1),
    ],
    ids=str,
)
def test_values_that_float64_cannot_hold_are_counted(values: pa.Array, rounded: int) -> None:
    """By hand: float64 holds all integers to 2**53, from there to 2**54 every second, at 1.2e13 every 1/512."""
    found = numeric({"a": values})
    assert found.rounded == rounded
    want = [float(v) for v in values.drop_null().to_pylist()]
    assert found.values[: len(want)].tolist() == want


def test_rounded_values_merge_and_are_kept() -> None:
    one, two = profile({"a": [2**53 + 1, 5]}), profile({"a": [2**60 + 1]})
    state = Profile.from_bytes(one.merge(two).to_bytes()).columns["a"]
    assert state.rounded == 2  # type: ignore[union-attr]


# -- one column in several clothes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        pa.array([3, 4], pa.int64()),
        pa.array([3.0, 4.0]),
        pa.array([decimal.Decimal("3.00"), decimal.Decimal("4.00")]),
        pa.array(["3", "4"]),
        pa.array(["3", "4"]).dictionary_encode(),
        ["3", 4.0],
    ],
    ids=lambda v: str(getattr(v, "type", "mixed")),
)
def test_categories_match_as_numbers_and_as_text(other: Any) -> None:
    frame = Frame.of(read_table({"a": other}), kinds={"a": "categorical"})
    found = frame.columns["a"]
    assert isinstance(found, CodedColumn)
    assert found.categories == ("3", "4")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_when_the_type_changed_and_takes_nulls(kind: str) -> None:
    odd = {"numeric": ["a"], "boolean": ["a"], "categorical": [[1.0]], "text": [1.5]}.get(kind, ["a"])
    found = Frame.of(read_table({"a": odd}), kinds={"a": kind}).columns["a"]
    assert isinstance(found, UnreadColumn)
    assert f"where {kind} values were expected" in found.reason
    assert found.found == infer_kind(read_table({"a": odd})["a"].type)
    for empty in (pa.nulls(2), pa.array([None, None], pa.string())):
        column = Frame.of(pa.table({"a": empty}), kinds={"a": kind}).columns["a"]
        assert column.kind == kind
        assert profile_missing(column) == 2


def profile_missing(column: Any) -> int:
    if isinstance(column, CodedColumn):
        return int((column.codes < 0).sum())
    return int(column.missing.sum())


def test_two_dimensional_array_is_a_column_of_vectors() -> None:
    rows = np.arange(6.0).reshape(3, 2)
    found = column({"a": rows[:, ::-1]})
    assert isinstance(found, VectorColumn)
    assert found.values.tolist() == rows[:, ::-1].tolist()
    assert column({"a": rows.astype(int)}).kind == "series"


def test_cells_of_several_types_are_no_series() -> None:
    found = Frame.of(read_table({"a": [[1.0], 2.0, "x"]}), kinds={"a": "series"}).columns["a"]
    assert isinstance(found, UnreadColumn)
    assert found.reason == "cells of several types where series values were expected"


def _deep(levels: int, wrap: Any) -> Any:
    value: Any = 1.0
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, lambda v: {"a": v}.values()])
def test_cells_nested_too_deep_for_arrow_are_refused(wrap: Any) -> None:
    """Arrow itself ends the process at some 10,000 levels."""
    deep = _deep(100_000, wrap)
    own: list[Any] = []
    own.append(own)
    tables = [[{"a": deep}], {"a": [1.0, deep]}, pd.DataFrame({"a": pd.Series([deep], dtype=object)}), [{"a": own}]]
    for table in tables:
        with pytest.raises(BadInput, match="nested deeper than 32 levels"):
            read_table(table)
    assert read_table([{"a": _deep(30, wrap)}]).num_rows == 1

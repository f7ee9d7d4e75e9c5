"""Streams from outside: what is taken, and what is refused before it becomes large or runs anything."""

from __future__ import annotations

import io
import random
import tracemalloc
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from driftwell.capture.wire.arrow_stream import TooLargeError, batch_to_stream, read_stream, unpacked
from driftwell.errors import BadInput
from driftwell.stores.base import ROW_COLUMNS

MEGABYTE = 1024**2
MIXED = pa.table(
    {
        "number": np.arange(1000.0),
        "text": ["x"] * 1000,
        "list": [[1.0, 2.0]] * 1000,
        "coded": pa.array(["q", "r"] * 500).dictionary_encode(),
        "struct": [{"no": 0.25, "yes": 0.75}] * 1000,
        "view": pa.array([None, "longer than twelve bytes"] * 500, pa.string_view()),
        "time": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 1000),
        "flag": [True, None] * 500,
        "nothing": pa.nulls(1000),
    }
)


def stream(table: pa.Table, compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_plain_columns_come_back(compression):
    assert read_stream(stream(MIXED, compression), most_bytes=MEGABYTE).equals(MIXED)


def test_stream_of_polars_is_taken():
    sink = io.BytesIO()
    pl.DataFrame({"age": [1, None], "city": ["Oslo", "Rome"]}).write_ipc_stream(sink)
    assert read_stream(sink.getvalue(), most_bytes=MEGABYTE).to_pydict() == {"age": [1, None], "city": ["Oslo", "Rome"]}


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_bomb_is_refused_unopened(compression):
    body = stream(pa.table({"zeros": np.zeros(20_000_000)}), compression)
    assert len(body) < MEGABYTE  # 160 MB in less than one
    before = pa.total_allocated_bytes()
    with pytest.raises(TooLargeError, match="larger than"):
        read_stream(body, most_bytes=64 * MEGABYTE)
    assert pa.total_allocated_bytes() - before < MEGABYTE


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"d": pa.DictionaryArray.from_arrays(pa.array(np.zeros(50_000, np.int32)), ["x" * 100_000])}),
        pa.table({f"n{i}": pa.nulls(100_000) for i in range(200)}),
        pa.table({"l": pa.array([[None] * 1000] * 20_000, pa.list_(pa.null()))}),
    ],
    ids=["one long value many times", "columns without buffers", "lists without buffers"],
)
def test_small_stream_of_a_large_table_is_refused(table):
    with pytest.raises(TooLargeError):
        read_stream(stream(table), most_bytes=64 * MEGABYTE)


def test_views_count_what_they_show():
    text = pa.py_buffer(b"y" * 100_000)
    view = np.array([100_000, int.from_bytes(b"yyyy", "little"), 0, 0], np.int32).tobytes() * 5_000
    column = pa.Array.from_buffers(pa.string_view(), 5_000, [None, pa.py_buffer(view), text])
    body = stream(pa.table({"v": column}))  # half a gigabyte of text in 180 kB
    assert len(body) < MEGABYTE
    with pytest.raises(TooLargeError):
        read_stream(body, most_bytes=64 * MEGABYTE)


def test_rows_are_bounded():
    with pytest.raises(TooLargeError, match="more than 100000 rows"):
        read_stream(stream(pa.table({"n": pa.nulls(10**9)})), most_bytes=64 * MEGABYTE)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([b"0" * 16], pa.uuid()), "extension types"),
        (pa.ExtensionArray.from_storage(pa.opaque(pa.string(), "mixed", "driftwell"), pa.array(["1"])), "extension"),
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "map"),
        (pa.RunEndEncodedArray.from_arrays([1], ["x"]), "run_end_encoded"),
        (pa.array([[1]], pa.list_view(pa.int64())), "list_view"),
        (pa.array([b"a"]), "binary"),
        (pa.array([[{"a": b"a"}]]), "binary"),
    ],
)
def test_other_types_are_refused(column, says):
    with pytest.raises(BadInput, match=says):
        read_stream(stream(pa.table({"c": column})), most_bytes=MEGABYTE)


def test_unregistered_extension_is_refused_by_its_name():
    named = pa.field("c", pa.string(), metadata={"ARROW:extension:name": "arrow.py_extension_type"})
    with pytest.raises(BadInput, match="extension types"):
        read_stream(stream(pa.table([["x"]], schema=pa.schema([named]))), most_bytes=MEGABYTE)


@pytest.mark.parametrize("body", [b"", b"abc", stream(MIXED)[:-100]])
def test_what_is_no_whole_stream_says_so(body):
    with pytest.raises(BadInput, match="no Arrow IPC stream"):
        read_stream(body, most_bytes=MEGABYTE)


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(BadInput, match="same name"):
        read_stream(stream(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])), most_bytes=MEGABYTE)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_damaged_streams_are_read_or_refused_and_nothing_else(compression):
    good = stream(MIXED, compression)
    refused = 0
    for seed in range(600):
        chance = random.Random(seed)
        bad = bytearray(good)
        for _ in range(chance.choice([1, 1, 4])):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        try:
            read_stream(bytes(bad), most_bytes=MEGABYTE)
        except BadInput:
            refused += 1
    assert refused > 50


def test_reading_needs_no_memory_of_python_for_the_rows():
    body = stream(pa.table({"a": np.arange(100_000.0)}))
    tracemalloc.start()
    read_stream(body, most_bytes=MEGABYTE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000


# -- batches of a client ---------------------------------------------------------------------------------------------


def batch(**given) -> pa.Table:
    """One row as a recorder's batch has it."""
    moment = datetime(2026, 1, 20, 18, tzinfo=UTC)
    row = dict.fromkeys(ROW_COLUMNS) | {"prediction_id": "p1", "timestamp": moment} | given
    types = {"timestamp": pa.timestamp("us", "UTC"), "score": pa.float64(), "latency_seconds": pa.float64()}
    arrays = [pa.array([row[name]], types.get(name, pa.string())) for name in ROW_COLUMNS]
    return pa.Table.from_arrays([*arrays, pa.array([given["features"]])], names=[*ROW_COLUMNS, "features"])


def sent(table: pa.Table) -> tuple[pa.Table, dict[str, str]]:
    return unpacked(read_stream(batch_to_stream(table), most_bytes=MEGABYTE))


def test_features_keep_names_that_fields_have():
    flat, roles = sent(batch(features={"score": "high", "model": "T"}, score=0.5))
    assert flat["score"].to_pylist() == ["high"]
    assert flat[roles["score"]].to_pylist() == [0.5]
    assert roles["model"] not in flat.column_names  # no row names another model


def test_values_of_any_type_come_as_they_were():
    from driftwell.frame.cells import to_cells

    flat, roles = sent(batch(features={"a": 1.0}, prediction='"3"', probability='{"no":0.25}', metadata='{"k":[1]}'))
    found = {name: to_cells(flat[roles[name]]) for name in ("prediction", "probability", "metadata")}
    assert found == {"prediction": ["3"], "probability": [{"no": 0.25}], "metadata": [{"k": [1]}]}


def test_cells_that_could_not_be_read_are_the_text_they_were():
    from driftwell.frame.cells import to_cells

    flat, _ = sent(batch(features={"a": None, "b": 2.0}, invalid='{"a":"oops","never":"x"}'))
    assert to_cells(flat["a"]) == ["oops"]
    assert to_cells(flat["never"]) == ["x"]
    assert flat["b"].to_pylist() == [2.0]


def test_any_other_table_stays_as_it_is():
    table = pa.table({"a": [1]})
    assert unpacked(table) == (table, {})


def test_cell_that_is_no_json_is_refused():
    with pytest.raises(BadInput, match="not JSON"):
        sent(batch(features={"a": 1.0}, metadata="{"))


def test_layout_that_is_only_claimed_is_refused():
    claimed = pa.table({"a": [1]}).replace_schema_metadata({"driftwell.layout": "batch-1"})
    with pytest.raises(BadInput, match="columns of a batch"):
        unpacked(claimed)

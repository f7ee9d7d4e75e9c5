"""Tables in files: Parquet, Arrow, CSV, JSON and ``.npy``, one or those of a glob."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from driftwell.errors import BadInput, ColumnError
from driftwell.frame.memory import checked_names, from_array, from_list

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_files"]

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # one letter before the colon is a drive
_QUOTED = re.compile(rb'"[^"]*"')
_HEAD = 65_536
_DELIMITERS = (";", "\t", "|", ",")


def read_files(pattern: str, feature_names: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

    if not pattern:
        raise BadInput("the path of the table is empty")
    if _ADDRESS.match(pattern):
        raise BadInput(f"addresses are not read: download {pattern} and pass the path of the file")
    is_glob = glob.has_magic(pattern) and not os.path.exists(pattern)
    paths = sorted(glob.glob(pattern, recursive=True)) if is_glob else [pattern]
    if not paths:
        raise BadInput(f"no file matches {pattern}")
    tables = [_read_file(Path(path), feature_names) for path in paths]
    if len(tables) == 1:
        return tables[0]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as exc:
        raise ColumnError(f"the files of {pattern} do not have the same columns: {exc}") from exc


def _read_file(path: Path, feature_names: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

    if not os.path.exists(path):  # Path.exists raises for a name too long and a folder that is closed to us
        raise BadInput(f"no such file: {path}")
    if path.is_dir():
        raise BadInput(f"{path} is a folder: use a glob such as {path / '*.parquet'}")
    reader = _READERS.get("".join(path.suffixes[-2:]).lower()) or _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise BadInput(f"cannot read {path}: the suffix must be one of {known}")
    try:
        found = reader(path, feature_names)
        checked_names(found.column_names)
        return found
    except BadInput as exc:
        raise type(exc)(f"{path}: {exc}") from exc
    except (pa.ArrowException, msgspec.DecodeError, ValueError, EOFError, OSError) as exc:
        hint = "; save it as UTF-8" if re.search("utf-?8", str(exc), re.IGNORECASE) else ""
        raise BadInput(f"cannot read {path}: {exc}{hint}") from exc


def _parquet(path: Path, _: Sequence[str] | None) -> pa.Table:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def _feather(path: Path, _: Sequence[str] | None) -> pa.Table:
    import pyarrow.feather

    return pyarrow.feather.read_table(path)


def _csv(path: Path, _: Sequence[str] | None, delimiter: str = ",") -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv

    _check_delimiter(path, delimiter)
    found = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True),
    )
    for field in found.schema:
        if pa.types.is_binary(field.type):  # Arrow's type for text it could not decode
            raise BadInput(f"column {field.name!r} is not UTF-8; save the file as UTF-8")
    return found


def _check_delimiter(path: Path, expected: str) -> None:
    """Refuse a file whose head is one name for one delimiter and several for another; guessing would also have to
    guess what a comma inside a number means."""
    import pyarrow as pa

    with pa.input_stream(path, compression="detect") as file:
        head = _QUOTED.sub(b"", file.read(_HEAD).partition(b"\n")[0]).decode(errors="replace")
    other = next((mark for mark in _DELIMITERS if mark in head), None)
    if expected not in head and other is not None:
        raise BadInput(
            f"the head is one name with {other!r} in it: the file must be separated by {expected!r}; save it so, or "
            f"read it with pandas.read_csv(path, sep={other!r}) and pass the frame"
        )


def _json_lines(path: Path, feature_names: Sequence[str] | None) -> pa.Table:
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            rows += [msgspec.json.decode(line)] if line.strip() else []
        except msgspec.DecodeError as exc:
            raise ValueError(f"line {number}: {exc}") from exc
    return from_list(rows, feature_names)


def _json(path: Path, feature_names: Sequence[str] | None) -> pa.Table:
    document = msgspec.json.decode(path.read_bytes())
    if isinstance(document, dict):
        document = document.get("predictions")
    if not isinstance(document, list):
        raise BadInput("the file must hold a JSON list of rows")
    return from_list(document, feature_names)


def _npy(path: Path, feature_names: Sequence[str] | None) -> pa.Table:
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as exc:
        if "pickle" in str(exc):
            raise BadInput("the file holds pickled objects, which are never read; save an array of numbers") from exc
        raise
    if not isinstance(array, np.ndarray):
        raise BadInput("the file holds several arrays (.npz); save one array with numpy.save")
    return from_array(array, feature_names)


_READERS: dict[str, Callable[[Path, Sequence[str] | None], pa.Table]] = {
    ".arrow": _feather,
    ".csv": _csv,
    ".csv.gz": _csv,
    ".feather": _feather,
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".npy": _npy,
    ".parquet": _parquet,
    ".pq": _parquet,
    ".tsv": partial(_csv, delimiter="\t"),
    ".tsv.gz": partial(_csv, delimiter="\t"),
}

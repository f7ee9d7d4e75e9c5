"""What a user gives as a reference or as a baseline, made into what is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from driftwell.errors import BadInput
from driftwell.evaluation.metrics import canonical_metric
from driftwell.profiles.reference import Reference
from driftwell.profiles.reference.roles import metrics

__all__ = ["as_reference", "checked_baseline", "says_the_same"]

NO_METRIC = "num_samples"  # stands beside the metrics of a performance window


def as_reference(given: Any, *, name: str, version: str, kinds: Mapping[str, str] | None) -> Reference:
    """A ``Reference`` as it is, a saved one by its path, or one built from any table.

    Raises
    ------
    MissingReference
        There is no file at the path; the message says what to run.
    FormatError, BadInput
        The file or the table cannot be used.
    """
    if isinstance(given, Reference):
        return given
    if isinstance(given, (str, os.PathLike)) and Path(given).suffix in {".json", ".npy"}:
        return Reference.load(Path(given))
    return Reference.from_data(given, name=name, version=version, kinds=kinds)


def says_the_same(one: Reference, other: Reference) -> bool:
    """Whether two references differ in nothing but the moment they were built and the order of their rows."""
    return one.id == other.id and _undated(one) == _undated(other)


def _undated(reference: Reference) -> bytes:
    return replace(reference, created=None, history=None).to_json()


def checked_baseline(performance: Mapping[str, float]) -> dict[str, float]:
    """Baseline metrics by name.

    Raises
    ------
    UnknownName
        A name is no metric; the nearest is named.
    BadInput
        A value is not a finite number.
    """
    if not isinstance(performance, Mapping):
        raise BadInput(f"a baseline is a dict such as {{'accuracy': 0.85}}. Got {performance!r}")
    found = {name: value for name, value in performance.items() if name != NO_METRIC and value is not None}
    for name in found:
        canonical_metric(name)
    return metrics("the baseline", found)

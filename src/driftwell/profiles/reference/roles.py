"""What the columns of a reference table are: roles, features and their kinds, importances."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from driftwell.errors import BadInput, ColumnError, nearest, shown
from driftwell.frame import (
    CodedColumn,
    Column,
    Frame,
    UnreadColumn,
    as_text,
    check_kinds,
    infer_kind,
    looks_like_text,
)
from driftwell.profiles.reference.confidence import confidence

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "OUTPUTS",
    "PROBABILITIES",
    "ROLES",
    "absent_message",
    "class_order",
    "feature_columns",
    "find_features",
    "find_roles",
    "importances",
    "label_of",
    "metrics",
    "outputs_of",
    "step_names",
    "times_of",
]

ROLES = ("prediction", "score", "probability", "true_label", "timestamp", "prediction_id", "segment", "entity_id")
OUTPUTS = ("prediction", "score")
PROBABILITIES = ("probability", "score")
"""The roles that may tell how sure a prediction was, the first that does decides."""
MAX_CLASSES = 20  # whole numbers of at most so many values are class labels


def find_roles(columns: Sequence[str], given: Mapping[str, str | None]) -> dict[str, str]:
    """Which column has which role: the one given, else the one that bears the role's name."""
    roles = {}
    for role in ROLES:
        named = given.get(role)
        if named is not None and not isinstance(named, str):
            raise BadInput(f"{role} is the name of a column. Got {shown(named)}")
        if named is not None and named not in columns:
            close = nearest(named, columns)
            hint = f"; did you mean {close!r}?" if close else ""
            raise ColumnError(f"there is no column {named!r} for {role}{hint}")
        if named is not None or role in columns:
            roles[role] = named or role
    return roles


def feature_columns(table: pa.Table) -> list[str]:
    """The columns whose names are those of no role."""
    return [name for name in table.column_names if name not in ROLES]


def find_features(
    table: pa.Table,
    roles: Mapping[str, str],
    feature_names: Sequence[str] | None,
    kinds: Mapping[str, str] | None,
) -> tuple[Frame, dict[str, str]]:
    """``(the typed features, the reason of each column that can be none)``; free text is told from categories here."""
    check_kinds(kinds)
    columns = table.column_names
    taken = set(roles.values())
    features = (
        [name for name in columns if name not in taken]
        if feature_names is None
        else [str(name) for name in feature_names]
    )
    twice = sorted(name for name, count in Counter(features).items() if count > 1)
    if twice:
        raise BadInput(f"feature_names has {', '.join(map(repr, twice))} twice: name each feature once")
    unknown = [name for name in (*features, *(kinds or {})) if name not in columns]
    if unknown:
        raise ColumnError(absent_message(unknown, columns))
    known: dict[str, Column] = {}
    ignored: dict[str, str] = {}
    frame = Frame.of(table, names=features, kinds=kinds, event_time=roles.get("timestamp"))
    for name, column in frame.columns.items():
        if isinstance(column, CodedColumn) and name not in (kinds or {}) and looks_like_text(column):
            known[name] = as_text(column)
        elif not isinstance(column, UnreadColumn):
            known[name] = column
        elif kinds and name in kinds:
            raise ColumnError(f"column {name!r} cannot be {kinds[name]}: {column.reason}")
        else:
            ignored[name] = column.reason
    if not known:
        raise BadInput(f"no column can be a feature: {ignored or 'the table has no column but those with roles'}")
    return Frame(known, table.num_rows), ignored


def outputs_of(table: pa.Table, roles: Mapping[str, str], kinds: Mapping[str, str] | None) -> Frame:
    """The typed columns of prediction and score, under the names of their roles."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    chosen: dict[str, str] = {}
    for role in OUTPUTS:
        source = roles.get(role)
        if source is None or infer_kind(table.schema.field(source).type) is None:
            continue
        columns[role] = table.column(source)
        if kinds and source in kinds:
            chosen[role] = kinds[source]
        elif role == "prediction" and _looks_like_class(columns[role]):
            # Class labels are often the integers 0 and 1: few whole numbers are a class, not a quantity.
            chosen[role] = "categorical"
    found = Frame.of(pa.table(columns), kinds=chosen) if columns else Frame({}, table.num_rows)
    sure = _confidence_of(table, roles, found.columns.get("prediction"))
    return found if sure is None else replace(found, columns=found.columns | {"confidence": sure})


def _confidence_of(table: pa.Table, roles: Mapping[str, str], prediction: Column | None) -> Column | None:
    """The probability of the predicted class where the prediction is a class and something tells it."""
    import pyarrow as pa

    if not isinstance(prediction, CodedColumn):
        return None
    given = [roles[role] for role in PROBABILITIES if role in roles]
    found = confidence(table, roles["prediction"], given, class_order(prediction.categories))
    return None if found is None else Frame.of(pa.table({"confidence": found})).columns["confidence"]


def class_order(names: Iterable[str]) -> list[str]:
    """Class names as scikit-learn orders them: whole numbers by value, all else by name."""
    known = list(names)
    return sorted(known, key=int) if all(_is_whole(name) for name in known) else sorted(known)


def _is_whole(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def label_of(table: pa.Table, roles: Mapping[str, str], kinds: Mapping[str, str] | None) -> dict[str, Column]:
    """The typed label under its role, where there is one that can be read."""
    source = roles.get("true_label")
    if source is None:
        return {}
    column = Frame.of(table, names=[source], kinds=kinds).columns[source]
    return {} if isinstance(column, UnreadColumn) else {"true_label": column}


def times_of(table: pa.Table, roles: Mapping[str, str]) -> Column | None:
    """The event times of the rows, where a column has that role and holds times or ISO 8601 text."""
    import pyarrow as pa

    source = roles.get("timestamp")
    if source is None:
        return None
    column = table.column(source)
    if infer_kind(column.type) == "categorical":
        for data in (pa.timestamp("us", "UTC"), pa.timestamp("us")):
            try:
                column = column.cast(data)
                break
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                continue
    return Frame.of(pa.table({source: column})).columns[source]


def step_names(steps: Any) -> tuple[str, ...]:
    """The names of preprocessing steps: names as they are, functions and transformers by their qualified names."""
    given = [steps] if isinstance(steps, str) or callable(steps) or not isinstance(steps, Iterable) else list(steps)
    return tuple(_step_name(step) for step in given)


def importances(importance: Any, features: Sequence[str], ignored: Iterable[str]) -> dict[str, float]:
    """``{feature: weight}`` from a mapping or a fitted model."""
    if importance is None:
        return {}
    if not isinstance(importance, Mapping):
        importance = _of_model(importance, features)
    weights = metrics("importance", importance)
    unknown = [name for name in weights if name not in features and name not in ignored]
    if unknown:
        raise ColumnError("importance: " + absent_message(unknown, features))
    return weights


def metrics(what: str, values: Mapping[Any, Any] | None) -> dict[str, float]:
    """Named finite numbers, or one clear error."""
    if values is not None and not isinstance(values, Mapping):
        raise BadInput(f"{what} is a dict such as {{'name': 0.85}}. Got {values!r}")
    found = {}
    for name, value in (values or {}).items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError) as exc:
            raise BadInput(f"{what} of {name!r} must be a number. Got {value!r}") from exc
        if not math.isfinite(found[str(name)]):
            raise BadInput(f"{what} of {name!r} must be finite. Got {value!r}")
    return found


def absent_message(absent: Sequence[str], present: Sequence[str]) -> str:
    """Names the columns that are not there, each with the nearest that is."""
    hints = []
    for name in absent[:5]:
        close = nearest(name, present)
        hints.append(f"{name!r} (is it {close!r}?)" if close else f"{name!r}")
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    return f"the table lacks {', '.join(hints)}{more}; if a column was renamed, say so in feature_map={{'new': 'old'}}"


def _step_name(step: Any) -> str:
    if isinstance(step, str):
        return step
    step = getattr(step, "func", step)  # functools.partial
    if not callable(step) and not hasattr(step, "transform"):
        raise BadInput(f"preprocessing names steps, or gives functions or transformers. Got {step!r}")
    named = step if hasattr(step, "__qualname__") else type(step)
    return f"{named.__module__}.{named.__qualname__}"


def _looks_like_class(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pa.types.is_integer(column.type) and len(pc.unique(column)) <= MAX_CLASSES)


def _of_model(model: Any, features: Sequence[str]) -> dict[str, float]:
    weights = getattr(model, "feature_importances_", None)
    if weights is None:
        weights = getattr(model, "coef_", None)
    if weights is None:
        raise BadInput("importance must be {feature: weight} or a fitted model with feature_importances_ or coef_")
    weights = np.abs(np.asarray(weights, np.float64))
    weights = weights.mean(axis=0) if weights.ndim > 1 else weights
    names = list(getattr(model, "feature_names_in_", features))
    if len(names) != len(weights):
        raise BadInput(f"the model has {len(weights)} importances for {len(names)} features: pass {{feature: weight}}")
    return {str(name): float(weight) for name, weight in zip(names, weights, strict=True)}

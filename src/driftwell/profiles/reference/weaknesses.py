"""What is weak about a reference, before anything is compared with it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from driftwell.errors import BadInput
from driftwell.kernels.significance import adjust
from driftwell.profiles.reference.sampled import READ_KINDS, distinct_values, halves, is_row_number, xi_of_label
from driftwell.profiles.states.categorical import CategoricalState, Vocabulary
from driftwell.profiles.states.composite import CompositeState
from driftwell.results import Severity

if TYPE_CHECKING:
    from driftwell.profiles.reference.reference import Reference

__all__ = ["CODES", "MAX_AGE", "Weakness", "find_weaknesses"]

LEAST_ROWS = 100  # the least that a comparison judges by default
FEW_ROWS = 1_000  # below, PSI of ten groups moves by about .02 by chance alone
MISSING_SHARE = 0.5
REPEATED_SHARE = 0.01
OWN_VALUE_SHARE = 0.99
LEAK_XI = 0.96  # a balanced binary label of which 1 % of the rows disagree
MAX_AGE = timedelta(days=180)
DAY, WEEK = timedelta(days=1), timedelta(days=7)
HALVES_DISTANCE, HALVES_ALPHA = 0.1, 0.01
UNIQUE_ROWS = 2.0  # rows a category, on average, below which a column tells rows apart rather than groups them
LEAST_VALUES = 50
VECTOR_LENGTH = 2

CODES = (
    "too_few_rows", "missing_heavy", "constant_column", "duplicate_rows", "label_leakage", "old", "short_span",
    "halves_differ", "identifier", "near_unique_text", "names_differ_by_case",
    "lists_of_one_length",
)  # fmt: skip
"""Every code, in the order of the checks; ``docs/reference.md`` says what each means."""


@dataclass(frozen=True)
class Weakness:
    """One thing that makes a reference a poor standard to compare with.

    Attributes
    ----------
    code
        One of ``CODES``.
    column
        The column concerned, None where it is the reference as a whole.
    severity
        ``low`` worth knowing, ``medium`` verdicts on the column suffer, ``high`` the reference should not be used so.
    message
        One sentence that says what was found and what to do.
    """

    code: str
    column: str | None
    severity: Severity
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"code": self.code, "column": self.column, "severity": str(self.severity), "message": self.message}


Found = Iterator[Weakness]


def find_weaknesses(reference: Reference, at: datetime | None, max_age: timedelta) -> tuple[Weakness, ...]:
    """Every check in turn; ``Reference.check`` is the way in."""
    if not isinstance(max_age, timedelta) or max_age <= timedelta(0):
        raise BadInput(f"max_age is a positive timedelta. Got {max_age!r}")
    if at is not None and not isinstance(at, datetime):
        raise BadInput(f"at is a datetime. Got {at!r}")
    now = _aware(at or datetime.now(UTC))
    found = [weakness for check in _CHECKS for weakness in check(reference)]
    found += _old(reference, now, max_age)
    return tuple(sorted(found, key=lambda weakness: (-weakness.severity, CODES.index(weakness.code))))


# -- from the counts -----------------------------------------------------------------------------------------


def _too_few_rows(reference: Reference) -> Found:
    n = reference.n_rows
    if n < LEAST_ROWS:
        yield Weakness("too_few_rows", None, Severity.HIGH, f"{n:,} rows; below {LEAST_ROWS} nothing is judged")
    elif n < FEW_ROWS:
        yield Weakness(
            "too_few_rows", None, Severity.MEDIUM,
            f"{n:,} rows; below {FEW_ROWS:,} only large changes can be told from chance",
        )  # fmt: skip


def _missing_heavy(reference: Reference) -> Found:
    for name, state in reference.profile.columns.items():
        share = (state.missing + getattr(state, "nan", 0)) / reference.n_rows
        if share >= MISSING_SHARE:
            severity = Severity.HIGH if share == 1 else Severity.MEDIUM
            yield Weakness("missing_heavy", name, severity, f"{share:.1%} of the rows of {name!r} hold no value")


def _constant_column(reference: Reference) -> Found:
    for name, state in reference.profile.columns.items():
        if state.distinct == 1:
            yield Weakness(
                "constant_column", name, Severity.MEDIUM,
                f"{name!r} has one value only: any other value will be drift; leave the column out if it means nothing",
            )  # fmt: skip


def _identifiers(reference: Reference) -> Found:
    for name, state in reference.profile.columns.items():
        if isinstance(state, CategoricalState) and isinstance(state.vocabulary, Vocabulary):
            yield from _nearly_unique(name, state, state.vocabulary.categories)
    for name, kind in _sampled(reference):
        if kind == "numeric" and is_row_number(reference.sample, name):
            yield Weakness(
                "identifier", name, Severity.MEDIUM,
                f"{name!r} holds whole numbers that never repeat in the row sample: an identifier is no feature; "
                "leave it out or give it the role prediction_id",
            )  # fmt: skip


def _nearly_unique(name: str, state: CategoricalState, categories: tuple[str, ...]) -> Found:
    """The most frequent categories have cells; where even these hold few rows each, all do."""
    kept = state.count - state.other
    if len(categories) < LEAST_VALUES or kept / len(categories) >= UNIQUE_ROWS:
        return
    rows = f"its {len(categories):,} most frequent values hold {kept / len(categories):.1f} rows each"
    if sum(" " in category.strip() for category in categories) * 2 > len(categories):
        yield Weakness(
            "near_unique_text", name, Severity.MEDIUM,
            f"{name!r} is free text counted as categories ({rows}): give it the kind text, or leave it out",
        )  # fmt: skip
    else:
        yield Weakness(
            "identifier", name, Severity.MEDIUM,
            f"{name!r} tells rows apart rather than groups them ({rows}): leave it out or give it the role "
            "prediction_id",
        )  # fmt: skip


def _names_differ_by_case(reference: Reference) -> Found:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys((*reference.kinds, *reference.roles.values(), *reference.ignored)):
        groups[name.strip().casefold()].append(name)
    for names in groups.values():
        if len(names) > 1:
            alike = ", ".join(map(repr, names))
            yield Weakness(
                "names_differ_by_case", names[0], Severity.LOW,
                f"{alike} differ only by case or surrounding space: rename all but one, they are easily mixed up",
            )  # fmt: skip


def _lists_of_one_length(reference: Reference) -> Found:
    for name, state in reference.profile.columns.items():
        length = state.facets.get("length") if isinstance(state, CompositeState) and state.kind == "series" else None
        if length is not None and length.min is not None and length.min == length.max and length.min >= VECTOR_LENGTH:
            yield Weakness(
                "lists_of_one_length", name, Severity.MEDIUM,
                f"all lists of {name!r} have {length.min:,.0f} elements, and a series pools them: if they are vectors "
                f"such as embeddings, give it the kind in kinds={{{name!r}: 'vector'}}",
            )  # fmt: skip


# -- from what was seen when it was built --------------------------------------------------------------------


def _duplicate_rows(reference: Reference) -> Found:
    """Repeats count only where the columns could have told all rows apart."""
    history = reference.history
    if history is None or not history.repeated:
        return
    share = history.repeated / reference.n_rows
    possible = sum(math.log(_possible(reference, name, share)) for name in reference.profile.columns)
    if share < REPEATED_SHARE or possible < 2 * math.log(reference.n_rows):
        return
    words = f"{share:.1%} of the rows repeat an earlier row in every column"
    if any(_possible(reference, name, share) >= reference.n_rows**2 for name in reference.profile.columns):
        severity = Severity.MEDIUM if share >= 10 * REPEATED_SHARE else Severity.LOW
        yield Weakness("duplicate_rows", None, severity, f"{words}: drop what was loaded twice")
    else:  # no column has a value of its own in nearly every row, and different things can be alike in all columns
        yield Weakness(
            "duplicate_rows", None, Severity.LOW,
            f"{words}: they may have been loaded twice, or be different ones that are alike; drop only the former",
        )  # fmt: skip


def _possible(reference: Reference, name: str, repeated: float) -> int:
    """How many values the column can be reckoned to have: endlessly many where every row has one of its own."""
    found, rows, sample = reference.profile.columns[name].distinct, reference.n_rows, reference.sample
    if found is not None or sample is None or name not in dict(_sampled(reference)):
        return max(1, rows if found is None else found)
    distinct = distinct_values(sample, name)
    both = repeated * sample.num_rows / rows  # of the sampled rows: their earlier equal was drawn as well
    return rows**2 if distinct >= OWN_VALUE_SHARE * sample.num_rows * (1 - both) else max(1, distinct)


def _short_span(reference: Reference) -> Found:
    history = reference.history
    if history is None or history.start is None or history.end is None:
        return
    span = history.end - history.start
    if span < DAY:
        yield Weakness(
            "short_span", None, Severity.HIGH,
            f"the rows span {_hours(span)}, less than a day: every later hour of the day will look like drift",
        )  # fmt: skip
    elif span < WEEK:
        yield Weakness(
            "short_span", None, Severity.MEDIUM,
            f"the rows span {span.days} d, less than a week: weekdays the reference never saw will look like drift",
        )  # fmt: skip


def _old(reference: Reference, now: datetime, max_age: timedelta) -> Found:
    end = reference.history.end if reference.history else None
    last = end or reference.created
    if last is None or now - _aware(last) <= max_age:
        return
    what = "the last row" if end else "the reference"
    yield Weakness(
        "old", None, Severity.MEDIUM,
        f"{what} is {(now - _aware(last)).days} days old, more than {max_age.days}: build it again from newer rows",
    )  # fmt: skip


# -- from the row sample -------------------------------------------------------------------------------------


def _label_leakage(reference: Reference) -> Found:
    label, sample = reference.roles.get("true_label"), reference.sample
    if sample is None or label is None or label not in sample.column_names or label in reference.kinds:
        return
    for name, _ in _sampled(reference):
        xi = xi_of_label(sample, name, label)
        if xi is not None and xi >= LEAK_XI:
            yield Weakness(
                "label_leakage", name, Severity.HIGH,
                f"{name!r} alone determines the label {label!r} in the row sample (xi {xi:.3f}, at least {LEAK_XI}): "
                "make sure it is known before the label is",
            )  # fmt: skip


def _halves_differ(reference: Reference) -> Found:
    history, sample = reference.history, reference.sample
    if history is None or sample is None:
        return
    found = {name: halves(sample, name, kind, history.later) for name, kind in _sampled(reference)}
    tested = {name: pair for name, pair in found.items() if pair is not None}
    adjusted = adjust([p for _, p in tested.values()], "bh")
    for (name, (distance, _)), p in zip(tested.items(), adjusted, strict=True):
        if p is not None and p <= HALVES_ALPHA and distance >= HALVES_DISTANCE:
            yield Weakness(
                "halves_differ", name, Severity.MEDIUM,
                f"the halves of {name!r} by {history.ordered_by} differ by {distance:.2f} in the row sample: it moved "
                "while the reference was taken, so it is no one standard",
            )  # fmt: skip


def _sampled(reference: Reference) -> Iterator[tuple[str, str]]:
    """Features of a simple kind that the row sample holds, with their kinds."""
    present = set() if reference.sample is None else set(reference.sample.column_names)
    for name, kind in reference.kinds.items():
        if name in present and kind in READ_KINDS:
            yield name, kind


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"


_CHECKS: tuple[Callable[[Reference], Found], ...] = (
    _too_few_rows, _missing_heavy, _constant_column, _duplicate_rows, _label_leakage, _short_span, _halves_differ,
    _identifiers, _names_differ_by_case, _lists_of_one_length,
)  # fmt: skip

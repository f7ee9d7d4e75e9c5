"""Categories: what a reference freezes, what is counted, and what newcomers are named."""

from __future__ import annotations

import numpy as np
import pytest

from driftwell.errors import MergeError
from driftwell.frame import BOOLEAN_CATEGORIES, CodedColumn
from driftwell.profiles.states.categorical import (
    BOOLEAN_VOCABULARY,
    MAX_NEWCOMERS,
    MAX_VOCABULARY,
    NO_VOCABULARY,
    Vocabulary,
    build_categorical,
    freeze_vocabulary,
)


def coded(values: list[str | None]) -> CodedColumn:
    names = tuple(dict.fromkeys(v for v in values if v is not None))
    return CodedColumn("c", np.array([-1 if v is None else names.index(v) for v in values], np.int64), names)


def test_vocabulary_is_what_occurs_in_order_of_names() -> None:
    column = CodedColumn("c", np.array([1, 0, 1, -1]), ("b", "a", "never"))
    assert freeze_vocabulary(column).categories == ("a", "b")


def test_of_too_many_categories_the_most_frequent_are_kept() -> None:
    names = tuple(f"n{i:05d}" for i in range(MAX_VOCABULARY + 100))
    codes = np.concatenate((np.arange(len(names)), np.arange(50, len(names))))  # the first 50 occur once only
    kept = freeze_vocabulary(CodedColumn("c", codes, names)).categories
    assert kept == names[50 : 50 + MAX_VOCABULARY]  # ties by name
    made = build_categorical(CodedColumn("c", codes, names), Vocabulary(kept))
    assert made.other == 50 + 2 * 50
    assert made.count == len(codes)


def test_booleans_always_have_both_values() -> None:
    column = CodedColumn("b", np.array([1, 1]), BOOLEAN_CATEGORIES, kind="boolean")
    assert freeze_vocabulary(column) is BOOLEAN_VOCABULARY
    assert build_categorical(column, BOOLEAN_VOCABULARY).counts.tolist() == [0, 2, 0]


def test_counts_by_category_missing_and_newcomers() -> None:
    made = build_categorical(coded(["b", None, "new", "b", "newer", "new"]), Vocabulary(("a", "b")))
    assert made.counts.tolist() == [0, 2, 3]
    assert made.newcomers == {"new": 2, "newer": 1}
    assert (made.count, made.missing, made.n_rows, made.other, made.distinct) == (5, 1, 6, 3, 3)


def test_newcomers_are_named_up_to_a_cap_and_counted_beyond() -> None:
    names = [f"n{i}" for i in range(MAX_NEWCOMERS)]
    assert build_categorical(coded(names), NO_VOCABULARY).named
    made = build_categorical(coded([*names, "one more"]), NO_VOCABULARY)
    assert len(made.newcomers) == MAX_NEWCOMERS
    assert not made.named
    assert made.other == MAX_NEWCOMERS + 1
    assert made.distinct is None


def test_different_vocabularies_do_not_merge() -> None:
    one = build_categorical(coded(["a"]), Vocabulary(("a",)))
    with pytest.raises(MergeError, match="profile both against one reference"):
        one.merge(build_categorical(coded(["b"]), Vocabulary(("b",))))


def test_ids_of_vocabularies_tell_their_names_apart() -> None:
    # the lengths are hashed with the names, so that joining them differently is another vocabulary
    assert Vocabulary(("ab", "c")).id != Vocabulary(("a", "bc")).id
    assert Vocabulary(("a", "b")).id == Vocabulary(("a", "b")).id


def test_categories_have_no_mean_or_order() -> None:
    made = build_categorical(coded(["a"]), NO_VOCABULARY)
    assert (made.mean, made.std, made.min, made.max, made.quantile(0.5)) == (None, None, None, None, None)

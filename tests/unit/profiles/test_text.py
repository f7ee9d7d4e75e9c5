"""Facets of texts, against counts by hand."""

from __future__ import annotations

from collections import Counter
from string import punctuation
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell.profiles import Profile, Reference, profile
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.composite import CompositeState

KINDS = {"t": "text"}


def state(p: Any, name: str = "t") -> CompositeState:
    found = p.columns[name]
    assert isinstance(found, CompositeState)
    return found


def coded(made: CompositeState, facet: str) -> CategoricalState:
    found = made.facets[facet]
    assert isinstance(found, CategoricalState)
    return found


def notes(n: int = 60) -> list[str]:
    return [f"parcel number {i} arrived {'late' if i % 3 else 'on time'}" for i in range(n)]


def test_facets_by_hand() -> None:
    made = state(profile({"t": ["Good day", "", "  ", "blåbær, ja!", None, "Good day"]}, kinds=KINDS))
    length, tokens = made.facets["length"], made.facets["tokens"]
    assert (made.count, made.missing) == (5, 1)
    assert (length.count, length.missing, length.min, length.max) == (5, 1, 0, 11)
    assert tokens.mean == (2 + 0 + 0 + 2 + 2) / 5
    assert coded(made, "empty").counts.tolist() == [3, 2, 0]
    assert coded(made, "non_ascii").counts.tolist() == [4, 1, 0]
    assert made.repeated == 1 - 4 / 5
    # trigrams of " text ": as many as it has characters; "  " of the empty text has none
    assert coded(made, "ngrams").count == 8 + 0 + 2 + 11 + 8


def test_equal_trigrams_share_a_cell_whatever_their_case_and_neighbours() -> None:
    def cells(texts: list[str]) -> list[int]:
        return coded(state(profile({"t": texts}, kinds=KINDS)), "ngrams").counts.tolist()

    assert cells(["ABC", "xyz"]) == cells(["xyz", "abc"]) == np.add(cells(["abc"]), cells(["xyz"])).tolist()


def test_trigrams_spread_over_the_cells() -> None:
    """5,000 different trigrams in 1,024 cells: a uniform hash leaves 1024·exp(-5000/1024) ≈ 7.8 cells empty."""
    rng = np.random.default_rng(0)
    words = {"".join(map(chr, row)) for row in rng.integers(97, 123, (400, 14))}
    counts = coded(state(profile({"t": sorted(words)}, kinds=KINDS)), "ngrams").counts[:-1]
    trigrams = Counter(f" {w} "[i : i + 3] for w in words for i in range(14))
    assert counts.sum() == trigrams.total()
    expected = 1024 * np.exp(-len(trigrams) / 1024)
    assert abs(np.count_nonzero(counts == 0) - expected) < 5 * np.sqrt(expected) + 3


def test_words_the_reference_never_had_are_unknown() -> None:
    ref = Reference.from_data({"t": ["the cat sat", "the dog sat"] * 20}, kinds=KINDS)
    made = state(profile({"t": ["The CAT (sat)", "the zebra ran off -- "]}, ref))
    assert coded(made, "unknown_words").counts.tolist() == [4, 3, 0]
    # the reference counts the half of its rows that did not choose the vocabulary
    assert coded(state(ref.profile), "unknown_words").counts.tolist() == [60, 0, 0]
    assert made.records_per_count("unknown_words") == 2 / (3 + 5)
    assert "unknown_words" not in state(profile({"t": ["a"]}, kinds=KINDS)).facets


def test_only_the_most_frequent_words_are_kept() -> None:
    texts = [f"common word{i} here" for i in range(5_000)]
    ref = Reference.from_data({"t": texts})
    # "common", "here" and 998 of the some 2,500 words of the first half
    made = coded(state(profile({"t": texts}, ref)), "unknown_words")
    assert made.counts.tolist() == [2 * 5_000 + 998, 4_002, 0]


def test_words_frequent_by_chance_are_no_change() -> None:
    """5,000 words of equal frequency, of which 1,000 are kept: new rows from the same source have as many unknown
    ones as the reference, to five standard errors of a share of 8,000 and 16,000 draws."""
    rng = np.random.default_rng(11)
    before, after = ([" ".join(f"word{i}" for i in row) for row in rng.integers(0, 5_000, (2_000, 8))] for _ in "ab")
    ref = Reference.from_data({"t": before})
    shares = [
        coded(state(p), "unknown_words").counts[1] / coded(state(p), "unknown_words").count
        for p in (ref.profile, profile({"t": after}, ref))
    ]
    assert 0.6 < shares[0] < 0.85
    assert abs(shares[0] - shares[1]) < 5 * np.sqrt(0.25 * (1 / 8_000 + 1 / 16_000))


def test_no_raw_text_is_kept() -> None:
    words = ["Zanzibar", "quixotic", "Mississippi", "xylophone"]
    texts = [f"{a} {b} {c}" for a in words for b in words for c in words]
    ref = Reference.from_data({"t": texts})
    assert ref.kinds == KINDS
    kept = [ref.profile.to_bytes(), ref.profile.to_bytes(edges=False), ref.to_json()]
    kept.append(profile({"t": [*texts, "unheard of quotation"]}, ref).to_bytes())
    kept.append(profile({"t": texts}, kinds=KINDS).to_bytes())
    for data in kept:
        for word in [*words, "unheard", "quotation"]:
            assert word.encode() not in data
            assert word.lower().encode() not in data


def test_free_text_is_told_from_categories_in_a_reference() -> None:
    ref = Reference.from_data({
        "note": notes(),
        "id": [f"customer-{i}" for i in range(60)],
        "name": [f"First{i} Last{i}" for i in range(60)],
        "address": [f"{i % 10} Main Street" for i in range(60)],  # most are repeated
        "city": ["Oslo", "New York City"] * 30,
    })  # fmt: skip
    assert ref.kinds == {
        "note": "text", "id": "categorical", "name": "categorical", "address": "categorical", "city": "categorical",
    }  # fmt: skip
    assert Reference.from_data({"note": notes()}, kinds={"note": "categorical"}).kinds["note"] == "categorical"
    assert Reference.from_data({"note": notes(19)}).kinds["note"] == "categorical"  # too few rows to tell


def test_text_stays_text_when_a_batch_looks_like_categories() -> None:
    ref = Reference.from_data({"t": notes()})
    made = state(profile({"t": ["short"] * 100}, ref))
    assert (made.kind, made.count) == ("text", 100)
    assert made.repeated == 1 - 1 / 100


@pytest.mark.parametrize("other", [[1.0, 2.0], [True, False], pa.array([1, 2]).dictionary_encode()])
def test_other_values_where_text_was_are_that_columns_error(other: Any) -> None:
    ref = Reference.from_data({"t": notes()})
    p = profile({"t": other}, ref)
    assert p.unread["t"].endswith("where text values were expected: the type of the column changed")


def test_text_may_be_dictionary_encoded() -> None:
    ref = Reference.from_data({"t": notes()})
    coded_column = pa.array(notes()).dictionary_encode()
    assert profile({"t": coded_column}, ref).to_bytes() == profile({"t": notes()}, ref).to_bytes()


def test_repeats_beyond_the_cap_are_estimated() -> None:
    """Each of 2,000 texts stands there twice: of any sample of the distinct ones, half the rows repeat."""
    texts = [f"sentence number {i}" for i in range(2_000)] * 2
    made = state(profile({"t": texts}, kinds=KINDS))
    assert made.repeated == 0.5
    back = Profile.from_bytes(profile({"t": texts}, kinds=KINDS).to_bytes())
    assert state(back).repeated == 0.5


def test_words_are_those_of_each_text_by_itself() -> None:
    """Against Python, text by text: case folding that looks at neighbours, every white space, texts that repeat."""
    rng = np.random.default_rng(4)
    marks = np.array(list("AaΣσİß .,'(\u0300\u00ad\x1c\x85\n\u2003"))
    texts = ["".join(row) for row in rng.choice(marks, (300, 7))]
    texts += texts[:100] * 2
    known = {"a", "σ", "aa"}
    words = [part.strip(punctuation) for text in texts for part in text.lower().split()]
    words = [word for word in words if word]
    ref = Reference.from_data({"t": [" ".join(known)] * 40}, kinds=KINDS)
    counts = coded(state(profile({"t": texts}, ref)), "unknown_words").counts
    seen = sum(word in known for word in words)
    assert counts.tolist() == [seen, len(words) - seen, 0]

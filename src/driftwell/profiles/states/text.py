"""Texts: how long, how many words, how many empty, not ASCII or repeated, which words are unknown, which n-grams.

Nothing kept can be read as text: words and texts are kept as hashes, n-grams as counts of 1,024 hashed cells.
"""

from __future__ import annotations

import base64
import hashlib
import string
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.frame import BOOLEAN_CATEGORIES, CodedColumn, NumericColumn, TextColumn
from driftwell.profiles.states.categorical import CategoricalState, Vocabulary

__all__ = ["NGRAM_CELLS", "WORD_CELLS", "freeze_text", "reference_text_facets", "text_facets"]

MAX_WORDS = 1000
N_GRAM = 3
N_CELLS = 1024
BLOCK = 4096  # distinct texts whose n-grams are in memory at once
WORD_CELLS = Vocabulary(("known", "unknown"))
NGRAM_CELLS = Vocabulary(tuple(f"{cell:04d}" for cell in range(N_CELLS)))

# Multipliers of SplitMix64 (Steele, Lea and Flood 2014); any odd constants with well-mixed bits would do.
_MIX = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)

Facet = NumericColumn | CodedColumn | CategoricalState
Ints = npt.NDArray[np.int64]


def freeze_text(column: TextColumn) -> dict[str, Any]:
    """What a reference fixes: the 1,000 most frequent words of half of its rows (ties by hash), as sorted 32-bit
    hashes in base64."""
    found = _word_counts(column, _halves(column)[0])
    counts = Counter({_word_hash(word): count for word, count in found.items()})
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:MAX_WORDS]
    return {"words": base64.b64encode(np.sort(np.array(frequent, "<u4")).tobytes()).decode()}


def text_facets(column: TextColumn, frozen: dict[str, Any]) -> dict[str, Facet]:
    """``length`` in characters, ``tokens``, ``empty`` (nothing but white space), ``non_ascii``, ``repeats`` (texts by
    their hash), ``ngrams``, and ``unknown_words`` where a reference has frozen a vocabulary.

    Cost: a few microseconds a distinct text and about 10 ns a character.
    """
    texts, missing = column.texts, column.missing

    def numeric(name: str, values: list[int]) -> NumericColumn:
        return NumericColumn(name, np.array([*values, 0], np.float64)[column.codes], missing)

    def boolean(name: str, values: list[bool]) -> CodedColumn:
        codes = np.array([*values, -1], np.int64)[column.codes]
        return CodedColumn(name, codes, BOOLEAN_CATEGORIES, kind="boolean")

    facets: dict[str, Facet] = {
        "length": numeric("length", [len(text) for text in texts]),
        "tokens": numeric("tokens", [len(text.split()) for text in texts]),
        "empty": boolean("empty", [not text.strip() for text in texts]),
        "non_ascii": boolean("non_ascii", [not text.isascii() for text in texts]),
        "repeats": CodedColumn("repeats", column.codes, tuple(map(_text_hash, texts))),
        "ngrams": _state(NGRAM_CELLS, _ngram_counts(column)),
    }
    if "words" in frozen:
        facets["unknown_words"] = _unknown_words(column, frozen["words"], _frequencies(column))
    return facets


def reference_text_facets(column: TextColumn, frozen: dict[str, Any]) -> dict[str, Facet]:
    """The facets of the very rows that ``frozen`` was made from.

    Words are counted in the half of the rows that did not choose the vocabulary: in the other half, words that are
    frequent by chance would all be known, and later rows would seem to have lost them.
    """
    held_out = _unknown_words(column, frozen["words"], _halves(column)[1])
    return {**text_facets(column, frozen), "unknown_words": held_out}


def _unknown_words(column: TextColumn, words: str, frequencies: Ints) -> CategoricalState:
    known = set(np.frombuffer(base64.b64decode(words), "<u4").tolist())
    counts = np.zeros(2, np.int64)
    for word, count in _word_counts(column, frequencies).items():
        counts[int(_word_hash(word) not in known)] += count
    return _state(WORD_CELLS, counts)


def _frequencies(column: TextColumn) -> Ints:
    return np.bincount(column.codes[column.codes >= 0], minlength=len(column.texts))


def _halves(column: TextColumn) -> tuple[Ints, Ints]:
    """How often each text stands in either half of the rows: equal ones are dealt evenly, the odd one by its hash, so
    that the order of the rows plays no part."""
    counts = _frequencies(column)
    parity = np.array([int(_text_hash(text), 16) & 1 for text in column.texts], np.int64)
    first = (counts + parity) // 2
    return first, counts - first


def _word_counts(column: TextColumn, frequencies: Ints) -> Counter[str]:
    """Counts of the parts between white space, in lower case, without ASCII punctuation around them."""
    parts: Counter[str] = Counter()
    for texts, frequency in _equally_frequent(column.texts, frequencies):
        # Texts of one frequency are split as one: a line end between them is a boundary to lower() and split() too.
        found = "\n".join(texts).lower().split()
        parts.update(found if frequency == 1 else {part: n * frequency for part, n in Counter(found).items()})
    counts: Counter[str] = Counter()
    for part, count in parts.items():
        counts[part.strip(string.punctuation)] += count
    counts.pop("", None)
    return counts


def _equally_frequent(texts: tuple[str, ...], frequencies: Ints) -> Iterator[tuple[list[str], int]]:
    """Blocks of texts that occur equally often, with how often; those that do not occur are left out."""
    for frequency in np.unique(frequencies[frequencies > 0]).tolist():
        positions = np.flatnonzero(frequencies == frequency).tolist()
        for start in range(0, len(positions), BLOCK):
            yield [texts[i] for i in positions[start : start + BLOCK]], frequency


def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "little")


def _text_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _state(cells: Vocabulary, counts: Ints) -> CategoricalState:
    return CategoricalState(cells, cells.id, np.append(counts, 0))


def _ngram_counts(column: TextColumn) -> Ints:
    """Counts of the hashed character trigrams of all texts, in lower case with a space at both ends."""
    counts = np.zeros(N_CELLS, np.int64)
    frequencies = _frequencies(column)
    for start in range(0, len(column.texts), BLOCK):
        texts = [f" {text.lower()} " for text in column.texts[start : start + BLOCK]]
        points = np.frombuffer("".join(texts).encode("utf-32-le"), "<u4").astype(np.uint64)
        owner = np.repeat(np.arange(start, start + len(texts)), [len(text) for text in texts])
        cells = _hashed(points)
        inside = owner[: len(cells)] == owner[len(owner) - len(cells) :]
        weights = frequencies[owner[: len(cells)][inside]]
        counts += np.bincount(cells[inside], weights, minlength=N_CELLS).astype(np.int64)  # exact below 2**53
    return counts


def _hashed(points: npt.NDArray[np.uint64]) -> Ints:
    """The cell of each run of three code points."""
    n = max(0, len(points) - N_GRAM + 1)
    mixed = np.zeros(n, np.uint64)
    for i, factor in enumerate(_MIX):
        mixed = (mixed ^ points[i : i + n]) * factor
        mixed ^= mixed >> np.uint64(29)
    return (mixed >> np.uint64(40)).astype(np.int64) % N_CELLS

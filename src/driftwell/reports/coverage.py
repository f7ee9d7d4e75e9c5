"""How many predictions checks judged: of many together, none counted twice; of what was offered, how much."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from driftwell.reports.reading import mapping
from driftwell.reports.words import number, parse_time, percent

__all__ = ["coverage_words", "missing_words", "predictions_checked"]


def coverage_words(check: Mapping[str, Any]) -> str:
    """How much of what was offered was stored, where that is not all of it.

    Examples
    --------
    >>> coverage_words({"coverage": 0.987}), coverage_words({"coverage": 1.0})
    ('98.7% of what was offered was stored', '')
    """
    share = number(check.get("coverage"))
    return f"{percent(share)} of what was offered was stored" if share is not None and share < 1 else ""


def missing_words(checks: Sequence[Mapping[str, Any]]) -> str:
    """In how many of the checks predictions are missing, and how many in the worst; empty where in none."""
    short = [check for check in checks if coverage_words(check)]
    if not short:
        return ""
    worst = coverage_words(min(short, key=lambda check: number(check.get("coverage")) or 0.0))
    return f"Predictions are missing in {len(short)} of {len(checks)} checks; in the worst, {worst}."


class _Span(NamedTuple):
    start: datetime
    end: datetime
    n: int


def predictions_checked(checks: Iterable[Mapping[str, Any]]) -> tuple[int, bool]:
    """``(number, exact)``: how many predictions lie in the windows of the checks; where not exact, at least so many.

    A check knows its window and how many rows were in it, not which. Of windows that overlap those are counted that
    do not and hold the most rows: exact where they cover all the time that was checked, as they do where checks were
    repeated or one window holds the others. Cost: n log n.
    """
    places: dict[tuple[str, str], list[_Span]] = defaultdict(list)
    unplaced = 0
    for check in checks:
        n = int(number(check.get("n_predictions", check.get("sample_count"))) or 0)
        window = mapping(check.get("window"))
        start, end = parse_time(window.get("start")), parse_time(window.get("end"))
        if start is None or end is None:
            unplaced += n
        else:
            places[str(check.get("model")), str(check.get("version"))].append(_Span(start, end, n))
    found = [_most_apart(spans) for spans in places.values()]
    exact = all(covered == _covered(spans) for (_, covered), spans in zip(found, places.values(), strict=True))
    return unplaced + sum(n for n, _ in found), exact


def _most_apart(spans: Sequence[_Span]) -> tuple[int, timedelta]:
    """Rows and time of those spans that hold the most rows and do not overlap: weighted interval scheduling (Kleinberg
    and Tardos 2005, section 6.1)."""
    ordered = sorted(spans, key=lambda span: span.end)
    ends = [span.end for span in ordered]
    best = [(0, timedelta(0))]
    for i, span in enumerate(ordered):
        n, covered = best[bisect_right(ends, span.start, hi=i)]
        best.append(max(best[-1], (n + span.n, covered + (span.end - span.start))))
    return best[-1]


def _covered(spans: Sequence[_Span]) -> timedelta:
    """The time that lies in any of the spans."""
    total = timedelta(0)
    reached = min(span.start for span in spans)
    for span in sorted(spans):
        if span.end > reached:
            total += span.end - max(span.start, reached)
            reached = span.end
    return total

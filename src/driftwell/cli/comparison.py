"""What ``driftwell compare`` and ``driftwell monitor`` print of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftwell.cli.output import table

if TYPE_CHECKING:
    from driftwell.drift import DriftResult
    from driftwell.results import ColumnResult

__all__ = ["comparison_text"]

HEADERS = ("column", "kind", "status", "severity", "method", "value", "threshold", "p adjusted", "score")
ASCII = str.maketrans({"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-"})  # not every terminal has more


def comparison_text(result: DriftResult, outputs: Sequence[str] = ()) -> str:
    """The verdict, the table of columns, then a line for everything else that was found; ``outputs`` were written."""
    summary = result.summary
    broken = f", {summary['n_broken']} broken" if summary["n_broken"] else ""
    head = f"{result.status}: {summary['n_drifted']} of {summary['n_columns']} columns drifted{broken} " \
           f"({summary['n_reference']:,} reference and {summary['n_current']:,} current rows)"  # fmt: skip
    body = table(HEADERS, [_row(c) for c in result.columns.values()])
    told = [*_answers(result), *_quality(result), *_errors(result), *_together(result)]
    return "\n".join([head, "", body, *told, *result.notes, *(f"wrote {Path(p)}" for p in outputs)])


def _row(c: ColumnResult) -> tuple[Any, ...]:
    """The cells of one column, its numbers as the report writes them."""
    from driftwell.reports.columns import amount
    from driftwell.reports.words import distance, probability, short_figure

    numbers = (
        (c.value, partial(amount, c.method)),
        (c.threshold, short_figure),
        (c.p_adjusted, probability),
        (c.score, distance),
    )
    shown = (None if value is None else words(value).translate(ASCII) for value, words in numbers)
    return c.name, c.kind, "DRIFT" if c.drifted else c.status, c.severity, c.method, *shown


def _answers(result: DriftResult) -> list[str]:
    """A line for each output that drifted."""
    rows = [(c, _row(c)) for c in result.outputs.values() if c.drifted]
    return [
        f"output {c.name}: DRIFT, {c.severity} severity, {c.method} {value} (threshold {limit or 'none'}, "
        f"p adjusted {p or 'none'})"
        for c, (*_, value, limit, p, _) in rows
    ]


def _quality(result: DriftResult) -> list[str]:
    """A line for each rule that failed, but for the reasons of broken columns: those are among the notes."""
    if result.quality is None:
        return []
    known = result.quality.reasons
    return [
        f"quality, {v.status}: {v.rule} of {v.column or 'the rows'}: {v.reason or 'the rule does not hold'}"
        for v in result.quality.failed
        if v.column not in known or (v.reason or v.rule) != known[v.column]
    ]


def _errors(result: DriftResult) -> list[str]:
    """A line for each column that could not be judged and is not told of as broken."""
    known = () if result.quality is None else result.quality.broken
    return [f"{c.name}: {c.error}" for c in result.columns.values() if c.error and c.name not in known]


def _together(result: DriftResult) -> list[str]:
    whole = result.multivariate
    if whole is None:
        return []
    said = "DRIFT" if whole.drifted else whole.status
    return [f"all columns together ({whole.method}): {said}, {whole.reason or f'p {whole.p_value:.3g}'}"]

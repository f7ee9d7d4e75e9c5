"""One verdict on the rows of two tables, all columns together, by any of the multivariate methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from driftwell.detectors.multivariate.classifier import DomainResult
from driftwell.detectors.multivariate.encoding import Encoded, encode_rows
from driftwell.detectors.multivariate.features import PortfolioResult, RandomFeatureResult
from driftwell.detectors.multivariate.inputs import check_count, check_share, generator
from driftwell.detectors.multivariate.methods import MultivariateMethod, multivariate_method
from driftwell.detectors.multivariate.pairwise import mmd
from driftwell.detectors.multivariate.results import MultivariateResult
from driftwell.errors import BadInput, InsufficientData, UnknownName
from driftwell.kernels.empirical import distances_from_sorted
from driftwell.results import Severity, plain

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MultivariateVerdict", "judge_rows"]

CONTRIBUTION_ROWS = 10_000
"""Most rows a side that the contributions of columns are computed from."""

MOST_PERMUTATIONS = 19_999


@dataclass(frozen=True, slots=True, kw_only=True)
class MultivariateVerdict:
    """What one multivariate test says about two tables.

    ``status`` is ``ok``, ``drift``, ``no_data`` (too few rows) or ``error`` (no column can be used), the last two with
    a ``reason``. ``severity`` goes by the p-value: low up to ``alpha``, medium up to a tenth and high up to a hundredth
    of it, so it can be no higher than the number of relabellings lets the p-value fall. ``n_used`` are the rows of
    reference and current that entered the test. ``contributions`` are shares of the columns in the change, largest
    first, summing to 1; empty where nothing drifted. ``test`` is the result of the test itself, with all it says.
    """

    method: str
    status: str
    statistic: float | None = None
    p_value: float | None = None
    alpha: float
    drifted: bool = False
    severity: Severity = Severity.NONE
    n_reference: int
    n_current: int
    n_used: tuple[int, int] = (0, 0)
    contributions: dict[str, float] = field(default_factory=dict)
    reason: str | None = None
    notes: tuple[str, ...] = ()
    test: MultivariateResult | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN and infinities become None."""
        out: dict[str, Any] = plain(self)
        return out


def judge_rows(
    name: str,
    reference_rows: pa.Table,
    current_rows: pa.Table,
    *,
    kinds: Mapping[str, str],
    alpha: float = 0.05,
    seed: int = 0,
    columns: Sequence[str] | None = None,
    min_samples: int = 100,
    bandwidth: float | None = None,
) -> MultivariateVerdict:
    """Whether the rows of two tables, all columns together, come from one distribution.

    Parameters
    ----------
    name
        One of ``MULTIVARIATE``.
    kinds
        The reference's ``{column: kind}``; they decide how columns are encoded (``docs/methods/multivariate.md``).
    alpha
        Drift where ``p_value <= alpha``. Tests by relabelling make at least ``2 / alpha`` of them, at most 19,999.
    seed
        Of the rows left out above the method's limit, and of the test.
    columns
        Only these; default: all columns of ``kinds``. One that a table lacks, or that changed its type, is left out
        and named in ``notes``.
    min_samples
        Fewer rows on either side: ``no_data``.
    bandwidth
        Of the kernel of ``mmd``, on rows whose columns are standardised; other methods have none. Default: the median
        heuristic.

    Raises
    ------
    UnknownName
        There is no such method or column.
    BadInput
        An option is out of range.
    MissingDependency
        ``domain_classifier`` without scikit-learn.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rng = np.random.default_rng(0)
    >>> before, after = (pa.table({"x": rng.normal(at, 1, 500), "y": rng.normal(size=500)}) for at in (0, 0.5))
    >>> found = judge_rows("mmd", before, after, kinds={"x": "numeric", "y": "numeric"})
    >>> found.status, found.p_value < 0.01, next(iter(found.contributions))
    ('drift', True, 'x')
    """
    method, level = multivariate_method(name), check_share("alpha", alpha)
    least, rng = max(2, check_count("min_samples", min_samples)), generator(seed)  # one row has no spread
    n, m = reference_rows.num_rows, current_rows.num_rows
    unjudged = MultivariateVerdict(method=name, status="no_data", alpha=level, n_reference=n, n_current=m)
    if min(n, m) < least:
        few = f"the reference has {n:,} rows" if n < least else f"there are {m:,} current rows"
        return replace(unjudged, reason=f"{few}, at least {least} are needed")
    for column in columns or ():
        if column not in kinds:
            raise UnknownName("column", column, kinds)
    chosen, notes = _shared(columns or list(kinds), reference_rows, current_rows)
    reference, drawn = _drawn(reference_rows.select(chosen), method, "reference", rng)
    current, drawn_too = _drawn(current_rows.select(chosen), method, "current", rng)
    unjudged = replace(unjudged, notes=(*notes, *drawn, *drawn_too))
    try:
        data, changed = encode_rows(reference, current, {column: kinds[column] for column in chosen})
        left_out = tuple(f"column {column!r} was left out: {reason}" for column, reason in changed.items())
        unjudged = replace(unjudged, notes=(*unjudged.notes, *left_out))
        return _judged(unjudged, method, data, seed, bandwidth if name == "mmd" else None)
    except InsufficientData as exc:
        return replace(unjudged, reason=str(exc))
    except BadInput as exc:
        return replace(unjudged, status="error", reason=str(exc))


def _judged(
    verdict: MultivariateVerdict, method: MultivariateMethod, data: Encoded, seed: int, bandwidth: float | None
) -> MultivariateVerdict:
    count = max(method.n_permutations, min(math.ceil(2 / verdict.alpha), MOST_PERMUTATIONS))
    test = method.run(data, count, seed) if bandwidth is None else mmd(data, count, bandwidth, seed)
    notes = (*verdict.notes, *test.notes)
    if method.n_permutations and 1 / (count + 1) > verdict.alpha:
        notes = (*notes, f"alpha lies below 1/{count + 1}, the smallest p-value of {count} relabellings")
    drifted = test.p_value <= verdict.alpha
    return replace(
        verdict,
        status="drift" if drifted else "ok",
        statistic=test.statistic,
        p_value=test.p_value,
        drifted=drifted,
        severity=_severity(test.p_value, verdict.alpha),
        n_used=test.n_used if isinstance(test, (PortfolioResult, RandomFeatureResult)) else _sizes(data),
        contributions=_contributions(test, data, generator(seed)) if drifted else {},
        notes=notes,
        test=test,
    )


def _severity(p_value: float, alpha: float) -> Severity:
    bands = ((alpha / 100, Severity.HIGH), (alpha / 10, Severity.MEDIUM), (alpha, Severity.LOW))
    return next((severity for bound, severity in bands if p_value <= bound), Severity.NONE)


def _shared(columns: Sequence[str], *tables: pa.Table) -> tuple[list[str], tuple[str, ...]]:
    """The columns that both tables have, and a sentence for each other one."""
    lacking = {
        name: side
        for name in columns
        for side, table in zip(("reference", "current"), tables, strict=True)
        if name not in table.column_names
    }
    notes = tuple(f"column {name!r} was left out: the {side} rows do not have it" for name, side in lacking.items())
    return [name for name in columns if name not in lacking], notes


def _drawn(
    table: pa.Table, method: MultivariateMethod, side: str, rng: np.random.Generator
) -> tuple[pa.Table, tuple[str, ...]]:
    """At most as many rows as the method takes, drawn at random, and a sentence where that left some out."""
    rows, limit = table.num_rows, method.row_limit
    if rows <= limit:
        return table, ()
    note = f"{limit:,} of the {rows:,} {side} rows were drawn at random: {method.name} takes no more"
    return table.take(np.sort(rng.choice(rows, limit, replace=False))), (note,)


def _sizes(data: Encoded) -> tuple[int, int]:
    return data.n_reference, data.n_current


def _contributions(test: MultivariateResult, data: Encoded, rng: np.random.Generator) -> dict[str, float]:
    """Shares of the columns: of the classifier's importances, else of the squared KS distances of their own values."""
    if isinstance(test, DomainResult):
        sizes = {name: max(fall, 0.0) for name, fall in test.importances.items()}
    else:
        sizes = {name: max(_distances(data, columns, rng)) ** 2 for name, columns in data.groups.items()}
    whole = sum(sizes.values())
    if not whole:
        return {}
    return {name: size / whole for name, size in sorted(sizes.items(), key=lambda item: -item[1])}


def _distances(data: Encoded, columns: list[int], rng: np.random.Generator) -> list[float]:
    sides = data.pooled[: data.n_reference, columns], data.pooled[data.n_reference :, columns]
    few = [np.sort(rows[rng.permutation(len(rows))[:CONTRIBUTION_ROWS]], axis=0) for rows in sides]
    return [distances_from_sorted(before, after)[0] for before, after in zip(few[0].T, few[1].T, strict=True)]

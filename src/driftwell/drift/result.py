"""What a comparison found: column by column, as Python values, JSON, HTML or an Arrow table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from driftwell.detectors.multivariate import MultivariateVerdict
from driftwell.detectors.univariate import Pair
from driftwell.detectors.univariate import method as find_method
from driftwell.errors import BadInput, UnknownName
from driftwell.quality import QualityResult
from driftwell.reports.files import write_text
from driftwell.results import ColumnResult, Measure, Severity, isoformat, plain

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DriftResult"]

FORMAT_VERSION = 1
NOT_ASKED = {
    "quality": "quality verdicts were switched off",
    "multivariate": "no test of whole rows was asked for: multivariate='portfolio' runs one",
}
_WHAT = ("name", "kind", "status", "drifted", "method", "value", "low", "high", "threshold")
_FROM = ("n_reference", "n_current", "missing_reference", "missing_current")
_FRAME_COLUMNS = (*_WHAT, "p_value", "p_adjusted", "score", *_FROM)


@dataclass(frozen=True)
class DriftResult:
    """What moved between the reference and the current rows, and whether it is more than chance.

    Attributes
    ----------
    drift_detected
        Whether any column drifted, an output included, or the whole rows.
    status
        ``ok``, ``drift``, ``no_data`` below ``min_samples`` rows on either side, or ``broken`` where nothing drifted
        and a column fails data quality critically.
    severity
        The highest severity of a drifted column.
    scores
        Drift score in 0…1 of each column: KS distance of numbers, total variation of categories.
    columns
        A ``ColumnResult`` each, those that drifted first, then by score.
    outputs
        The same for ``prediction``, ``score`` and ``confidence`` (the probability of the predicted class) where the
        reference knows them; what drifted among them counts in ``drift_detected``, ``status`` and ``severity``.
        (A check of a live model tells it as a signal of its own.)
    quality
        What the data breaks, rule by rule; columns that are broken have the status ``broken`` and have not drifted.
    multivariate
        The test of whole rows where one was asked for; its drift counts in ``drift_detected``.
    """

    drift_detected: bool
    status: str
    severity: Severity
    columns: dict[str, ColumnResult]
    outputs: dict[str, ColumnResult]
    summary: dict[str, Any]
    notes: tuple[str, ...] = ()
    quality: QualityResult | None = None
    multivariate: MultivariateVerdict | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    _outputs_count: bool = True
    _pairs: dict[str, Pair] = field(default_factory=dict, repr=False, compare=False)

    def with_columns(self, columns: Mapping[str, ColumnResult]) -> DriftResult:
        """The same with some columns judged anew, and all that follows from them."""
        enough = self.status != "no_data"
        summary = self.summary | {"n_drifted": sum(c.drifted for c in columns.values())}
        verdict = verdict_of(columns, self._counted, self.multivariate, enough=enough)
        return replace(self, **verdict, summary=summary)

    @property
    def _counted(self) -> Mapping[str, ColumnResult]:
        return self.outputs if self._outputs_count else {}

    @property
    def scores(self) -> dict[str, float | None]:
        """Drift score of each column."""
        return {name: column.score for name, column in self.columns.items()}

    def metric(self, column: str, method: str) -> Measure:
        """Any method on a column, from the same pass; of a column of several facets the largest of those it reads.

        Raises
        ------
        UnknownName
            There is no such column or method.
        BadInput
            The method does not read columns of this kind.
        """
        found = find_method(method)
        facets = self.columns[column].facets if column in self.columns else {}
        readable = [f"{column}.{name}" for name, facet in facets.items() if facet.kind in found.kinds]
        if readable:
            return max((self._pairs[name].measure(method) for name in readable), key=lambda measure: measure.value)
        if column not in self._pairs:
            raise UnknownName("column", column, self._pairs)
        pair = self._pairs[column]
        if pair.kind not in found.kinds:
            raise BadInput(f"{method} reads {' and '.join(found.kinds)} columns; {column!r} is {pair.kind}")
        return pair.measure(method)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "format": "driftwell-drift",
            "format_version": FORMAT_VERSION,
            "created": isoformat(self.created),
            "status": self.status,
            "drift_detected": self.drift_detected,
            "severity": str(self.severity),
            "summary": plain(self.summary),
            "notes": list(self.notes),
            "scores": plain(self.scores),
            "columns": {name: column.to_dict() for name, column in self.columns.items()},
            "outputs": {name: column.to_dict() for name, column in self.outputs.items()},
            "quality": None if self.quality is None else self.quality.to_dict(),
            "multivariate": None if self.multivariate is None else self.multivariate.to_dict(),
            "reasons": self._reasons,
        }

    @property
    def _reasons(self) -> dict[str, str]:
        """Why a part is null."""
        absent = {"quality": self.quality is None, "multivariate": self.multivariate is None}
        return {part: NOT_ASKED[part] for part, is_absent in absent.items() if is_absent}

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as JSON text, written to ``path`` where one is given."""
        text = msgspec.json.format(msgspec.json.encode(self.to_dict()), indent=2).decode()
        if path is not None:
            write_text(path, text)
        return text

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as one offline HTML page, written to ``path`` where one is given."""
        from driftwell.reports import render_drift

        text: str = render_drift(self.to_dict())
        if path is not None:
            write_text(path, text)
        return text

    def to_frame(self) -> pa.Table:
        """One row a column, as a ``pyarrow.Table``."""
        import pyarrow as pa

        columns = list(self.columns.values())
        found: dict[str, list[Any]] = {name: [getattr(c, name) for c in columns] for name in _FRAME_COLUMNS}
        return pa.table(found | {"severity": [str(c.severity) for c in columns]})


def verdict_of(
    columns: Mapping[str, ColumnResult],
    outputs: Mapping[str, ColumnResult],
    multivariate: MultivariateVerdict | None,
    *,
    enough: bool,
) -> dict[str, Any]:
    """``columns``, those that drifted first, and the verdict over all of them."""
    drifted = [c.severity for c in (*columns.values(), *outputs.values()) if c.drifted]
    if multivariate is not None and multivariate.drifted:
        drifted.append(multivariate.severity)
    broken = any(c.status == "broken" for c in columns.values())
    judged = enough and any(c.status == "ok" for c in columns.values())
    return {
        "columns": dict(sorted(columns.items(), key=lambda item: (not item[1].drifted, -(item[1].score or 0.0)))),
        "drift_detected": bool(drifted),
        "status": "drift" if drifted else "broken" if broken else "ok" if judged else "no_data",
        "severity": max(drifted, default=Severity.NONE),
    }

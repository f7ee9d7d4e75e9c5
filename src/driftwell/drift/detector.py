"""A comparison with its settings kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from driftwell.detectors.multivariate import multivariate_method
from driftwell.detectors.policy import Policy
from driftwell.drift.comparison import compare
from driftwell.drift.result import DriftResult
from driftwell.errors import BadInput, InsufficientData
from driftwell.frame import read_table
from driftwell.profiles.reference import Reference
from driftwell.profiles.reference.roles import step_names
from driftwell.profiles.reference.updating import UpdatePolicy, rebuild, updated_rows

__all__ = ["DriftDetector"]


@dataclass(frozen=True)
class DriftDetector:
    """A comparison with its settings, to be asked again and again; it never changes its reference.

    Attributes
    ----------
    reference
        A ``Reference`` or any table; of a table the rows are kept for ``update_reference``.
    preprocess
        A function of a table, applied to the reference table and to every current one; a ``Reference`` is taken as
        already preprocessed. Its qualified name is recorded in a reference that is built here.
    method, threshold, multivariate, alpha
        As in ``compare``.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 1, 500)
    >>> DriftDetector({"x": x}, threshold=0.2).detect({"x": x}).drift_detected
    False
    """

    reference: Any
    method: str | Sequence[str] | Mapping[str, str] | None = None
    threshold: float | str | Mapping[str, float | str] | None = None
    preprocess: Callable[[Any], Any] | None = None
    multivariate: str | None = None
    alpha: float = 0.05
    _rows: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        Policy(self.method, self.threshold, self.alpha)
        if self.multivariate is not None:
            multivariate_method(self.multivariate)
        if self.preprocess is not None and not callable(self.preprocess):
            raise BadInput(f"preprocess is a function of a table. Got {self.preprocess!r}")
        if not isinstance(self.reference, Reference):
            rows = read_table(self._prepared(self.reference))
            object.__setattr__(self, "_rows", rows)
            object.__setattr__(self, "reference", Reference.from_data(rows, preprocessing=self._own_steps))

    @property
    def preprocessing(self) -> tuple[str, ...]:
        """Names of the steps applied before anything is compared: the reference's, else the name of ``preprocess``."""
        steps: tuple[str, ...] = self.reference.preprocessing
        return steps or self._own_steps

    def detect(self, current: Any, reference: Any = None) -> DriftResult:
        """Compare ``current``, preprocessed, with this detector's reference or with another one."""
        return self._compared(self._prepared(current), self.reference if reference is None else reference)

    def update_reference(
        self,
        table: Any,
        policy: Mapping[str, Any],
        *,
        force: bool = False,
        seed: int = 0,
        version: str | None = None,
    ) -> DriftDetector:
        """A new detector whose reference follows the data; this one stays as it is.

        Parameters
        ----------
        table
            The new rows; ``preprocess`` is applied to them.
        policy
            ``{"last": n}`` keeps the last n of the reference's rows followed by the new ones;
            ``{"reservoir_sampling": n}`` keeps n rows drawn fairly from all rows ever seen. The reference's rows are
            those of the table the detector was given; of a ``Reference`` only its row sample (at most 5,000 rows, in
            the order of a hash).
        force
            Update even where the new rows have drifted, as ``"when_drifted": true`` in the policy does.
        seed
            Of the reservoir's draw.
        version
            Of the new reference; default the old one's. Its ``parent`` is the old one's id.

        Raises
        ------
        BadInput
            The new rows have drifted, or the policy cannot be read.
        InsufficientData
            There are too few rows to say whether they have.
        ColumnError
            The new rows lack a feature.

        Examples
        --------
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> first = DriftDetector({"x": rng.normal(size=500)})
        >>> second = first.update_reference({"x": rng.normal(size=300)}, policy={"last": 400})
        >>> second.reference.n_rows, second.reference.parent == first.reference.id, first.reference.n_rows
        (400, True, 500)
        """
        chosen = UpdatePolicy.of(policy)
        new = read_table(self._prepared(table), feature_names=self.reference.feature_names)
        if not (force or chosen.when_drifted):
            _refuse_drifted(self._compared(new, self.reference))
        rows, seen = updated_rows(self.reference, new, policy, seed=seed, rows=self._rows)
        found = rebuild(self.reference, rows, seen, version=version)
        return replace(self, reference=found, _rows=None if self._rows is None else rows)

    @property
    def _own_steps(self) -> tuple[str, ...]:
        return () if self.preprocess is None else step_names(self.preprocess)

    def _prepared(self, table: Any) -> Any:
        return table if self.preprocess is None else self.preprocess(table)

    def _compared(self, rows: Any, reference: Any) -> DriftResult:
        return compare(
            reference,
            rows,
            method=self.method,
            threshold=self.threshold,
            alpha=self.alpha,
            multivariate=self.multivariate,
        )


def _refuse_drifted(result: DriftResult) -> None:
    """Drifted rows must not become the standard that later rows are held to."""
    if result.drift_detected:
        drifted = [name for name, column in result.columns.items() if column.drifted]
        named = ", ".join(drifted[:5]) or "all columns together"
        raise BadInput(
            f"the new rows have drifted ({named}): the reference is not updated; pass force=True if this is the new "
            "normal"
        )
    if result.status == "no_data":
        raise InsufficientData(
            "there are too few rows to say whether the new ones have drifted: the reference is not updated; pass more, "
            "or force=True"
        )

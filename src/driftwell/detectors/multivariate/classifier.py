"""A classifier that learns to tell current from reference rows: how well it does is how much has changed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.detectors.multivariate.encoding import Encoded, encode
from driftwell.detectors.multivariate.inputs import check_count, check_share, generator
from driftwell.detectors.multivariate.results import MultivariateResult
from driftwell.detectors.multivariate.scaling import standardised
from driftwell.errors import MissingDependency, UnknownName

__all__ = ["CLASSIFIERS", "DomainResult", "classify", "domain_classifier"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CLASSIFIERS = ("trees", "logistic")
LOOKED_AT = 1_000  # held-out rows a fold on which columns are shuffled for the importances


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainResult(MultivariateResult):
    """``statistic`` and ``auc`` are the cross-validated area under the ROC curve (0.5: the samples cannot be told
    apart), ``interval`` its confidence interval at ``confidence``. ``importances`` says by how much the AUC falls when
    a column is shuffled, largest first."""

    auc: float
    interval: tuple[float, float]
    confidence: float
    importances: dict[str, float] = field(default_factory=dict)
    classifier: str = "trees"
    folds: int = 5


def domain_classifier(
    x: Any, y: Any, classifier: str = "trees", folds: int = 5, confidence: float = 0.95, seed: int = 0
) -> DomainResult:
    """Whether a classifier can tell current rows from reference rows, how well, and by which columns.

    Parameters
    ----------
    x, y
        As in ``mmd_test``.
    classifier
        ``"trees"``: scikit-learn's histogram gradient boosting, finds changes of any shape and needs some hundred rows.
        ``"logistic"``: ridge logistic regression on standardised columns, finds moved means, and with few rows.
    folds
        Parts of the cross-validation, at least 3; each part is scored by a model that has not seen it.
    confidence
        Of ``interval``, between 0 and 1.
    seed
        The same seed gives the same result.

    Returns
    -------
    DomainResult
        ``auc`` is the mean AUC of the folds, ``interval`` holds the AUC that models trained like these have on new
        rows (conservative where the samples differ much). ``p_value`` is one-sided and comes from a chain of models:
        each is trained on all earlier folds and scored on the next, so that without a change each step is a rank test
        of its own (valid in large samples; the documentation has its false-alarm table).

    Raises
    ------
    MissingDependency
        scikit-learn is not installed: ``pip install 'driftwell[estimation]'``.
    InsufficientData
        Fewer than ``2 · folds`` rows on either side.
    BadInput, ColumnError, UnknownName
        As in ``mmd_test``; the classifier is not known.

    Notes
    -----
    The folds of a cross-validation train on each other's test rows; without a change that doubles the variance of
    their mean, and a test that took them as independent would raise more than twice the false alarms. The chain does
    not have that fault; the interval allows for it by doubling DeLong's variance. Cost: ``2 · folds - 1`` model fits,
    and one prediction per column and fold on at most 1,000 rows.

    References
    ----------
    .. [1] Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017.
    .. [2] DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988): the variance of an AUC; LeDell, Petersen, van der Laan,
       Electronic Journal of Statistics 9 (2015): averaged over folds.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(300, 2)), rng.normal([0, 1], 1, size=(300, 2))
    >>> r = domain_classifier(x, y, classifier="logistic")
    >>> r.auc > 0.7, r.p_value < 0.001, next(iter(r.importances))
    (True, True, 'f1')
    """
    return classify(encode(x, y), classifier, folds, confidence, seed)


def classify(
    data: Encoded, classifier: str = "trees", folds: int = 5, confidence: float = 0.95, seed: int = 0
) -> DomainResult:
    """``domain_classifier`` on samples that are encoded already."""
    if classifier not in CLASSIFIERS:
        raise UnknownName("classifier", classifier, CLASSIFIERS)
    level, folds, rng = check_share("confidence", confidence), check_count("folds", folds, 3), generator(seed)
    data.require(2 * folds)
    rows = standardised(data.pooled)
    is_current = np.arange(len(rows)) >= data.n_reference
    fold = _stratified(is_current, folds, rng)
    with _one_thread():
        held_out = list(_cross_validated(rows, is_current, fold, classifier, seed))
        p_value = _chain_p_value(rows, is_current, fold, classifier, seed)
        importances = _importances(data, rows, held_out, rng)
    auc = float(np.mean([_auc(score, truth) for score, truth, *_ in held_out]))
    variance = 2 * sum(_delong_variance(score, truth) for score, truth, *_ in held_out) / folds**2
    return DomainResult(
        **data.fields("domain_classifier"),
        statistic=auc,
        p_value=p_value,
        auc=auc,
        interval=_interval(auc, variance, min(data.n_reference, data.n_current), level),
        confidence=level,
        importances=importances,
        classifier=classifier,
        folds=folds,
    )


def _one_thread() -> AbstractContextManager[Any]:
    """Trees this small are grown faster by one thread than by several that wait for each other on busy cores."""
    try:
        import sklearn.ensemble  # noqa: F401  # the limit reaches only libraries that are loaded by now
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn
    except ImportError as exc:
        raise MissingDependency("scikit-learn", "estimation") from exc
    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def _model(classifier: str, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    if classifier == "logistic":
        return LogisticRegression(C=0.1, max_iter=1000)
    # Small, slow-learning trees: the difference to be found is usually faint.
    return HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.1, max_leaf_nodes=8, l2_regularization=1.0, early_stopping=False, random_state=seed
    )


def _fitted(rows: Floats, is_current: npt.NDArray[np.bool_], classifier: str, seed: int) -> Any:
    # Both samples weigh the same, however many rows they have.
    share = is_current.mean()
    weights = np.where(is_current, 0.5 / share, 0.5 / (1 - share))
    return _model(classifier, seed).fit(rows, is_current, sample_weight=weights)


def _score(model: Any, rows: Floats) -> Floats:
    out: Floats = model.decision_function(rows)
    return out


def _stratified(is_current: npt.NDArray[np.bool_], folds: int, rng: np.random.Generator) -> Ints:
    fold = np.empty(len(is_current), np.int64)
    for side in (is_current, ~is_current):
        fold[side] = rng.permutation(int(side.sum())) % folds
    return fold


def _cross_validated(
    rows: Floats, is_current: npt.NDArray[np.bool_], fold: Ints, classifier: str, seed: int
) -> Iterator[tuple[Floats, npt.NDArray[np.bool_], Any, Ints]]:
    """Scores and truth of each fold's rows, the model that has not seen them, and their positions."""
    for part in range(int(fold.max()) + 1):
        model = _fitted(rows[fold != part], is_current[fold != part], classifier, seed)
        test = np.flatnonzero(fold == part)
        yield _score(model, rows[test]), is_current[test], model, test


def _chain_p_value(rows: Floats, is_current: npt.NDArray[np.bool_], fold: Ints, classifier: str, seed: int) -> float:
    """One-sided: the standardised rank sums of folds scored by models of the earlier folds, summed up.

    Without a change each has mean 0 and variance 1 given all earlier folds, so the sum of k has variance k.
    """
    from scipy.stats import norm

    total, steps = 0.0, int(fold.max())
    for part in range(1, steps + 1):
        earlier = fold < part
        model = _fitted(rows[earlier], is_current[earlier], classifier, seed)
        total += _rank_sum_z(_score(model, rows[fold == part]), is_current[fold == part])
    return float(norm.sf(total / math.sqrt(steps)))


def _rank_sum_z(score: Floats, truth: npt.NDArray[np.bool_]) -> float:
    """The rank sum of the current rows in standard deviations of its permutations, ties included (all tied: 0)."""
    ranks = _midranks(score)
    m, n = int(truth.sum()), int((~truth).sum())
    variance = n * m / (n + m) * ranks.var(ddof=1)
    if variance == 0:
        return 0.0
    return float((ranks[truth].sum() - m * ranks.mean()) / math.sqrt(variance))


def _midranks(values: Floats) -> Floats:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), np.float64)


def _auc(score: Floats, truth: npt.NDArray[np.bool_]) -> float:
    m, n = int(truth.sum()), int((~truth).sum())
    return float((_midranks(score)[truth].sum() - m * (m + 1) / 2) / (n * m))


def _delong_variance(score: Floats, truth: npt.NDArray[np.bool_]) -> float:
    """DeLong's variance from placements: the share of the other side that each row outranks."""
    ranks = _midranks(score)
    current, reference = score[truth], score[~truth]
    above = (ranks[truth] - _midranks(current)) / len(reference)
    below = 1 - (ranks[~truth] - _midranks(reference)) / len(current)
    return float(above.var(ddof=1) / len(current) + below.var(ddof=1) / len(reference))


def _interval(auc: float, variance: float, rows: int, confidence: float) -> tuple[float, float]:
    """On the logit scale, so that it stays inside 0…1; under complete separation Wilson's limit for ``rows`` of
    ``rows``. Models that give every row the same score have 0.5, which is certain."""
    from scipy.stats import norm

    z = float(norm.isf((1 - confidence) / 2))
    if auc in (0.0, 1.0):
        limit = rows / (rows + z**2)
        return (limit, 1.0) if auc else (0.0, 1 - limit)
    margin = z * math.sqrt(variance) / (auc * (1 - auc))
    centre = math.log(auc / (1 - auc))
    return float(1 / (1 + np.exp(margin - centre))), float(1 / (1 + np.exp(-margin - centre)))


def _importances(data: Encoded, rows: Floats, held_out: list[Any], rng: np.random.Generator) -> dict[str, float]:
    """Mean fall of the held-out AUC when all matrix columns of one input column are shuffled together."""
    falls = dict.fromkeys(data.groups, 0.0)
    for score, truth, model, test in held_out:
        chosen = _both_sides(truth, rng)
        order = rng.permutation(len(chosen))
        base, part = _auc(score[chosen], truth[chosen]), rows[test[chosen]]
        for name, columns in data.groups.items():
            shuffled = part.copy()
            shuffled[:, columns] = part[order][:, columns]
            falls[name] += (base - _auc(_score(model, shuffled), truth[chosen])) / len(held_out)
    return dict(sorted(falls.items(), key=lambda item: -item[1]))


def _both_sides(truth: npt.NDArray[np.bool_], rng: np.random.Generator) -> Ints:
    """At most 1,000 positions, up to half of them from each side."""
    sides = [rng.permutation(np.flatnonzero(side))[: LOOKED_AT // 2] for side in (truth, ~truth)]
    return np.concatenate(sides)

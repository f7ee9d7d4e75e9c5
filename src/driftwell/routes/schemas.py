"""What each answer holds, for the OpenAPI document: these models describe, they never filter or validate.

Undefined is null, never absent. Times are RFC 3339 with Z unless a field says otherwise.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

__all__ = [
    "AlarmOut",
    "Cleared",
    "CollectorStats",
    "DriftPerformance",
    "DriftScores",
    "DriftStatus",
    "FeedbackCounts",
    "FeedbackRecorded",
    "HourOut",
    "MetricOut",
    "MonitoringStatus",
    "NotInitialized",
    "PredictionsAccepted",
    "RecentPrediction",
    "Rejected",
    "RetrainingTriggered",
    "Saved",
    "Statistics",
    "TimeRange",
]

Time = str | None
SeverityName = Literal["none", "low", "medium", "high"]


class Statistics(BaseModel):
    """Over all finite numeric values."""

    mean: float | None
    std: float | None
    min: float | None
    max: float | None


class TimeRange(BaseModel):
    """Event times of the first and the last prediction."""

    first: Time
    last: Time


class CollectorStats(BaseModel):
    """What was collected since the newest mark."""

    total_predictions: int = Field(description="Stored and waiting.")
    buffered_predictions: int = Field(description="The newest of them, kept at hand for display: at most max_samples.")
    errors_count: int = Field(description="Dropped and rejected records.")
    input_statistics: Statistics = Field(description="Over all finite numeric feature values.")
    output_statistics: Statistics = Field(description="Over the score, else the numeric prediction.")
    time_range: TimeRange
    features: dict[str, Any] = Field(description="Statistics by feature name.")


class NotInitialized(BaseModel):
    """Nothing has been set up yet."""

    status: Literal["collector_not_initialized"]


class RecentPrediction(BaseModel):
    """One recorded prediction."""

    prediction_id: str
    timestamp: Time
    input: Any = Field(description="The features by name.")
    output: Any = Field(description="The prediction.")
    metadata: dict[str, Any] | None


class Saved(BaseModel):
    """Where the batch was written."""

    status: Literal["saved"]
    filepath: str


class Cleared(BaseModel):
    """Memory was cleared and statistics start afresh; nothing stored was deleted."""

    status: Literal["cleared"]
    cleared: int


class AlarmOut(BaseModel):
    """`fired` only in the check that raises it; later ones of the same alarm are `active`."""

    fired: bool
    active: bool
    evidence: float | None
    bar: float | None


class DriftStatus(BaseModel):
    """The newest check. The single numbers belong to the feature that moved most."""

    status: Literal["analyzed", "insufficient_data", "no_reference"]
    drift_detected: bool | None
    psi: float | None
    psi_feature: str | None
    ks_statistic: float | None
    ks_p_value: float | None
    ks_feature: str | None
    mmd: float | None = Field(description="Unbiased MMD² of the row samples; null, with a `reason`, where off.")
    mmd_p_value: float | None
    multivariate: dict[str, Any] | None = Field(
        default=None, description="The test of whole rows where one is switched on, by whichever method."
    )
    outputs: dict[str, Any] = Field(
        default={}, description="Drift of `prediction`, `score` and `confidence`; no part of `drift_detected`."
    )
    reason: str | None = Field(default=None, description="Why a value is null.")
    interpretation: str | None = Field(description="Holds STABLE, MODERATE DRIFT or CRITICAL DRIFT once analyzed.")
    recommendation: str | None
    severity: SeverityName | None
    alarm: AlarmOut | None


class MetricOut(BaseModel):
    """A metric with its 95 % interval and the labelled rows behind it."""

    value: float | None
    low: float | None
    high: float | None
    n: int | None


class LabelsOut(BaseModel):
    """How many predictions have their label; `coverage` is their share."""

    matched: int
    coverage: float | None


class DriftPerformance(BaseModel):
    """Realized performance where labels are there, estimated performance where they are not."""

    total_predictions: int
    output_statistics: Statistics
    realized: dict[str, MetricOut] | None
    estimated: dict[str, MetricOut] | None
    labels: LabelsOut


class HourOut(BaseModel):
    """One hour of predictions."""

    count: int
    input_mean: float | None
    output_mean: float | None


class DriftScores(BaseModel):
    """Drift scores in 0…1 of the newest check."""

    feature_scores: dict[str, float | None]
    last_check: Time
    drift_detected: bool | None


class RetrainingOut(BaseModel):
    """The last run, the one in progress, and until when no policy may start another."""

    last: Any
    running: Any
    cooldown_until: Time


class MonitoringStatus(BaseModel):
    """One model at a glance."""

    status: str
    model: str
    version: str
    monitoring: bool
    reference_id: str | None
    last_check: Time
    next_check: Time
    drift: dict[str, Any] | None
    performance: dict[str, Any] | None
    quality: dict[str, Any] | None
    counts: dict[str, Any]
    retraining: RetrainingOut


class Rejected(BaseModel):
    """A row that was not taken, by its position in what was sent."""

    index: int
    reason: str


class PredictionsAccepted(BaseModel):
    """`ids[i]` belongs to row i; null where the row was rejected."""

    accepted: int
    ids: list[str | None]
    rejected: list[Rejected]
    ignored_fields: dict[str, int] = Field(description="Unknown fields and in how many rows they came.")
    waiting: int = Field(default=0, description="Events that wait for the other half of their exchange.")


class FeedbackCounts(BaseModel):
    """What became of the labels; `pending` ones were not yet committed after two seconds."""

    matched: int
    early: int = Field(description="Kept until their prediction arrives.")
    duplicate: int
    conflicting: int = Field(description="Another label was there first, which stands.")
    pending: int
    rejected: list[Rejected]
    fates: list[Literal["matched", "early", "duplicate", "conflicting", "pending", "ambiguous", "rejected"]] = Field(
        default=[], description="With `fates=true`: the word of each label, in the order they were sent."
    )


class FeedbackRecorded(BaseModel):
    """One label was taken; `matched` says whether its prediction is known."""

    status: Literal["feedback_recorded", "pending"]
    matched: bool


class RetrainingTriggered(BaseModel):
    """A retraining run was started."""

    status: Literal["retraining_triggered"]
    id: str

"""The model of January and February, and the reference that says what normal looked like then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from data import CATEGORICAL, FEATURES
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

import driftwell as dw

__all__ = ["FOLDS", "MODEL", "THRESHOLD", "VERSION", "Artifacts", "load_model", "matrix", "train"]

MODEL = "flights"
VERSION = "2013-02"

THRESHOLD = 0.5
"""A flight whose probability is at least this is called late. On the held-out days of January and February
the best F1 of any threshold, 0.746 at 0.396, is 0.001 above that of one half: too little to tune for."""

FOLDS = 4


@dataclass(frozen=True)
class Artifacts:
    """What training leaves behind, in one folder; ``baseline`` is the performance on held-out days."""

    folder: Path
    baseline: dict[str, float]
    rows: int
    late_share: float

    @property
    def reference_path(self) -> Path:
        """The file that ``dw.Reference.load`` reads."""
        return self.folder / "reference_distribution.json"


def train(table: pa.Table, folder: Path) -> Artifacts:
    """Fit the model on every flight of ``table`` and save it, with its reference, in ``folder``.

    A model looks better on the flights it has learnt from than it will ever look again: fitted and
    measured on January and February it has an AUC of 0.944, on days it has not seen one of 0.895. Both the
    baseline and the scores in the reference therefore come from held-out days: the days are dealt into four
    groups in turn, and each group is scored by a model fitted on the other three.
    """
    # Threads that wait for each other by spinning make these small fits three times as slow on a busy machine.
    with threadpool_limits(1, user_api="openmp"):
        scores = held_out_scores(table)
        model = fit(table)
    baseline = measure(table, scores)
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    artifacts = Artifacts(folder, baseline, table.num_rows, pc.mean(table["late"].cast(pa.int8())).as_py())
    reference(table, scores, baseline).save(artifacts.reference_path)
    return artifacts


def load_model(folder: Path) -> Pipeline:
    """The fitted model of ``train``; load only files you have written yourself."""
    model: Pipeline = joblib.load(folder / "model.joblib")
    return model


def matrix(table: pa.Table) -> npt.NDArray[np.object_]:
    """The features of a table in the model's order, one row a flight."""
    columns = [table[name].to_numpy(zero_copy_only=False).astype(object) for name in FEATURES]
    return np.stack(columns, axis=1)


def fit(table: pa.Table) -> Pipeline:
    """A boosted model of the flights whose outcome is known. A category never seen counts as missing."""
    known = table.filter(pc.is_valid(table["late"]))
    categorical = list(range(len(CATEGORICAL)))
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    model = make_pipeline(
        make_column_transformer((encoder, categorical), remainder="passthrough"),
        HistGradientBoostingClassifier(
            max_iter=150,
            learning_rate=0.08,
            early_stopping=False,
            categorical_features=categorical,
            random_state=0,
        ),
    )
    return model.fit(matrix(known), known["late"].to_numpy(zero_copy_only=False).astype(bool))


def held_out_scores(table: pa.Table) -> npt.NDArray[np.float64]:
    """For each flight the probability given by a model that has seen no flight of its day."""
    fold = table["date"].cast(pa.int32()).to_numpy() % FOLDS
    scores = np.empty(table.num_rows)
    for k in range(FOLDS):
        held_out = fold == k
        model = fit(table.filter(pa.array(~held_out)))
        scores[held_out] = model.predict_proba(matrix(table.filter(pa.array(held_out))))[:, 1]
    return scores


def measure(table: pa.Table, scores: npt.NDArray[np.float64]) -> dict[str, float]:
    """The performance of ``scores`` on the flights whose outcome is known."""
    known = pc.is_valid(table["late"]).to_numpy()
    late = table["late"].filter(pa.array(known)).to_numpy(zero_copy_only=False).astype(bool)
    score = scores[known]
    called = score >= THRESHOLD
    return {
        "accuracy": float(accuracy_score(late, called)),
        "precision": float(precision_score(late, called)),
        "recall": float(recall_score(late, called)),
        "f1": float(f1_score(late, called)),
        "roc_auc": float(roc_auc_score(late, score)),
    }


def reference(table: pa.Table, scores: npt.NDArray[np.float64], baseline: dict[str, float]) -> dw.Reference:
    """What the monitor compares with: features, predictions and scores of January and February."""
    rows = table.select(["flight_id", "timestamp", *FEATURES])
    rows = rows.append_column("prediction", pa.array((scores >= THRESHOLD).astype(np.int64)))
    rows = rows.append_column("score", pa.array(scores))
    rows = rows.append_column("true_label", table["late"].cast(pa.int64()))
    return dw.Reference.from_data(
        rows,
        feature_names=list(FEATURES),
        prediction="prediction",
        score="score",
        label="true_label",
        timestamp="timestamp",
        prediction_id="flight_id",
        name=MODEL,
        version=VERSION,
        performance=baseline,
    )

"""``drift_update_ref``: after which checks the reference follows the data, and with which rows."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell import Reference
from driftwell.config import settings_from
from driftwell.errors import BadInput, ConfigError, UnknownName

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LAST = {"last": 300}


def rows(n: int, moved: float = 0.0, *, hour: int = 0, seed: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(seed + hour)
    times = [START + hour * HOUR + timedelta(seconds=i) for i in range(n)]
    return {"x": rng.normal(moved, 1, n), "prediction": rng.choice(["a", "b"], n), "timestamp": times}


OLD = {name: values for name, values in rows(2_000, seed=100).items() if name != "timestamp"}


@pytest.fixture
def reference() -> Reference:
    return Reference.from_data(OLD, prediction="prediction", name="flights")


def record(monitor, columns: dict[str, Any]) -> None:
    monitor.record_batch(pa.table(columns))
    assert monitor.flush(10)


def test_after_a_calm_check_the_last_rows_are_the_reference(make, reference, caplog):
    caplog.set_level(logging.INFO, logger="driftwell.monitor")
    monitor = make(reference=reference, drift_update_ref=LAST)
    given = rows(400)
    record(monitor, given)
    check = monitor.check("PT1H", at=START + HOUR)
    new = monitor.reference
    assert check.reference_id == reference.id  # it was judged by the old one
    assert (new.parent, new.n_rows, new.name) == (reference.id, 300, "flights")
    assert sorted(new.sample.column("x").to_pylist()) == sorted(given["x"][100:].tolist())
    assert new.output_kinds["prediction"] == "categorical"
    assert [r.getMessage() for r in caplog.records if new.id in r.getMessage()] == [
        f"the reference of flights v1 is now {new.id}, 300 rows, updated from {reference.id}"
    ]
    stored = monitor.runtime.ledger.get_reference("flights", "v1")
    assert stored is not None
    assert stored[0] == new.id


def test_the_check_that_led_to_it_still_speaks(make, reference):
    monitor = make(reference=reference, drift_update_ref=LAST)
    record(monitor, rows(400))
    check = monitor.check("PT1H", at=START + HOUR)
    assert monitor.drift_status()["timestamp"] == check.to_dict()["timestamp"]
    (recorded,) = monitor.runtime.ledger.checks("flights", "v1", full=True)
    assert recorded == check.to_dict()


@pytest.mark.parametrize(
    ("moved", "unit", "n", "why"),
    [(1, 1, 400, "it drifted"), (0, 1, 50, "there were too few rows"), (0, 1e4, 400, "the data is broken")],
)
@pytest.mark.parametrize("when_drifted", [False, True])
def test_what_a_check_must_not_have_found(make, reference, moved, unit, n, why, when_drifted):
    monitor = make(reference=reference, drift_update_ref={**LAST, "when_drifted": when_drifted})
    given = rows(n, moved)
    record(monitor, given | {"x": given["x"] * unit})
    monitor.check("PT1H", at=START + HOUR)
    follows = when_drifted and why == "it drifted"
    assert (monitor.reference.id != reference.id) is follows, why


def test_drift_of_an_output_holds_it_back_too(make, reference):
    monitor = make(reference=reference, drift_update_ref=LAST)
    record(monitor, rows(400) | {"prediction": ["a"] * 400})
    assert not monitor.check("PT1H", at=START + HOUR).drift_detected
    assert monitor.reference.id == reference.id


def test_rows_that_are_not_in_the_store_update_nothing(make, reference):
    monitor = make(reference=reference, drift_update_ref=LAST)
    monitor.check("PT1H", at=START + HOUR, data=rows(400))
    assert monitor.reference.id == reference.id


def test_rows_of_windows_that_overlap_count_once(make, reference):
    monitor = make(reference=reference, drift_update_ref={"reservoir_sampling": 2_000})
    for hour, seen in ((0, 2_400), (1, 2_800)):
        record(monitor, rows(400, hour=hour))
        monitor.check("PT24H", at=START + (hour + 1) * HOUR)
        assert (monitor.reference.seen, monitor.reference.n_rows) == (seen, 2_000)


def test_a_reference_that_cannot_be_updated_is_said_and_spares_the_check(make, reference, caplog):
    monitor = make(reference=reference, drift_update_ref={"reservoir_sampling": 6_000})
    large = Reference.from_data({name: np.tile(values, 4) for name, values in OLD.items()}, prediction="prediction")
    monitor.set_reference(large)
    record(monitor, rows(400))
    assert monitor.check("PT1H", at=START + HOUR).status == "ok"
    assert monitor.reference.id == large.id
    assert "the reference of flights v1 was not updated: a reservoir of 6,000 needs more" in caplog.text


def test_by_default_the_reference_stays(make, reference):
    assert settings_from({}).drift_update_ref is None
    assert settings_from({"drift_update_ref": "none"}).drift_update_ref is None
    assert settings_from({"drift_update_ref": '{"last": 7}'}).drift_update_ref == {"last": 7}
    monitor = make(reference=reference)
    record(monitor, rows(400))
    monitor.check("PT1H", at=START + HOUR)
    assert monitor.reference.id == reference.id


def test_a_wrong_policy_is_an_error_at_the_start(make):
    with pytest.raises(ConfigError, match="drift_update_ref must be none"):
        make(drift_update_ref="last")
    with pytest.raises(UnknownName, match="reservoir_sampling"):
        make(drift_update_ref={"reservoir": 10})
    with pytest.raises(BadInput, match="sigma of drift_update_ref"):
        make(drift_update_ref={"last": 10, "sigma": 0})


def test_sigma_is_the_bandwidth_of_the_mmd_test_and_it_says_so(make, reference, caplog):
    options = {"drift_update_ref": {"last": 300, "sigma": 2.5}}
    make(name="off", **options)
    monitor = make(reference=reference, multivariate="mmd", **options)
    assert [r.getMessage() for r in caplog.records] == [
        "off: sigma 2.5 is taken as the bandwidth of the MMD test, which is off: multivariate = 'mmd' switches it on",
        "flights: sigma 2.5 is taken as the bandwidth of the MMD test",
    ]
    record(monitor, rows(400))
    check = monitor.check("PT1H", at=START + HOUR)
    assert check.drift["multivariate"]["test"]["bandwidth"] == 2.5

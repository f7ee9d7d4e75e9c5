"""A random split of the same rows is no change, however evenly its categories are filled."""

import numpy as np
import pytest
from scipy.stats import binom

import driftwell as dw


@pytest.mark.parametrize(("categories", "each", "share"), [(1_000, 12, 0.5), (500, 24, 0.23)])
def test_random_splits_of_panel_data_alarm_as_often_as_alpha_says(categories: int, each: int, share: float) -> None:
    rows = [f"s{i}" for i in range(categories)] * each + [f"n{i}" for i in range(20)]
    alarms = 0
    for seed in range(40):
        shuffled = np.random.default_rng(seed).permutation(np.array(rows, object))
        cut = int(share * len(rows))
        found = dw.compare({"x": shuffled[cut:]}, {"x": shuffled[:cut]}, "chi_squared", quality=False)
        p = found.columns["x"].p_value
        alarms += p is not None and p <= 0.05
    assert alarms <= binom.ppf(0.999, 40, 0.05)  # 8; every split alarmed when rare meant rare in the reference alone


def test_method_names_of_another_text_type_are_text() -> None:
    rng = np.random.default_rng(0)
    r = dw.compare({"x": rng.normal(size=300)}, {"x": rng.normal(size=200)}, method=[np.str_("ks")])
    assert '"method": "ks"' in r.to_json()


@pytest.mark.parametrize("method", [[3], [None], {"x": [3]}, {"x": 3}])
def test_methods_that_are_no_names_are_one_clear_error(method: object) -> None:
    with pytest.raises(ValueError, match="method is a name, a list of names"):
        dw.compare({"x": [1.0, 2.0]}, {"x": [1.0, 2.0]}, method=method)  # type: ignore[arg-type]

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "evaluation.cells",
        "evaluation.degradation",
        "evaluation.intervals",
        "evaluation.metrics",
        "evaluation.outcomes",
        "evaluation.performance",
        "evaluation.window",
        "kernels.classification",
        "kernels.regression",
        "testing",
    ],
)
def test_the_examples_of_the_docstrings_run(module):
    found = doctest.testmod(importlib.import_module(f"driftwell.{module}"))
    assert found.attempted > 0
    assert found.failed == 0

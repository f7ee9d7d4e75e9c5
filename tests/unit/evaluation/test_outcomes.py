import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwell.errors import BadInput, UnknownName
from driftwell.evaluation.outcomes import MOST_NUMERIC_CLASSES, read_outcomes


@pytest.mark.parametrize(
    ("labels", "predictions", "task"),
    [
        ([0, 1, 1], [0, 1, 0], "binary"),
        ([0.0, 1.0], [1, 0], "binary"),
        ([True, False], [False, True], "binary"),
        (["a", "b"], ["b", "a"], "binary"),
        ([-1, 1], [1, 1], "binary"),
        ([0, 1, 2], [0, 1, 1], "multiclass"),
        (["a", "b"], ["c", "a"], "multiclass"),
        ([0.5, 1.0], [0.4, 1.1], "regression"),
        ([0, 1], [0.3, 0.8], "regression"),
        (list(range(MOST_NUMERIC_CLASSES)), [0] * MOST_NUMERIC_CLASSES, "multiclass"),
        (list(range(MOST_NUMERIC_CLASSES + 1)), [0] * (MOST_NUMERIC_CLASSES + 1), "regression"),
        ([None, None], [0.3, 0.8], "regression"),
        ([], [], "binary"),
        (["1", "0"], [True, False], "binary"),
    ],
)
def test_the_task_is_read_off_the_values(labels, predictions, task):
    assert read_outcomes(labels, predictions).task == task


def test_classification_means_two_classes_or_more():
    assert read_outcomes([0, 1], [1, 0], task="classification").task == "binary"
    assert read_outcomes([0.5, 1.5, 2.5], [0.5, 0.5, 0.5], task="classification").task == "multiclass"


def test_a_binary_task_takes_a_stray_label_as_not_positive():
    found = read_outcomes([0, 1, "n/a", 1], [0, 1, 0, 0], task="binary")
    assert (found.task, found.positive, found.truth.tolist()) == ("binary", "1", [0, 1, 0, 1])


def test_known_classes_keep_a_small_window_multiclass():
    found = read_outcomes(["a", "b"], ["a", "a"], classes=["a", "b", "c"])
    assert (found.task, found.classes) == ("multiclass", ("a", "b", "c"))


@pytest.mark.parametrize("classes", [["0", "1"], (False, True), np.array([0, 1])])
def test_known_classes_match_whatever_their_type(classes):
    found = read_outcomes([0, 0], [0, 0], classes=classes)
    assert (found.task, found.classes) == ("binary", (0, 1))


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        ([0, 1], 1),
        ([1, 2], 1),
        ([False, True], True),
        ([-1, 1], 1),
        (["no", "yes"], "yes"),
        (["yes", "zzz"], "yes"),
        (["0", "1"], "1"),
        (["late", "on time"], "on time"),
        ([3, 7], 7),
        ([0], 1),
        ([False], True),
        (["no"], "yes"),
        (["late"], "late"),
        ([], 1),
    ],
)
def test_the_positive_class_follows_the_rule(values, positive):
    found = read_outcomes(values, values).positive
    assert found == positive
    assert type(found) is type(positive)


@pytest.mark.parametrize(
    ("values", "classes"),
    [([0], (0, 1)), ([True], (False, True)), (["yes"], ("no", "yes")), (["late"], ("(other)", "late"))],
)
def test_one_class_alone_has_its_opposite(values, classes):
    assert read_outcomes(values, values).classes == classes


@pytest.mark.parametrize("positive", ["late", np.str_("late")])
def test_a_positive_class_stands_against_all_others(positive):
    found = read_outcomes(["late", "early", "on time"], ["late", "on time", "late"], positive=positive)
    assert found.classes == ("(other)", "late")
    assert found.truth.tolist() == [1, 0, 0]
    assert found.predicted.tolist() == [1, 0, 1]


@pytest.mark.parametrize("positive", [0, False, "0", 0.0])
def test_a_positive_class_is_found_whatever_its_type(positive):
    assert read_outcomes([0, 1], [1, 1], positive=positive).truth.tolist() == [1, 0]


def test_a_positive_class_nobody_saw_is_kept():
    found = read_outcomes([0, 0], [0, 0], positive=1)
    assert found.classes == (0, 1)
    assert found.truth.sum() == 0


def test_rows_are_judged_or_counted():
    found = read_outcomes([1, None, 0, None], [1, 0, None, None], task="binary")
    assert (found.n, found.n_unlabelled, found.n_missing) == (1, 2, 1)
    assert found.kept.tolist() == [True, False, False, False]


@given(st.lists(st.tuples(*[st.sampled_from([None, 0, 1, 2, "a", True, 0.5, float("nan")])] * 2)))
def test_every_row_is_counted_once(rows):
    found = read_outcomes([row[0] for row in rows], [row[1] for row in rows])
    assert found.n + found.n_unlabelled + found.n_missing == len(rows)
    assert found.kept.sum() == found.n


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from([0, 1, 2])), min_size=1))
def test_codes_spell_the_rows_again(rows):
    found = read_outcomes([row[0] for row in rows], [row[1] for row in rows], task="multiclass")
    assert [found.classes[code] for code in found.truth] == [row[0] for row in rows]
    assert [found.classes[code] for code in found.predicted] == [row[1] for row in rows]


def test_far_apart_classes_are_coded_too():
    found = read_outcomes([10**9, -5], [-5, 7], task="multiclass")
    assert found.classes == (-5, 7, 10**9)
    assert found.truth.tolist() == [2, 0]


def test_regression_takes_only_what_is_a_number():
    found = read_outcomes(["1.5", "n/a", 2], [1, 1, None], task="regression")
    assert (found.truth.tolist(), found.n_unlabelled, found.n_missing) == ([1.5], 1, 1)


def test_unequal_lengths_are_refused():
    with pytest.raises(BadInput, match="2 labels for 3 predictions"):
        read_outcomes([1, 0], [1, 0, 1])


def test_an_unknown_task_is_refused():
    with pytest.raises(UnknownName, match="did you mean 'regression'"):
        read_outcomes([1], [1], task="regresion")

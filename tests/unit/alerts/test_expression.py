"""The language of rules: what it means, what it refuses, and that nothing makes it run code or raise."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from driftwell.alerts.expression import MAX_LENGTH, number_or_none, parse
from driftwell.errors import ConfigError

METRICS = {"a": 2.0, "b": 3.0, "zero": 0, "yes": True, "nan": math.nan, "none": None, "text": "7"}


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("a < b", True),
        ("a > b", False),
        ("a == 2 and b != 2", True),
        ("1 < a < b <= 3", True),
        ("1 < a < 2", False),
        ("not a >= b", True),
        ("(a + b) * 2 - 1 >= 9", True),
        ("b / a == 1.5", True),
        ("-a < +b", True),
        ("yes", True),
        ("zero", False),
        ("yes == True", True),
        ("yes and not zero", True),
        ("a < b and (zero or b == 3)", True),
        ("  a\t<b ", True),
    ],
)
def test_it_means_what_python_means(text, truth):
    assert parse(text).truth(METRICS) is truth


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("missing < 1", None),
        ("not missing", None),
        ("nan > 0", None),
        ("none == 0", None),
        ("text == 7", None),
        ("a / zero > 1", None),
        ("a < b and missing > 1", None),
        ("a > b and missing > 1", False),
        ("missing > 1 and a > b", False),
        ("missing > 1 or a < b", True),
        ("missing > 1 or a > b", None),
        ("a < missing < b", None),
        ("b < a < missing", False),
        ("a * 1e308 * 10 > 1", None),
    ],
)
def test_what_depends_on_a_missing_metric_is_unknown(text, truth):
    assert parse(text).truth(METRICS) is truth


def test_names_come_in_order_of_appearance_once():
    assert parse("b + a > a and c < b").names == ("b", "a", "c")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid"),
        ("a <", "not valid"),
        ("a = 1", "not valid"),
        ("a < 1; b", "not valid"),
        ("a\nb", "not valid"),
        ("a\x00 < 1", "not valid"),
        ("7", "has '7' where a comparison"),
        ("a - 1", "has 'a - 1' where a comparison"),
        ("a < 'x'", "has \"'x'\" where a metric name or a number"),
        ("a ** 2 > 1", r"has 'a \*\* 2' where"),
        ("a % 2 > 1", "where a metric name"),
        ("a // 2 > 1", "where a metric name"),
        ("a < (b and c)", "where a metric name"),
        ("a < (b < c)", "where a metric name"),
        ("a in b", "where a comparison"),
        ("a is b", "where a comparison"),
        ("a < 1j", "where a metric name"),
        ("a < 1e999", "where a metric name"),
        ("~a > 1", "where a metric name"),
        ("a if b else c", "where a comparison"),
        ("f(a) > 1", r"has 'f\(a\)' where"),
        ("__import__('os').system('true')", "where a comparison"),
        ("a.b > 1", r"has 'a\.b' where"),
        ("a[0] > 1", "where a metric name"),
        ("1 + f(a) > 1", r"has 'f\(a\)' where"),
        ("-f(a) > 1", r"has 'f\(a\)' where"),
        ("a > 1 or f(a) > 1", r"has 'f\(a\)' where"),
        ("not f(a) > 1", r"has 'f\(a\)' where"),
        ("0 < a < f(a)", r"has 'f\(a\)' where"),
        ("(lambda: 1)() > 0", "where a metric name"),
        ("(a := 1) > 0", "where a metric name"),
        ("[a] > [b]", "where a metric name"),
        ("f'{a}' > 1", "where a metric name"),
        ("*a", "not valid"),
        ("await a", "not valid|where a comparison"),
        ("not " * 25 + "a", "more than 20 levels"),
        ("a < " + "-" * 25 + "1", "more than 20 levels"),
        ("a < " + "(" * 240 + "1" + ")" * 240, "not valid|metric name|levels"),
        ("a < " + "1" * 500, f"at most {MAX_LENGTH} characters"),
        ("a < " + "9" * 400, "where a metric name"),
    ],
)
def test_all_else_is_refused_when_it_is_parsed(text, words):
    with pytest.raises(ConfigError, match=words):
        parse(text)


def test_parentheses_are_not_levels():
    assert parse("(" * 30 + "a < b" + ")" * 30).truth(METRICS) is True


@given(st.text(alphabet="ab01.<>=!+-*/()[]{}'\" \n\\andorit_:,%@", max_size=40))
@example("a" * 500)
@example("a<1" + " and a<1" * 60)
def test_any_text_parses_or_is_a_clear_error(text):
    try:
        expression = parse(text)
    except ConfigError:
        return
    assert expression.truth({"a": 1.0}) in (True, False, None)


# --- against Python's own evaluation, on expressions made of allowed parts ---------------------------------

NUMBERS = st.integers(0, 9).map(str) | st.sampled_from(["0.5", "1e2"])
TERMS = st.recursive(
    NUMBERS | st.sampled_from("xyz"),
    lambda part: (
        st.tuples(part, st.sampled_from("+-*"), part).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | part.map(lambda t: f"(-{t})")
    ),
    max_leaves=4,
)
COMPARED = st.tuples(TERMS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), TERMS).map(" ".join)
CONDITIONS = st.recursive(
    COMPARED,
    lambda part: (
        st.tuples(part, st.sampled_from(["and", "or"]), part).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | part.map(lambda c: f"(not {c})")
    ),
    max_leaves=4,
)
VALUES = st.fixed_dictionaries({name: st.floats(-10, 10) for name in "xyz"})


@given(CONDITIONS, VALUES)
def test_it_agrees_with_python_where_all_is_known(text, metrics):
    assert parse(text).truth(metrics) is bool(eval(text, {}, dict(metrics)))


@given(CONDITIONS, VALUES, st.sets(st.sampled_from("xyz")), VALUES)
def test_a_known_answer_holds_whatever_the_missing_metric_is(text, metrics, missing, others):
    known = {name: value for name, value in metrics.items() if name not in missing}
    truth = parse(text).truth(known)
    if truth is not None:
        filled = {**others, **known}
        assert parse(text).truth(filled) is truth


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (True, 1.0), (math.inf, None), ("1", None), (b"1", None), ([], None), (10**400, None)],
)
def test_only_finite_numbers_are_numbers(value, number):
    assert number_or_none(value) == number


def test_numpy_numbers_are_numbers():
    np = pytest.importorskip("numpy")
    assert number_or_none(np.float32(0.5)) == 0.5
    assert number_or_none(np.bool_(True)) == 1.0

"""The small language of rules: comparisons and arithmetic over metric names, parsed and never executed.

``drift_detected and max_drift_score > 0.3``, ``accuracy < 0.85 or f1 < baseline_f1 - 0.05``. Truth has three
values: what needs a missing metric is unknown, and unknown never fires a rule.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from driftwell.errors import ConfigError

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "Expression", "number_or_none", "parse"]

MAX_LENGTH = 500
MAX_DEPTH = 20

_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_SIGNS: dict[type[ast.unaryop], Callable[[float], float]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


@dataclass(frozen=True)
class Expression:
    """A parsed condition: its text and the metric ``names`` in it, in order of appearance."""

    text: str
    names: tuple[str, ...]
    _tree: ast.expr

    def truth(self, metrics: Mapping[str, Any]) -> bool | None:
        """Whether it holds; None when that depends on a metric that is missing or not a finite number."""
        return _truth(self._tree, metrics)


def parse(text: str) -> Expression:
    """Parse a condition; raises ``ConfigError`` that says what is wrong with it.

    Allowed are metric names, numbers, ``True`` and ``False``, ``+ - * /``, comparisons (also chained),
    ``and``, ``or``, ``not`` and parentheses; at most ``MAX_LENGTH`` characters and ``MAX_DEPTH`` levels.

    Examples
    --------
    >>> parse("accuracy < 0.85").truth({"accuracy": 0.82})
    True
    >>> parse("accuracy < 0.85").truth({}) is None
    True
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"a rule's expression has at most {MAX_LENGTH} characters, this one has {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as exc:
        reason = exc.msg if isinstance(exc, SyntaxError) else "it cannot be read"
        raise ConfigError(f"the expression {text!r} is not valid: {reason}") from exc
    _check_condition(tree, text, MAX_DEPTH)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    names.sort(key=lambda node: (node.lineno, node.col_offset))
    return Expression(text, tuple(dict.fromkeys(node.id for node in names)), tree)


def number_or_none(value: Any) -> float | None:
    """A metric's value as a finite float; None for anything else.

    Examples
    --------
    >>> number_or_none(True), number_or_none(float("nan")), number_or_none("7")
    (1.0, None, None)
    """
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


# --- what is allowed: a condition is true or false, a term is a number ---


def _refuse(node: ast.AST, text: str, expected: str) -> ConfigError:
    part = ast.get_source_segment(text.strip(), node) if isinstance(node, ast.expr) else None
    return ConfigError(f"the expression {text!r} has {part or type(node).__name__!r} where {expected} is expected")


def _check_condition(node: ast.expr, text: str, depth: int) -> None:
    _check_depth(text, depth)
    match node:
        case ast.Name() | ast.Constant(value=bool()):
            pass
        case ast.BoolOp(values=parts):
            for part in parts:
                _check_condition(part, text, depth - 1)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            _check_condition(part, text, depth - 1)
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARISONS for op in ops):
            for part in (left, *rest):
                _check_term(part, text, depth - 1)
        case _:
            raise _refuse(node, text, "a comparison such as accuracy < 0.85")


def _check_term(node: ast.expr, text: str, depth: int) -> None:
    _check_depth(text, depth)
    match node:
        case ast.Name():
            pass
        case ast.Constant(value=int() | float()) if number_or_none(node.value) is not None:
            pass
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            _check_term(left, text, depth - 1)
            _check_term(right, text, depth - 1)
        case ast.UnaryOp(op=op, operand=part) if type(op) in _SIGNS:
            _check_term(part, text, depth - 1)
        case _:
            raise _refuse(node, text, "a metric name or a number")


def _check_depth(text: str, depth: int) -> None:
    if depth <= 0:
        raise ConfigError(f"the expression {text!r} is nested more than {MAX_DEPTH} levels deep")


# --- evaluation of what was allowed ---


def _truth(node: ast.expr, metrics: Mapping[str, Any]) -> bool | None:
    match node:
        case ast.BoolOp(op=op, values=parts):
            decisive = isinstance(op, ast.Or)
            truths = [_truth(part, metrics) for part in parts]
            return decisive if decisive in truths else None if None in truths else not decisive
        case ast.UnaryOp(operand=part):
            inner = _truth(part, metrics)
            return None if inner is None else not inner
        case ast.Compare(left=left, ops=ops, comparators=rest):
            return _compare([_number(part, metrics) for part in (left, *rest)], ops)
        case _:
            value = _number(node, metrics)
            return None if value is None else value != 0.0


def _compare(numbers: list[float | None], ops: list[ast.cmpop]) -> bool | None:
    truths = [
        None if a is None or b is None else _COMPARISONS[type(op)](a, b)
        for a, op, b in zip(numbers, ops, numbers[1:], strict=False)
    ]
    return False if False in truths else None if None in truths else True


def _number(node: ast.expr, metrics: Mapping[str, Any]) -> float | None:
    match node:
        case ast.Name(id=name):
            return number_or_none(metrics.get(name))
        case ast.Constant(value=value):
            return number_or_none(value)
        case ast.UnaryOp(op=op, operand=part):
            inner = _number(part, metrics)
            return None if inner is None else _SIGNS[type(op)](inner)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _number(left, metrics), _number(right, metrics)
            if a is None or b is None or (isinstance(op, ast.Div) and b == 0.0):
                return None
            return number_or_none(_ARITHMETIC[type(op)](a, b))
    raise AssertionError(f"parse lets no {type(node).__name__} through")

"""Numbers, times and lists as a reader expects them; shared by the report, the pages and the charts."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "METHOD_WORDS",
    "axis_labels",
    "clean",
    "day",
    "distance",
    "figure",
    "joined",
    "method_word",
    "metric_word",
    "moment",
    "number",
    "parse_time",
    "percent",
    "probability",
    "sentence",
    "severity_word",
    "share_change",
    "short_figure",
    "shorten",
    "span",
    "whole",
]

DASH = "–"
TINY = 2.0**-1022  # below it float64 has no full precision: what a computation leaves of 0
MINUS = "\N{MINUS SIGN}"

METHOD_WORDS = {
    "psi": "PSI",
    "ks": "KS",
    "kl": "KL",
    "wasserstein": "Wasserstein",
    "jensen_shannon": "Jensen–Shannon",
    "hellinger": "Hellinger",
    "cramer_von_mises": "Cramér–von Mises",
    "anderson_darling": "Anderson–Darling",
    "energy": "Energy",
    "kuiper": "Kuiper",
    "t_test": "t-test",
    "g_test": "G-test",
    "z_test": "z-test",
    "total_variation": "Total variation",
    "mann_whitney": "Mann–Whitney",
    "chi_squared": "Chi-squared",
    "fisher_exact": "Fisher exact",
    "mmd": "MMD",
    "lsdd": "LSDD",
    "pca": "PCA reconstruction",
    "hotelling": "Hotelling’s T²",
}
"""How a method is written for a reader; any other name has its underscores replaced."""

METRIC_WORDS = {
    "f1": "F1",
    "mcc": "MCC",
    "roc_auc": "ROC AUC",
    "ece": "Calibration error",
    "mae": "MAE",
    "mse": "MSE",
    "rmse": "RMSE",
    "rmsle": "RMSLE",
    "mape": "MAPE",
    "smape": "sMAPE",
    "r2": "R²",
}

STATUS_WORDS = {
    "ok": "Healthy",
    "none": "Stable",
    "low": "Low",
    "medium": "Medium",
    "high": "High",
    "warning": "Warning",
    "critical": "Critical",
    "no_data": "No data",
    "error": "Error",
    "learning": "Learning",
    "drift": "Drift",
    "info": "Info",
}


def number(value: object) -> float | None:
    """``value`` as a finite float, else None: text, booleans, NaN and infinities are not numbers here.

    Examples
    --------
    >>> number(3), number(float("nan")), number("3"), number(None)
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def figure(value: object, digits: int = 3) -> str:
    """A number with ``digits`` significant digits and thousands separators; a dash where there is none.

    Examples
    --------
    >>> figure(0.12345), figure(68785), figure(12.0), figure(-0.5), figure(None), figure(4.2e-7), figure(5e-324)
    ('0.123', '68,785', '12', '−0.500', '–', '4.2e−7', '0')
    """
    x = number(value)
    if x is None:
        return DASH
    size = abs(x)
    if size < TINY:
        return "0"
    if not 1e-4 <= size < 1e9:
        mantissa, _, exponent = f"{x:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    places = 0 if x == int(x) else max(0, digits - 1 - math.floor(math.log10(size)))
    return f"{x:,.{places}f}".replace("-", MINUS)


def distance(value: object) -> str:
    """A drift value for a column of such values: three decimals below 10, never a value rounded to nothing.

    Examples
    --------
    >>> distance(0.21634), distance(8.791), distance(1.9e-5), distance(0), distance(131.07), distance(None)
    ('0.216', '8.791', '<0.001', '0', '131', '–')
    """
    x = number(value)
    if x is None or abs(x) < TINY or abs(x) >= 10:
        return figure(x)
    return f"{x:.3f}" if x >= 0.0005 else "<0.001" if x > 0 else figure(x)


def short_figure(value: object, digits: int = 4) -> str:
    """A number for an axis or a limit: ``20k`` instead of ``20,000``, no trailing zeros.

    Examples
    --------
    >>> short_figure(20000), short_figure(0.1 + 0.2), short_figure(1500000), short_figure(1200), short_figure(2e16)
    ('20k', '0.3', '1.5M', '1,200', '2e16')
    """
    x = number(value)
    if x is None:
        return DASH
    size = abs(x)
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if size >= unit:
            scale = 1e3 if letter == "k" else unit
            words = f"{x:.{digits}g}".replace("e+", "e") if size >= 1e15 else f"{x / scale:.{digits}g}{letter}"
            return words.replace("-", MINUS)
    text = f"{x:,.0f}" if size >= 1000 else f"{x:.{digits}g}"
    return text.replace("e-0", "e-").replace("-", MINUS)


def whole(value: object) -> str:
    """A count with thousands separators; a dash where there is none."""
    x = number(value)
    return DASH if x is None else f"{x:,.0f}"


def percent(share: object) -> str:
    """A share in 0…1 as a percentage that never rounds something to nothing.

    Examples
    --------
    >>> percent(0.1234), percent(0.00002), percent(0), percent(0.9999), percent(1)
    ('12.3%', '<0.1%', '0%', '>99.9%', '100%')
    """
    x = number(share)
    if x is None:
        return DASH
    if 0 < x < 0.0005:
        return "<0.1%"
    if 0.9995 <= x < 1:
        return ">99.9%"
    return f"{100 * x:.0f}%" if x in (0.0, 1.0) else f"{100 * x:.1f}%".replace("-", MINUS)


def share_change(before: object, after: object) -> str:
    """``0.2% → 1.3%``, or one figure when both read the same."""
    first, second = percent(before), percent(after)
    return first if first == second else f"{first} → {second}"


def probability(p: object) -> str:
    """A p-value: three decimals, ``<0.0001`` below that.

    Examples
    --------
    >>> probability(0.0312), probability(1e-30), probability(0.0004), probability(None)
    ('0.031', '<0.0001', '0.0004', '–')
    """
    x = number(p)
    if x is None:
        return DASH
    if x < 0.0001:
        return "<0.0001"
    return f"{x:.4f}" if x < 0.001 else f"{x:.3f}"


def method_word(name: object) -> str:
    """How a method is written: ``jensen_shannon`` is ``Jensen–Shannon``."""
    text = str(name or "")
    return METHOD_WORDS.get(text) or text.replace("_", " ").capitalize()


def metric_word(name: object) -> str:
    """How a performance metric is written: ``roc_auc`` is ``ROC AUC``."""
    text = str(name or "")
    return METRIC_WORDS.get(text) or text.replace("_", " ").capitalize()


def severity_word(name: object) -> str:
    """How a severity or a status is written; it always stands beside its shape and colour."""
    text = str(name or "no_data")
    return STATUS_WORDS.get(text) or text.replace("_", " ").capitalize()


def joined(names: Iterable[str], limit: int = 3) -> str:
    """``a, b and 2 more``: at most ``limit`` names spelled out.

    Examples
    --------
    >>> joined(["a"]), joined(["a", "b"]), joined(["a", "b", "c", "d", "e"])
    ('a', 'a and b', 'a, b, c and 2 more')
    """
    known = list(names)
    shown = known[:limit] if len(known) > limit else known
    if len(known) > limit:
        return f"{', '.join(shown)} and {len(known) - limit} more"
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def sentence(text: object) -> str:
    """Text with a capital at its start and a full stop at its end; empty for nothing.

    Examples
    --------
    >>> sentence("psi 0.2 reaches its threshold"), sentence("too few rows"), sentence(None)
    ('PSI 0.2 reaches its threshold.', 'Too few rows.', '')
    """
    words = str(text or "").strip()
    if not words:
        return ""
    first = words.partition(" ")[0]
    words = (METHOD_WORDS.get(first) or first[:1].upper() + first[1:]) + words[len(first) :]
    return words if words.endswith((".", "!", "?", ":")) else f"{words}."


def clean(value: object) -> str:
    """Any value as text that fits XML and UTF-8: control characters and lone surrogates become ``�``.

    So do characters that turn the direction of text: a name cannot disguise what follows it.
    """
    text = value if isinstance(value, str) else str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(c) for c in text)


def _visible(char: str) -> str:
    if char in "\t\n\r":
        return " "
    code = ord(char)
    harmful = code < 32 or 0x7F <= code < 0xA0 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
    return "\N{REPLACEMENT CHARACTER}" if harmful or 0xD800 <= code <= 0xDFFF or code & 0xFFFE == 0xFFFE else char


def shorten(value: object, width: int) -> str:
    """At most ``width`` columns of text, the middle left out: long names differ at their ends.

    Examples
    --------
    >>> shorten("average_daily_temperature_lag_7", 16)
    'average_d…_lag_7'
    """
    text = clean(value)
    if _columns(text) <= width:
        return text
    tail_width = max(1, (width - 1) * 2 // 5)
    head, tail = _fitting(text, width - 1 - tail_width), _fitting(text[::-1], tail_width)[::-1]
    return f"{head}…{tail}"


def _columns(text: str) -> int:
    return sum(map(_cell, text)) if not text.isascii() else len(text)


def _cell(char: str) -> int:
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _fitting(text: str, width: int) -> str:
    used = 0
    for i, char in enumerate(text):
        used += _cell(char)
        if used > width:
            return text[:i]
    return text


# -- times ---------------------------------------------------------------------------------------------------


def parse_time(value: Any) -> datetime | None:
    """RFC 3339 text, a datetime or microseconds since 1970 as an aware UTC time; None where it is none."""
    try:
        if isinstance(value, datetime):
            found = value
        elif isinstance(value, int) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value / 1e6, UTC)
        else:
            found = datetime.fromisoformat(str(value))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def day(value: Any, *, year: bool = True) -> str:
    """``4 Mar 2013``; text that is no time comes back as it is."""
    found = parse_time(value)
    if found is None:
        return DASH if value is None else clean(value)
    return f"{found.day} {found:%b %Y}" if year else f"{found.day} {found:%b}"


def moment(value: Any) -> str:
    """``4 Mar 2013, 18:05 UTC``; text that is no time comes back as it is."""
    found = parse_time(value)
    if found is None:
        return DASH if value is None else clean(value)
    return f"{found.day} {found:%b %Y, %H:%M} UTC"


def span(start: Any, end: Any) -> str:
    """A window in words, the hours only where they matter.

    Examples
    --------
    >>> span("2013-03-04T00:00:00Z", "2013-03-11T00:00:00Z")
    '4 Mar – 11 Mar 2013'
    """
    first, last = parse_time(start), parse_time(end)
    if first is None or last is None:
        return f"{day(start)} – {day(end)}"
    if (last - first).total_seconds() % 86_400 == 0 and last > first:
        return f"{day(first, year=first.year != last.year)} – {day(last)}"
    if first.date() == last.date():
        return f"{day(first)}, {first:%H:%M}–{last:%H:%M} UTC"
    return f"{moment(first).removesuffix(' UTC')} – {moment(last)}"


def axis_labels(starts: Sequence[Any]) -> list[str]:
    """Short labels of points in time for an axis: days, with the hour where several fall on one day."""
    times = [parse_time(start) for start in starts]
    days = [t.date() for t in times if t is not None]
    hourly = len(set(days)) < len(days)
    labels = []
    for start, time in zip(starts, times, strict=True):
        text = day(start, year=False)
        labels.append(f"{text} {time:%H:%M}" if hourly and time is not None else text)
    return labels

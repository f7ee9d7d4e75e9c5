"""Charts over time: lines with bands and thresholds, and sparklines for table cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from driftwell.reports.svg import (
    PLOT_HEIGHT,
    STRETCH,
    blank,
    coordinate,
    drawable,
    drawing,
    escape,
    hits,
    polyline,
    share_of,
    stretched,
    text,
    x_axis,
    y_axis,
)
from driftwell.reports.words import figure, percent, short_figure

__all__ = ["Series", "line", "sparkline"]

MAX_POINTS = 400

Series = Sequence[tuple[str, Sequence[tuple[Any, float | None]]]]
Limits = tuple[float, float] | None
Scale = Callable[[float], float]
Write = Callable[[object], str]


def line(
    series: Series,
    *,
    title: str,
    threshold: float | None = None,
    band: Sequence[tuple[float | None, float | None] | None] | None = None,
    shares: bool = False,
    from_zero: bool = False,
) -> str:
    """Values over time, one line a series; None is a gap, a lone value a dot.

    Parameters
    ----------
    series
        ``(name, [(label, value), …])`` each, aligned by position; the newest ``MAX_POINTS`` are drawn.
    threshold
        A dashed line across, named in the picture.
    band
        ``(low, high)`` at each position of the first series, for instance its interval.
    shares
        Write values as percentages.
    from_zero
        Start the axis at zero, as counts should.
    """
    drawn = [(name, [(x, drawable(y)) for x, y in points][-MAX_POINTS:]) for name, points in series]
    count = max((len(points) for _, points in drawn), default=0)
    limits = [_limits(pair) for pair in list(band or ())[-MAX_POINTS:]][:count]
    values = [y for _, points in drawn for _, y in points if y is not None]
    if not values:
        return blank("line", title, "No values yet.")
    limit = drawable(threshold)
    extent = (
        [0.0] * from_zero
        + values
        + [edge for pair in limits if pair for edge in pair]
        + ([] if limit is None else [limit])
    )
    low, high = _extent(min(extent), max(extent))

    def down(y: float) -> float:
        return PLOT_HEIGHT * (high - y) / (high - low)

    across = [(i + 0.5) / count for i in range(count)]
    labels = max((points for _, points in drawn), key=len)
    lines, words = y_axis(low, high, PLOT_HEIGHT, percent=shares)
    write = percent if shares else figure
    places = hits((i / count, (i + 1) / count, _tip(drawn, limits, i, write)) for i in range(count))
    shapes = lines + _band(across, limits, down) + _lines(across, drawn, down) + places
    body = words + stretched(shapes, PLOT_HEIGHT) + _dots(across, drawn, down)
    if limit is not None:
        body += _threshold(limit, down(limit))
    body += x_axis([(across[i], str(labels[i][0])) for i in _spread(count, 6)], PLOT_HEIGHT)
    entries = [(f"c-s{i % 4}", name) for i, (name, _) in enumerate(drawn)] if len(drawn) > 1 else []
    says = f"{count} points; {_summary(values, write)}"
    return drawing("line", title, body, entries, says)


def sparkline(values: Sequence[float | None]) -> str:
    """A line without axes, for a table cell; from zero, so that a small wobble looks small."""
    known = [drawable(value) for value in values][-MAX_POINTS:]
    finite = [value for value in known if value is not None]
    if not finite:
        return ""
    drawn = known if len(finite) > 1 else finite * 2  # one value is a level line
    low, high = min(0.0, *finite), max(finite)

    def down(y: float) -> float:
        return 26 - 24 * (y - low) / ((high - low) or 1.0)

    last = len(drawn) - 1
    points = [None if y is None else (STRETCH * i / last, down(y)) for i, y in enumerate(drawn)]
    says = escape(f"{len(finite)} values; {_summary(finite, figure)}")
    body = stretched(f'<path class="c-line c-s0" d="{polyline(points)}"/>', 28.0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart chart-spark" role="img" aria-label="{says}" '
        f'width="110" height="28"><title>{says}</title>{body}</svg>'
    )


def _summary(values: Sequence[float], write: Write) -> str:
    return f"from {write(min(values))} to {write(max(values))}, the last {write(values[-1])}"


def _limits(pair: tuple[float | None, float | None] | None) -> Limits:
    low, high = (drawable(pair[0]), drawable(pair[1])) if pair else (None, None)
    return None if low is None or high is None else (low, high)


def _extent(low: float, high: float) -> tuple[float, float]:
    """A little air above and below; from zero where the values are not far above it."""
    if 0 <= low <= 0.4 * high:
        return 0.0, 1.06 * high or 1.0
    pad = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return low - pad, high + pad


def _band(across: Sequence[float], limits: Sequence[Limits], down: Scale) -> str:
    """The stretches where both limits are known, each as one closed shape."""
    runs: list[list[tuple[float, tuple[float, float]]]] = [[]]
    for x, pair in zip(across, limits, strict=False):
        if pair is None:
            runs.append([])
        else:
            runs[-1].append((STRETCH * x, pair))
    shapes = []
    for run in runs:
        there = [(x, down(high)) for x, (_, high) in run]
        back = [(x, down(low)) for x, (low, _) in reversed(run)]
        if len(run) > 1:
            shapes.append(polyline([*there, *back]) + "Z")
    return f'<path class="c-band" d="{"".join(shapes)}"/>' if shapes else ""


def _lines(across: Sequence[float], drawn: Series, down: Scale) -> str:
    parts = []
    for i, (_, points) in enumerate(drawn):
        known = zip(across, (y for _, y in points), strict=False)
        path = polyline(None if y is None else (STRETCH * x, down(y)) for x, y in known)
        parts.append(f'<path class="c-line c-s{i % 4}" d="{path}"/>')
    return "".join(parts)


def _dots(across: Sequence[float], drawn: Series, down: Scale) -> str:
    """A dot a value while there is room, and always where a value stands alone between gaps."""
    parts = []
    for i, (_, points) in enumerate(drawn):
        ys = [None, *(y for _, y in points), None]
        for x, before, y, after in zip(across, ys, ys[1:], ys[2:], strict=False):
            if y is not None and (len(points) <= 60 or (before is None and after is None)):
                centre = f'cx="{share_of(x)}" cy="{coordinate(down(y))}" r="2.5"'
                parts.append(f'<circle class="c-dot c-s{i % 4}" {centre}/>')
    return "".join(parts)


def _threshold(limit: float, y: float) -> str:
    words = text("c-note", f"threshold {short_figure(limit, 3)}", "100%", y - 5)
    return f'<line class="c-limit" x2="100%" y1="{coordinate(y)}" y2="{coordinate(y)}"/>{words}'


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` positions out of ``count``, evenly apart."""
    step = -(-count // most)
    return list(range(0, count, step))


def _tip(drawn: Series, limits: Sequence[Limits], index: int, write: Write) -> str:
    parts = []
    label = ""
    for i, (name, points) in enumerate(drawn):
        if index < len(points):
            label = str(points[index][0])
            pair = limits[index] if i == 0 and index < len(limits) else None
            interval = f" ({write(pair[0])} to {write(pair[1])})" if pair else ""
            parts.append(f"{name} {write(points[index][1])}{interval}")
    return f"{label}: {', '.join(parts)}"

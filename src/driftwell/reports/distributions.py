"""Charts of one column: reference and current as densities, cumulative shares or bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from driftwell.reports.reading import items
from driftwell.reports.svg import (
    PLOT_HEIGHT,
    STRETCH,
    below,
    blank,
    coordinate,
    drawable,
    drawing,
    escape,
    frame,
    grid,
    hits,
    legend,
    nice_ticks,
    polyline,
    share_of,
    shares,
    step_path,
    stretched,
    text,
    x_axis,
    y_axis,
)
from driftwell.reports.words import figure, percent, share_change, short_figure, shorten

__all__ = ["bars", "ecdf", "overlay", "thumbnail"]

BAR_ROW = 25.0
MAX_BARS = 30
CURVE_POINTS = 50
NAME_COLUMNS = 18
SIDES = (("c-ref", "Reference"), ("c-cur", "Current"))


def overlay(distribution: Mapping[str, Any] | None, *, title: str) -> str:
    """Reference and current in one picture: densities of numbers, paired bars of categories.

    Parameters
    ----------
    distribution
        ``ColumnResult.distribution``. None, or one without bins, gives a chart that says so.
    title
        Names the chart for tooltips and screen readers.

    Examples
    --------
    >>> d = {"type": "categorical", "labels": ["a"], "reference": [1.0], "current": [1.0]}
    >>> overlay(d, title="city").startswith("<svg")
    True
    """
    found = distribution if isinstance(distribution, Mapping) else {}
    if found.get("type") == "numeric":
        return _densities(found, title)
    labels = found.get("labels")
    if not isinstance(labels, (list, tuple)) or not labels:
        return blank("overlay", title, "No distribution was recorded.")
    return _paired_bars(found, list(labels), title)


def ecdf(distribution: Mapping[str, Any] | None, *, title: str) -> str:
    """The share of values at or below each point, reference and current; numeric columns only."""
    points = distribution.get("ecdf") if isinstance(distribution, Mapping) else None
    xs = _ascending(points.get("x"), 1) if isinstance(points, Mapping) else None
    if not isinstance(points, Mapping) or xs is None:
        return blank("ecdf", title, "No cumulative distribution was recorded.")
    sides = [[min(share, 1.0) for share in side] for side in _sides(points, len(xs))]
    xs, sides = _to_the_ends(xs, sides, distribution)
    low, high = _central(xs, sides)
    lines, words = y_axis(0, 1, PLOT_HEIGHT, count=5, percent=True)
    for (kind, _), values in zip(SIDES, sides, strict=True):
        curve = _curve([(_place(x, low, high), y) for x, y in zip(xs, values, strict=True)])
        lines += f'<path class="c-line {kind}" d="{curve}"/>'
    body = words + stretched(lines, PLOT_HEIGHT) + x_axis(_number_labels(low, high), PLOT_HEIGHT)
    gap, at = max((abs(a - b), x) for a, b, x in zip(*sides, xs, strict=True))
    says = f"Cumulative shares; they differ most at {figure(at)}, by {percent(gap)}"
    return drawing("ecdf", title, body, SIDES, says)


def thumbnail(distribution: Mapping[str, Any] | None) -> str:
    """The overlay without axes, for a table cell; empty text where there is nothing to draw."""
    found = distribution if isinstance(distribution, Mapping) else {}
    sides: tuple[list[float], list[float]]
    if found.get("type") == "numeric":
        edges = _edges(found)
        if edges is None:
            return ""
        xs, left, right = _visible_bins(edges, *_sides(found, len(edges) - 1))
        sides = (left, right)
    else:
        count = min(len(items(found.get("labels"))), 12)
        xs, sides = [float(i) for i in range(count + 1)], _sides(found, count)
    if len(xs) < 2:
        return ""
    paths = _step_paths(xs, sides, 26.0)
    box = 'class="chart chart-thumb" width="96" height="28" aria-hidden="true"'
    return f"<svg {box}>{stretched(paths, 28.0)}</svg>"


def _densities(found: Mapping[str, Any], title: str) -> str:
    edges = _edges(found)
    if edges is None:
        return blank("overlay", title, "No distribution was recorded.")
    reference, current = _sides(found, len(edges) - 1)
    xs, left, right = _visible_bins(edges, reference, current)
    low, high = xs[0], xs[-1]
    places = []
    for (a, b), p, q in zip(pairwise(edges), reference, current, strict=True):
        if low <= a and b <= high:
            words = f"{figure(a)} to {figure(b)}: {share_change(p, q)}"
            places.append((_place(a, low, high), _place(b, low, high), words))
    # Only the shape of a density is read, not its height: hairlines without numbers.
    shapes = grid((0, PLOT_HEIGHT / 3, 2 * PLOT_HEIGHT / 3)) + _step_paths(xs, (left, right), PLOT_HEIGHT)
    body = stretched(shapes + hits(places), PLOT_HEIGHT) + x_axis(_number_labels(low, high), PLOT_HEIGHT)
    outside = _outside(edges, reference, current, low, high)
    says = f"Reference and current share of values between {figure(low)} and {figure(high)}. {outside}"
    return drawing("overlay", title, body, SIDES, says.strip(), note=outside)


def _sides(found: Mapping[str, Any], count: int) -> tuple[list[float], list[float]]:
    return shares(found.get("reference"), count), shares(found.get("current"), count)


def _edges(found: Mapping[str, Any]) -> list[float] | None:
    """Edges of at least one bin, those of a constant column moved apart so that it can be seen."""
    edges = _ascending(found.get("edges"), 2)
    if edges is not None and edges[-1] - edges[0] <= max(1e-12 * abs(edges[0]), 1e-200):
        pad = 0.5 * max(abs(edges[0]), 1e-100)
        return [edges[0] - pad, *edges[1:-1], edges[-1] + pad]
    return edges


def _ascending(values: object, least: int) -> list[float] | None:
    """At least ``least`` numbers that never fall; None for anything else."""
    known = [drawable(v) for v in values] if isinstance(values, (list, tuple)) else []
    found = [v for v in known if v is not None]
    if len(found) < least or len(found) != len(known) or any(b < a for a, b in pairwise(found)):
        return None
    return found


def _to_the_ends(
    xs: list[float], sides: list[list[float]], distribution: Mapping[str, Any] | None
) -> tuple[list[float], list[list[float]]]:
    """The curves continued by the cumulated bars where those reach further than the points do."""
    edges = _edges(distribution or {})
    if edges is None:
        return xs, sides
    bars = [_running(side) for side in _sides(distribution or {}, len(edges) - 1)]
    before = [k for k, edge in enumerate(edges) if edge < xs[0]]
    after = [k for k, edge in enumerate(edges) if edge > xs[-1]]
    longer = [
        [*(bar[k] for k in before), *side, *(min(bar[k], 1.0) for k in after)]
        for bar, side in zip(bars, sides, strict=True)
    ]
    return [*(edges[k] for k in before), *xs, *(edges[k] for k in after)], longer


def _place(x: float, low: float, high: float) -> float:
    """Where ``x`` lies between ``low`` and ``high`` as a number in 0…1; in the middle when they are equal."""
    return min(max((x - low) / (high - low), 0.0), 1.0) if high > low else 0.5


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """A line through at most ``CURVE_POINTS`` of the points, the last one always among them."""
    step = -(-len(points) // CURVE_POINTS)
    kept = [*points[:-1:step], points[-1]]
    return polyline([(STRETCH * x, PLOT_HEIGHT * (1 - y)) for x, y in kept])


def _visible_bins(
    edges: Sequence[float], reference: Sequence[float], current: Sequence[float]
) -> tuple[list[float], list[float], list[float]]:
    """Edges and densities of what is worth the room; a bin too thin to be seen borrows from the next."""
    low, high = _central(edges, (_running(reference), _running(current)))
    least = (high - low) / max(120, 3 * len(edges))
    xs, left, right = [low], list[float](), list[float]()
    for (a, b), p, q in zip(pairwise(edges), reference, current, strict=True):
        if low <= a and b <= high:
            xs.append(max(b, xs[-1] + least))
            width = xs[-1] - xs[-2]
            left.append(p / width)
            right.append(q / width)
    return xs, left, right


def _central(xs: Sequence[float], cumulated: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The range to draw: without the outermost bins where they stretch the axis and hold almost nothing."""
    low, high = 0, len(xs) - 1
    room = 0.1 * (xs[high - 1] - xs[1]) if high > 2 else 0.0
    if 0 < room < xs[1] - xs[0] and all(_at(side, 1) <= 0.02 for side in cumulated):
        low = 1
    if 0 < room < xs[high] - xs[high - 1] and all(_at(side, high - 1) >= 0.98 for side in cumulated):
        high -= 1
    return xs[low], xs[high]


def _at(cumulated: Sequence[float], index: int) -> float:
    return cumulated[index] / (cumulated[-1] or 1.0)


def _running(values: Sequence[float]) -> list[float]:
    total, out = 0.0, [0.0]
    for value in values:
        total += value
        out.append(total)
    return out


def _outside(edges: Sequence[float], p: Sequence[float], q: Sequence[float], low: float, high: float) -> str:
    """What the axis leaves out, in words; empty where it leaves nothing out."""
    parts = []
    if edges[0] < low:
        parts.append(f"{share_change(p[0], q[0])} below, down to {figure(edges[0])}")
    if edges[-1] > high:
        parts.append(f"{share_change(p[-1], q[-1])} above, up to {figure(edges[-1])}")
    return f"Not drawn: {'; '.join(parts)}" if parts else ""


def _step_paths(xs: Sequence[float], sides: Sequence[Sequence[float]], height: float) -> str:
    """The reference as a filled shape, the current rows as a line: not told apart by colour alone."""
    tallest = max((max(side, default=0.0) for side in sides), default=0.0) or 1.0
    scale = STRETCH / ((xs[-1] - xs[0]) or 1.0)
    across = [(x - xs[0]) * scale for x in xs]
    heights = [[height - (height - 2) * value / tallest for value in side] for side in sides]
    return (
        f'<path class="c-area c-ref" d="{step_path(across, heights[0], height, close=True)}"/>'
        f'<path class="c-line c-cur" d="{step_path(across, heights[1], height)}"/>'
    )


def _number_labels(low: float, high: float) -> list[tuple[float, str]]:
    return [(_place(tick, low, high), short_figure(tick)) for tick in nice_ticks(low, high, 6)]


def _paired_bars(found: Mapping[str, Any], labels: list[Any], title: str) -> str:
    shown = labels[:MAX_BARS]
    sides: Sequence[list[float]] = _sides(found, len(labels))
    if len(labels) > MAX_BARS:
        shown = [*shown[:-1], f"{len(labels) - MAX_BARS + 1} others"]
        sides = [[*side[: MAX_BARS - 1], sum(side[MAX_BARS - 1 :])] for side in sides]
    longest = max(max(side) for side in sides) or 1.0
    rows = []
    for i, (label, p, q) in enumerate(zip(shown, *sides, strict=True)):
        y = i * BAR_ROW
        rows.append(
            _row_start(label, share_change(p, q), y)
            + _bar("c-ref", p / longest, y + 3, 8)
            + _bar("c-cur", q / longest, y + 12, 8)
            + text("c-value", share_change(p, q), "100%", y + 15.5, 8)
            + "</g>"
        )
    keys, top = legend(SIDES)
    height = BAR_ROW * len(rows)
    body = keys + below("".join(rows), top + 4)
    widest = max(range(len(shown)), key=lambda i: abs(sides[0][i] - sides[1][i]))
    change = share_change(sides[0][widest], sides[1][widest])
    says = f"{len(labels)} categories; largest change: {shown[widest]}, {change}"
    return frame("pairs", title, body, height=top + 8 + height, says=says)


def bars(labels: Sequence[Any], values: Sequence[float | None], *, title: str) -> str:
    """Horizontal bars with their values, in the order given; the first ``MAX_BARS`` of very many."""
    pairs = [(label, drawable(value)) for label, value in zip(labels, values, strict=False)]
    if not pairs:
        return blank("bars", title, "Nothing to show.")
    shown = pairs[:MAX_BARS]
    longest = max((abs(value) for _, value in shown if value is not None), default=0.0) or 1.0
    rows = []
    for i, (label, value) in enumerate(shown):
        y = i * 20.0
        length = 0.0 if value is None else abs(value) / longest
        rows.append(
            _row_start(label, figure(value), y - 2)
            + _bar("c-one", length, y + 4, 11)
            + text("c-value", figure(value), share_of(length), y + 13.5, 6)
            + "</g>"
        )
    height = 20.0 * len(rows)
    body = "".join(rows)
    if len(pairs) > MAX_BARS:
        body += text("c-more", f"{len(pairs) - MAX_BARS} more are not drawn", "0", height + 16)
        height += 18
    says = f"{len(pairs)} bars, the longest {figure(longest)}"
    return frame("bars", title, body, height=height + 4, says=says)


def _row_start(label: object, words: str, y: float) -> str:
    """A group with its tooltip and its name to the left of the bars."""
    tip = escape(f"{label}: {words}")
    return f"<g><title>{tip}</title>" + text("c-name", shorten(label, NAME_COLUMNS), "-8", y + 15.5)


def _bar(kind: str, length: float, y: float, height: float) -> str:
    if length <= 0:
        return ""
    box = f'y="{coordinate(y)}" width="{share_of(length)}" height="{coordinate(height)}" rx="1.5"'
    return f'<rect class="c-bar {kind}" {box}/>'

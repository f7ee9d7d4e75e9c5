"""The few pieces of SVG all charts are made of: escaping, a fluid frame, scales, ticks, paths.

A chart is as wide as its place: positions across are percentages, heights are pixels, and only paths are
stretched. So text keeps its size on a phone. Words beside the plot lie outside the ``<svg>``, in margins that
the style sheet gives each kind of chart. Nothing has an ``id`` or a ``style`` attribute: many charts share a
page, and a strict content security policy allows neither inline styles nor scripts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape as html_escape

from driftwell.reports.words import clean, number, short_figure, shorten

__all__ = [
    "PLOT_HEIGHT",
    "STRETCH",
    "below",
    "blank",
    "coordinate",
    "drawable",
    "drawing",
    "escape",
    "frame",
    "grid",
    "hits",
    "legend",
    "nice_ticks",
    "polyline",
    "share_of",
    "shares",
    "step_path",
    "stretched",
    "text",
    "x_axis",
    "y_axis",
]

STRETCH = 1000
"""Width of the coordinates inside ``stretched``; whole numbers are fine enough there."""

PLOT_HEIGHT = 150.0
CHARACTER_PX = 6.6
DRAWABLE = 1e150
AXIS_LEFT = {"ecdf": -40.0, "line": -40.0}
"""Charts with an axis: the style sheet keeps 40 pixels for it, the legend starts where the axis does."""


def escape(value: object) -> str:
    """Any value as text that is safe in markup, in an attribute too."""
    return html_escape(clean(value), quote=True)


def coordinate(value: float) -> str:
    """A coordinate with one decimal, as short as it can be."""
    digits = f"{value:.1f}".removesuffix(".0")
    return "0" if digits == "-0" else digits


def share_of(value: float) -> str:
    """A position across as a percentage attribute, ``value`` in 0…1."""
    return f"{100 * value:.2f}".rstrip("0").rstrip(".") + "%"


def frame(kind: str, title: object, body: str, *, height: float, says: str = "", role: str = "img") -> str:
    """The outer ``<svg>`` of a chart; ``says`` is what it shows in words, for those who cannot see it."""
    label = f"{clean(title)}. {says}" if says else clean(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart chart-{kind}" role="{role}" '
        f'aria-label="{escape(label)}" width="100%" height="{coordinate(height)}">'
        f"<title>{escape(title)}</title>{body}</svg>"
    )


def drawing(
    kind: str, title: str, body: str, entries: Sequence[tuple[str, object]], says: str, *, note: str = ""
) -> str:
    """A chart with legend, plot and the note under it, around a body ``PLOT_HEIGHT`` high."""
    keys, top = legend(entries, left=AXIS_LEFT.get(kind, 0)) if entries else ("", 0)
    height = top + 8 + PLOT_HEIGHT + 24
    drawn = keys + below(body, top + 8)
    if note:
        drawn += text("c-note", note, "100%", height + 9)
        height += 14
    return frame(kind, title, drawn, height=height, says=says)


def blank(kind: str, title: object, message: str) -> str:
    """A chart that has nothing to show, and says why."""
    return frame(kind, title, text("c-empty", message, "50%", 34), height=60, says=message)


def below(body: str, top: float) -> str:
    """``body`` moved down, under a legend."""
    return f'<g transform="translate(0 {coordinate(top)})">{body}</g>'


def stretched(body: str, height: float) -> str:
    """Shapes in a system ``STRETCH`` wide, pulled to the width of the plot; strokes keep their thickness."""
    return (
        f'<svg viewBox="0 0 {STRETCH} {coordinate(height)}" preserveAspectRatio="none" '
        f'width="100%" height="{coordinate(height)}">{body}</svg>'
    )


def text(kind: str, content: object, x: str, y: float, dx: float = 0) -> str:
    """A line of text, anchored as its class says; ``x`` may be a percentage, moved by ``dx`` pixels."""
    moved = f' dx="{coordinate(dx)}"' if dx else ""
    return f'<text class="{kind}" x="{x}"{moved} y="{coordinate(y)}">{escape(content)}</text>'


def hits(places: Iterable[tuple[float, float, str]]) -> str:
    """Invisible columns ``(from, to, words)`` of the plot, 0…1 across: words to show when pointed at."""
    parts = []
    for left, right, words in places:
        x, end = round(STRETCH * left), round(STRETCH * right)
        box = f'x="{x}" width="{max(end - x, 1)}" height="{coordinate(PLOT_HEIGHT)}"'
        parts.append(f"<rect {box}><title>{escape(words)}</title></rect>")
    return f'<g class="c-hits">{"".join(parts)}</g>'


def legend(entries: Sequence[tuple[str, object]], *, left: float = 0, limit: float = 330) -> tuple[str, float]:
    """Swatches with words from ``left`` on, wrapped after ``limit`` pixels, and the height they take."""
    parts: list[str] = []
    x, y = 0.0, 11.0
    for kind, words in entries:
        label = shorten(words, 24)
        width = 24 + CHARACTER_PX * len(label)
        if x and x + width > limit:
            x, y = 0.0, y + 17
        place = f'x="{coordinate(left + x)}" y="{coordinate(y - 8)}" width="12" height="8" rx="1.5"'
        parts.append(f'<rect class="c-key {kind}" {place}/>')
        parts.append(text("c-legend", label, coordinate(left + x + 17), y))
        x += width + 10
    return "".join(parts), y + 7


# -- numbers -------------------------------------------------------------------------------------------------


def drawable(value: object) -> float | None:
    """A number whose differences are numbers too; None beyond that, and for what is no number."""
    found = number(value)
    return None if found is None or abs(found) > DRAWABLE else found


def shares(values: object, count: int) -> list[float]:
    """``count`` non-negative finite numbers: what is not a number counts as 0, what is absent too."""
    found = [max(drawable(v) or 0.0, 0.0) for v in values] if isinstance(values, (list, tuple)) else []
    return (found + [0.0] * count)[:count]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers inside ``[low, high]``, about ``count`` of them; the single value when both are equal.

    Examples
    --------
    >>> nice_ticks(0, 1), nice_ticks(3, 3), nice_ticks(-12, 47)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [3.0], [0.0, 20.0, 40.0])
    """
    width = high - low
    if not math.isfinite(width) or width <= 1e-290 or width < 1e-12 * max(abs(low), abs(high)):
        return [float(low)]
    raw = width / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10, 20) if raw <= m * power * 1.0000001)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12 - math.floor(math.log10(step))) for k in range(first, last + 1)]


# -- axes and paths ------------------------------------------------------------------------------------------


def grid(levels: Iterable[float]) -> str:
    """Hairlines across at these heights, for inside ``stretched``."""
    path = "".join(f"M0 {coordinate(y)}H{STRETCH}" for y in levels)
    return f'<path class="c-grid" d="{path}"/>'


def y_axis(low: float, high: float, height: float, *, count: int = 4, percent: bool = False) -> tuple[str, str]:
    """Hairlines for inside ``stretched``, and their values, which stand to the left of the plot."""
    ticks = nice_ticks(low, high, count)
    levels = [height - height * (tick - low) / ((high - low) or 1.0) for tick in ticks]
    words = [f"{100 * tick:.4g}%" if percent else short_figure(tick) for tick in ticks]
    return grid(levels), "".join(text("c-y", w, "-6", y + 3.5) for w, y in zip(words, levels, strict=True))


def x_axis(labels: Iterable[tuple[float, str]], height: float) -> str:
    """Labels under the plot at positions in 0…1; every second one gives way where there is little room."""
    parts = [f'<line class="c-base" x2="100%" y1="{coordinate(height)}" y2="{coordinate(height)}"/>']
    for i, (x, label) in enumerate(labels):
        parts.append(text("c-tick c-minor" if i % 2 else "c-tick", label, share_of(x), height + 15))
    return "".join(parts)


def step_path(xs: Sequence[float], ys: Sequence[float], base: float, *, close: bool = False) -> str:
    """Steps of height ``ys[i]`` between ``xs[i]`` and ``xs[i + 1]``, from and to ``base``, as path data."""
    parts = [f"M{xs[0]:.0f} {coordinate(base)}"]
    for right, y in zip(xs[1:], ys, strict=True):
        parts.append(f"V{coordinate(y)}H{right:.0f}")
    return "".join(parts) + f"V{coordinate(base)}" + ("Z" if close else "")


def polyline(points: Iterable[tuple[float, float] | None]) -> str:
    """Straight lines through ``points`` as path data; None is a gap."""
    parts: list[str] = []
    pen = "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        parts.append(f"{pen}{point[0]:.0f} {coordinate(point[1])}")
        pen = " "
    return "".join(parts)

"""The heat map: rows × time, each cell one score, told apart by colour and by shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from driftwell.reports.svg import blank, coordinate, drawable, escape, frame, share_of, text
from driftwell.reports.words import distance, shorten

__all__ = ["bucket", "heatmap"]

ROW = 20.0
TOP = 20.0
MAX_ROWS = 60
MAX_COLUMNS = 120
NAME_COLUMNS = 21
LEVELS = ("stable", "drifted", "drifted far")


class Cell(NamedTuple):
    """A value with its shade 0…9 and its level 0, 1, 2, or None where it was not judged."""

    value: float
    shade: int
    level: int | None


def heatmap(
    rows: Sequence[Any],
    columns: Sequence[Any],
    values: Sequence[Sequence[float | None]],
    *,
    title: str,
    thresholds: tuple[float, float] = (0.1, 0.25),
    links: Sequence[str | None] | None = None,
    levels: Sequence[Sequence[int | None]] | None = None,
) -> str:
    """Scores of ``rows`` (features) over ``columns`` (times).

    Parameters
    ----------
    values
        ``values[i][j]`` of row ``i`` at time ``j``; None, NaN and what is missing at the end are empty cells.
    thresholds
        Where the second and the third family of shades begin.
    links
        An address for each row, or None where it has none.
    levels
        The verdict behind each cell, drawn as its mark: 0 stable, 1 a ring, 2 a dot, None not judged. Without
        it the thresholds decide.

    Notes
    -----
    Of more than ``MAX_ROWS`` rows those with the largest values are drawn, in their order; of more than
    ``MAX_COLUMNS`` times neighbours share a cell that shows the larger one.
    """
    if not rows or not columns:
        return blank("heat", title, "No checks yet.")
    grid = _grid(rows, columns, values, thresholds, levels)
    labels, grid = _narrowed([str(c) for c in columns], grid)
    kept = _largest(grid)
    parts = [_header(labels)]
    for place, i in enumerate(kept):
        link = links[i] if links is not None and i < len(links) else None
        parts.append(_row(str(rows[i]), labels, grid[i], TOP + place * ROW, link))
    height = TOP + ROW * len(kept)
    if len(kept) < len(rows):
        words = f"{len(rows) - len(kept)} more, with smaller values, are not drawn"
        parts.append(text("c-more", words, "0", height + 14))
        height += 18
    drifted = sum(any(cell and cell.level for cell in row) for row in grid)
    says = f"{len(rows)} rows over {len(columns)} times; {drifted} are marked at least once"
    role = "group" if links else "img"
    return frame("heat", title, "".join(parts), height=height + 2, says=says, role=role)


def bucket(value: float, thresholds: tuple[float, float]) -> tuple[int, int]:
    """The level (0 below both thresholds, 1, 2 above both) and the shade 0…9 of a value.

    Examples
    --------
    >>> [bucket(v, (0.1, 0.25)) for v in (0.0, 0.1, 0.25, 1.0)]
    [(0, 0), (1, 4), (2, 7), (2, 9)]
    """
    low, high = thresholds
    if value < low:
        return 0, min(3, max(0, int(4 * value / low))) if low > 0 else 0
    if value < high:
        return 1, 4 + min(2, int(3 * (value - low) / (high - low)))
    return 2, 7 + min(2, int((value - high) / (high or 1.0)))


def _grid(
    rows: Sequence[Any],
    columns: Sequence[Any],
    values: Sequence[Sequence[float | None]],
    thresholds: tuple[float, float],
    levels: Sequence[Sequence[int | None]] | None,
) -> list[list[Cell | None]]:
    """As many rows and cells as there are names; what was not given is None."""

    def cell(i: int, j: int) -> Cell | None:
        value = drawable(_item(_item(values, i), j))
        if value is None:
            return None
        level, shade = bucket(value, thresholds)
        given = level if levels is None else _item(_item(levels, i), j)
        return Cell(value, shade, given if given in (0, 1, 2) else None)

    return [[cell(i, j) for j in range(len(columns))] for i in range(len(rows))]


def _item(values: Any, index: int) -> Any:
    return values[index] if values is not None and index < len(values) else None


def _narrowed(labels: list[str], grid: list[list[Cell | None]]) -> tuple[list[str], list[list[Cell | None]]]:
    """At most ``MAX_COLUMNS`` times: of neighbours that share a cell, the one with the larger value."""
    step = -(-len(labels) // MAX_COLUMNS)
    if step == 1:
        return labels, grid
    starts = range(0, len(labels), step)
    merged = [
        [max(filter(None, row[s : s + step]), key=lambda c: c.value, default=None) for s in starts] for row in grid
    ]
    ends = [labels[min(s + step, len(labels)) - 1] for s in starts]
    return [f"{labels[s]} – {end}" for s, end in zip(starts, ends, strict=True)], merged


def _largest(grid: list[list[Cell | None]]) -> list[int]:
    ranked = sorted(range(len(grid)), key=lambda i: -max((c.value for c in grid[i] if c), default=-1.0))
    return sorted(ranked[:MAX_ROWS])


def _header(labels: list[str]) -> str:
    step = -(-len(labels) // 8)
    parts = []
    for place, j in enumerate(range(0, len(labels), step)):
        label = labels[j].partition(" – ")[0]
        late = j > 0.93 * len(labels)
        kind = ("c-note" if late else "c-when") + (" c-minor" if place % 2 else "")
        parts.append(text(kind, label, "100%" if late else share_of(j / len(labels)), 12))
    return "".join(parts)


def _row(name: str, labels: list[str], cells: list[Cell | None], y: float, link: str | None) -> str:
    words = text("c-name", shorten(name, NAME_COLUMNS), "-8", y + 14)
    width = 1 / len(labels)
    drawn = "".join(
        _box(j * width, width, y, cell, f"{name}, {label}")
        for j, (label, cell) in enumerate(zip(labels, cells, strict=True))
    )
    if link:
        return f'<a href="{escape(link)}" aria-label="{escape(name)}">{words}{drawn}</a>'
    return f"<g><title>{escape(name)}</title>{words}{drawn}</g>"


def _box(x: float, width: float, y: float, cell: Cell | None, place: str) -> str:
    box = f'x="{share_of(x)}" y="{coordinate(y)}" width="{share_of(width)}" height="{coordinate(ROW)}"'
    if cell is None:
        return f'<rect class="c-cell h-none" {box}><title>{escape(place)}: no data</title></rect>'
    word = "not judged" if cell.level is None else LEVELS[cell.level]
    tip = escape(f"{place}: {distance(cell.value)}, {word}")
    drawn = f'<rect class="c-cell h{cell.shade}" {box}><title>{tip}</title></rect>'
    if not cell.level:
        return drawn
    centre = f'cx="{share_of(x + width / 2)}" cy="{coordinate(y + ROW / 2)}" r="{1.5 + cell.level / 2}"'
    ground = " on-strong" if cell.shade >= 7 else ""
    return f'{drawn}<circle class="c-mark m{cell.level}{ground}" {centre}/>'

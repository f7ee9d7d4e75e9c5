"""Charts are SVG that any XML parser reads, whatever they are given; positions are checked against hand calculation."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.reports import charts

SVG = "{http://www.w3.org/2000/svg}"


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def paths(svg: str, kind: str) -> list[str]:
    found = parse(svg).iter(f"{SVG}path")
    return [p.get("d", "") for p in found if kind in (p.get("class") or "").split()]


def texts(svg: str) -> list[str]:
    return ["".join(t.itertext()) for t in parse(svg).iter(f"{SVG}text")]


def steps(path: str) -> list[tuple[float, float, float]]:
    """``(left, right, y)`` of the steps of a histogram's outline."""
    start = re.match(r"M([\d.-]+) ", path)
    assert start
    x, out = float(start[1]), []
    for y, right in re.findall(r"V([\d.-]+)H([\d.-]+)", path):
        out.append((x, float(right), float(y)))
        x = float(right)
    return out


NUMERIC = {
    "type": "numeric",
    "edges": [0.0, 1.0, 2.0, 4.0, 8.0],
    "reference": [0.1, 0.4, 0.4, 0.1],
    "current": [0.05, 0.15, 0.4, 0.4],
    "ecdf": {"x": [0.0, 1.0, 2.0, 4.0, 8.0], "reference": [0, 0.1, 0.5, 0.9, 1], "current": [0, 0.05, 0.2, 0.6, 1]},
}
CATEGORICAL = {"type": "categorical", "labels": ["a", "b"], "reference": [0.75, 0.25], "current": [0.5, 0.5]}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
numbers = st.none() | st.floats() | st.integers(-(10**400), 10**400) | st.text(max_size=3)
lists = st.lists(numbers, max_size=12)
distributions = (
    st.none()
    | anything
    | st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["numeric", "categorical"]),
            "edges": lists | st.lists(st.floats(-1e308, 1e308), max_size=8).map(sorted),
            "labels": st.lists(st.text() | st.none(), max_size=40),
            "reference": lists,
            "current": lists,
            "ecdf": anything
            | st.fixed_dictionaries({"x": lists.map(lambda v: v), "reference": lists, "current": lists}),
            "stats": anything,
        },
    )
)


def is_sound(svg: str) -> None:
    root = parse(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") in ("img", "group")
    assert root.get("aria-label")
    for element in root.iter():
        assert "id" not in element.attrib, "charts share a page: an id would clash"
        assert "style" not in element.attrib, "a strict content security policy forbids inline styles"
        for name, value in element.attrib.items():
            if name in ("x", "y", "width", "height", "cx", "cy", "d", "y1", "y2"):
                assert not re.search("nan|inf|e", value), f"{name}={value}"


@settings(max_examples=150, deadline=None)
@given(distributions, st.text(), st.sampled_from(["overlay", "ecdf"]))
def test_any_distribution_gives_sound_svg(distribution: Any, title: str, kind: str) -> None:
    is_sound(getattr(charts, kind)(distribution, title=title))


@settings(max_examples=60, deadline=None)
@given(distributions)
def test_any_distribution_gives_a_thumbnail_or_nothing(distribution: Any) -> None:
    svg = charts.thumbnail(distribution)
    assert svg == "" or not re.search(r"nan|inf", ElementTree.tostring(parse(svg), encoding="unicode"))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=5), st.lists(st.tuples(st.text(max_size=5), numbers), max_size=9)), max_size=5),
    st.text(),
    numbers,
    st.none() | st.lists(st.none() | st.tuples(numbers, numbers), max_size=9),
)
def test_any_series_gives_a_sound_line(series: Any, title: str, threshold: Any, band: Any) -> None:
    is_sound(charts.line(series, title=title, threshold=threshold, band=band))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(max_size=6), max_size=6), st.lists(st.text(max_size=6), max_size=6), st.lists(lists, max_size=8)
)
def test_any_grid_gives_a_sound_heat_map(rows: Any, columns: Any, values: Any) -> None:
    is_sound(charts.heatmap(rows, columns, values, title="t", links=["?a=b&c"] * 3))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(), max_size=9), lists)
def test_any_values_give_sound_bars(labels: Any, values: Any) -> None:
    is_sound(charts.bars(labels, values, title="t"))


@settings(max_examples=60, deadline=None)
@given(lists)
def test_a_sparkline_is_sound_or_empty(values: Any) -> None:
    svg = charts.sparkline(values)
    if any(isinstance(v, float) and math.isfinite(v) and abs(v) < 1e100 for v in values):
        is_sound(svg)


# -- distributions ---------------------------------------------------------------------------------------------------


def test_area_of_a_bin_is_its_share_whatever_its_width() -> None:
    (area,) = paths(charts.overlay(NUMERIC, title="t"), "c-area")
    drawn = [(right - left) * (150 - y) for left, right, y in steps(area)]
    total = sum(drawn)
    assert [round(a / total, 2) for a in drawn] == [0.1, 0.4, 0.4, 0.1]


def test_reference_and_current_share_one_scale() -> None:
    svg = charts.overlay(NUMERIC, title="t")
    (area,), (line,) = paths(svg, "c-area"), paths(svg, "c-line")
    sizes = [sum((r - x) * (150 - y) for x, r, y in steps(p)) for p in (area, line)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_a_far_tail_is_left_out_and_named() -> None:
    tailed = {"type": "numeric", "edges": [0, 1, 2, 3, 1000], "reference": [0.3, 0.4, 0.295, 0.005],
              "current": [0.3, 0.4, 0.29, 0.01]}  # fmt: skip
    svg = charts.overlay(tailed, title="t")
    assert len(steps(paths(svg, "c-area")[0])) == 3
    assert any("0.5% → 1.0% above, up to 1,000" in t for t in texts(svg))


def test_a_tail_with_weight_stays_in_the_picture() -> None:
    heavy = {"type": "numeric", "edges": [0, 1, 2, 3, 1000], "reference": [0.3, 0.4, 0.25, 0.05], "current": [0.25] * 4}
    svg = charts.overlay(heavy, title="t")
    assert len(steps(paths(svg, "c-area")[0])) == 4
    assert not any("Not drawn" in t for t in texts(svg))


def test_a_constant_column_is_one_visible_bar() -> None:
    svg = charts.overlay({"type": "numeric", "edges": [5, 5], "reference": [1], "current": [1]}, title="t")
    ((left, right, y),) = steps(paths(svg, "c-area")[0])
    assert (left, right, y) == (0, 1000, 2)


def test_a_bin_without_width_keeps_its_share() -> None:
    spike = {"type": "numeric", "edges": [0, 1, 1, 2], "reference": [0.25, 0.5, 0.25], "current": [0.3, 0.4, 0.3]}
    drawn = [
        (right - left) * (150 - y) for left, right, y in steps(paths(charts.overlay(spike, title="t"), "c-area")[0])
    ]
    assert drawn[1] / sum(drawn) == pytest.approx(0.5, abs=0.05)


def test_a_thousand_categories_are_gathered_with_their_sum() -> None:
    many = {"type": "categorical", "labels": [f"c{i}" for i in range(1000)], "reference": [0.001] * 1000,
            "current": [0.001] * 1000}  # fmt: skip
    svg = charts.overlay(many, title="t")
    words = texts(svg)
    assert "971 others" in words
    assert "97.1%" in words
    assert len(svg) < 20_000


def test_bars_of_categories_are_as_long_as_their_shares() -> None:
    bars = [
        r for r in parse(charts.overlay(CATEGORICAL, title="t")).iter(f"{SVG}rect") if "c-bar" in (r.get("class") or "")
    ]
    widths = [float((r.get("width") or "").rstrip("%")) for r in bars]
    assert widths == pytest.approx([100, 100 * 0.5 / 0.75, 100 * 0.25 / 0.75, 100 * 0.5 / 0.75], abs=0.01)


def test_names_cannot_become_markup(hostile: str) -> None:
    svg = charts.overlay(CATEGORICAL | {"labels": [hostile, "b"]}, title=hostile)
    root = parse(svg)
    assert not list(root.iter(f"{SVG}script"))
    assert "<script" not in svg
    assert "\u202e" not in svg
    assert any("<script>" in "".join(t.itertext()) for t in root.iter(f"{SVG}title"))


def test_a_long_name_is_shortened_and_whole_in_the_tooltip() -> None:
    name = "average_daily_temperature_over_the_last_seven_days"
    root = parse(charts.overlay(CATEGORICAL | {"labels": [name, "b"]}, title="t"))
    shown = ["".join(t.itertext()) for t in root.iter(f"{SVG}text")]
    assert "average_dai…n_days" in "".join(shown)
    assert any(name in (t.text or "") for t in root.iter(f"{SVG}title"))


def test_nothing_recorded_is_said_in_words() -> None:
    for empty in (None, {}, {"type": "numeric", "edges": [1.0]}, {"type": "categorical", "labels": []}):
        assert "No distribution was recorded." in texts(charts.overlay(empty, title="t"))


def test_cumulative_shares_rise_to_the_top() -> None:
    reference, current = paths(charts.ecdf(NUMERIC, title="t"), "c-line")
    for path in (reference, current):
        ys = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", path)]
        assert ys == sorted(ys, reverse=True)
        assert (ys[0], ys[-1]) == (150, 0)


def test_the_largest_gap_is_said_in_words() -> None:
    label = parse(charts.ecdf(NUMERIC, title="t")).get("aria-label") or ""
    assert "they differ most at 4, by 30.0%" in label


def test_values_beyond_the_reference_stay_in_the_picture() -> None:
    shifted = {"ecdf": {"x": [0, 1], "reference": [0, 1], "current": [0, 0]}, "type": "numeric",
               "edges": [0, 1, 1.5, 2], "reference": [1, 0, 0], "current": [0, 0.25, 0.75]}  # fmt: skip
    _, current = paths(charts.ecdf(shifted, title="t"), "c-line")
    assert current == "M0 150 500 150 750 112.5 1000 0", "a quarter lies at or below 1.5, all at or below 2"


# -- over time -------------------------------------------------------------------------------------------------------


def test_missing_values_are_gaps_and_lone_values_dots() -> None:
    points = [("a", 1.0), ("b", 2.0), ("c", None), ("d", 3.0), ("e", None), ("f", float("nan"))]
    svg = charts.line([("s", points)], title="t")
    (path,) = paths(svg, "c-line")
    assert path.count("M") == 2
    assert len(list(parse(svg).iter(f"{SVG}circle"))) == 3


def test_larger_values_are_drawn_higher() -> None:
    circles = parse(charts.line([("s", [("a", 0.2), ("b", 0.9), ("c", 0.5)])], title="t")).iter(f"{SVG}circle")
    ys = [float(c.get("cy") or "nan") for c in circles]
    assert ys[1] < ys[2] < ys[0]


def test_the_threshold_lies_at_its_value() -> None:
    root = parse(charts.line([("s", [("a", 0.0), ("b", 1.0)])], title="t", threshold=0.5))
    (limit,) = [e for e in root.iter(f"{SVG}line") if e.get("class") == "c-limit"]
    low, high = [float(c.get("cy") or "nan") for c in root.iter(f"{SVG}circle")]
    assert float(limit.get("y1") or "nan") == pytest.approx((low + high) / 2, abs=0.1)


def test_the_band_encloses_its_line() -> None:
    svg = charts.line([("f1", [("a", 0.7), ("b", 0.8)])], title="t", band=[(0.6, 0.75), (0.75, 0.9)])
    (band,) = paths(svg, "c-band")
    (path,) = paths(svg, "c-line")
    edges = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", band)]
    ys = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", path)]
    assert edges[0] < ys[0] < edges[3]
    assert edges[1] < ys[1] < edges[2]


def test_only_the_newest_points_of_very_many_are_drawn() -> None:
    svg = charts.line([("s", [(str(i), float(i)) for i in range(1000)])], title="t")
    assert len(paths(svg, "c-line")[0].split(" ")) <= 401 * 2
    assert "from 600 to 999" in (parse(svg).get("aria-label") or "")


def test_a_sparkline_starts_at_zero() -> None:
    (path,) = paths(charts.sparkline([100.0, 101.0]), "c-line")
    ys = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", path)]
    assert max(ys) - min(ys) < 1, "one percent more must look like one percent more"


def test_nothing_to_plot_is_no_sparkline() -> None:
    assert charts.sparkline([]) == charts.sparkline([None, math.nan]) == ""


# -- heat map --------------------------------------------------------------------------------------------------------


def cells(svg: str) -> list[str]:
    return [r.get("class") or "" for r in parse(svg).iter(f"{SVG}rect")]


def test_each_value_is_a_cell_in_the_shade_of_its_band() -> None:
    svg = charts.heatmap(["a", "b"], ["w1", "w2"], [[0.01, 0.1], [0.25, None]], title="t")
    assert cells(svg) == ["c-cell h0", "c-cell h4", "c-cell h7", "c-cell h-none"]
    marks = [c.get("class") for c in parse(svg).iter(f"{SVG}circle")]
    assert marks == ["c-mark m1", "c-mark m2 on-strong"], "moderate and critical differ in shape too"


def test_marks_follow_the_verdicts_where_they_are_given() -> None:
    svg = charts.heatmap(["a"], ["1", "2", "3"], [[0.05, 0.4, 0.4]], title="t", levels=[[2, 0, None]])
    assert [c.get("class") for c in parse(svg).iter(f"{SVG}circle")] == ["c-mark m2"], "dark on a pale cell"
    tips = [t.text for t in parse(svg).iter(f"{SVG}title")]
    assert tips[2:] == ["a, 1: 0.050, drifted far", "a, 2: 0.400, stable", "a, 3: 0.400, not judged"]


def test_rows_link_to_their_page() -> None:
    link = "/models/a%2Fb?x=1&y=2"
    root = parse(charts.heatmap(["a/b", "c"], ["w"], [[0.1], [0.2]], title="t", links=[link, None]))
    assert [a.get("href") for a in root.iter(f"{SVG}a")] == [link]
    assert root.get("role") == "group", "links inside an image are hidden from screen readers"


def test_of_many_rows_those_that_moved_are_kept_in_order() -> None:
    values = [[i / 1000] for i in range(1000)]
    svg = charts.heatmap([f"f{i}" for i in range(1000)], ["w"], values, title="t")
    names = [t for t in texts(svg) if t.startswith("f")]
    assert names == [f"f{i}" for i in range(940, 1000)]
    assert any("940 more" in t for t in texts(svg))


def test_of_many_times_neighbours_share_a_cell_with_the_larger_value() -> None:
    values = [[0.9 if i == 301 else 0.0 for i in range(480)]]
    svg = charts.heatmap(["f"], [str(i) for i in range(480)], values, title="t")
    assert len(cells(svg)) == 120
    assert cells(svg)[301 // 4] == "c-cell h9"


def test_bars_show_their_values() -> None:
    svg = charts.bars(["a", "b", "c"], [4.0, 1.0, None], title="t")
    widths = [r.get("width") for r in parse(svg).iter(f"{SVG}rect")]
    assert widths == ["100%", "25%"]
    assert "–" in texts(svg)

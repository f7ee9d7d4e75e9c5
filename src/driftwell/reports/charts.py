"""Charts as SVG text, drawn on the server for the report and the pages alike.

Pure functions of plain values. Colours, dashes and margins come from the style sheet through classes, so that
light, dark and print need no second drawing. Whatever is passed in is shown as well as it can be: missing
numbers are gaps, an empty distribution is a sentence, long names are shortened and complete in the tooltip.
"""

from __future__ import annotations

from driftwell.reports.distributions import bars, ecdf, overlay, thumbnail
from driftwell.reports.heat import heatmap
from driftwell.reports.series import line, sparkline

__all__ = ["bars", "ecdf", "heatmap", "line", "overlay", "sparkline", "thumbnail"]

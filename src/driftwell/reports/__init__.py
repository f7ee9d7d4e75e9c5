"""Results as documents: HTML that works offline, Markdown, and the charts the pages share."""

from __future__ import annotations

from driftwell.reports.files import write_text
from driftwell.reports.html import render_drift, render_monitoring
from driftwell.reports.markdown import render_markdown

__all__ = ["render_drift", "render_markdown", "render_monitoring", "write_text"]

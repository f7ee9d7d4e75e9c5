"""Data quality: rules learned from a reference, and verdicts on a profile that come before any talk of drift."""

from driftwell.quality.broken import hold_back
from driftwell.quality.examples import with_repeats
from driftwell.quality.judging import ALPHA, judge_quality
from driftwell.quality.options import check_options
from driftwell.quality.result import QualityResult
from driftwell.quality.rules import RULES, Rule, expected_volume, learn_rules

__all__ = [
    "ALPHA",
    "RULES",
    "QualityResult",
    "Rule",
    "check_options",
    "expected_volume",
    "hold_back",
    "judge_quality",
    "learn_rules",
    "with_repeats",
]

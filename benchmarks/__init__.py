"""Benchmarks that print ratios taken in one run: ``make bench``, or ``python -m benchmarks compare`` for one."""

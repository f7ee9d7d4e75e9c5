"""``python -m driftwell``."""

from driftwell.cli import main

main()

"""How good the predictions were: metrics with intervals, comparison with a baseline, rolling windows."""

"""Mergeable states: what is counted of one column, a module a kind, and the bins or the grid it is counted in."""

"""Detectors: one table of univariate methods, from two states (or rows) to a measure and whether it matters."""

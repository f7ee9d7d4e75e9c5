"""Pure functions on NumPy arrays: formulas, sums and null distributions. No state, no input or output."""

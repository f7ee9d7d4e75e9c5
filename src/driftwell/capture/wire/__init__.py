"""Formats in which other systems send predictions, and the sender of our own client."""

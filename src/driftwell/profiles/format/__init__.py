"""Profiles as bytes."""

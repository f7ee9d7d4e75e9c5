"""Predictions and labels in InfluxDB, over the HTTP endpoints that all its versions share."""

from driftwell.stores.influx.store import InfluxStore

__all__ = ["InfluxStore"]

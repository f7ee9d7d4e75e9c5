"""Watching live models: one check as a function, the Monitor that users hold, the runtime that models share."""

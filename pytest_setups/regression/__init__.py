"""Regression: whether a run is still as good as an earlier entry, and how certain that is."""

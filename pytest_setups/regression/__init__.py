"""Regression: whether a run is still as good as an earlier entry, and how sure that is."""

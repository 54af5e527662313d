"""Checks: named reasons why an output is not populated."""

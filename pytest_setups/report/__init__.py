"""Telling: the terminal's lines."""

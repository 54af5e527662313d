"""The program `pytest-setups`: what works on a registry and needs no model."""

from pytest_setups.cli.app import main

__all__ = ["main"]

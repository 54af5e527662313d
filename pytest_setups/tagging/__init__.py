"""Tagging: prepare a picture, ask a server, check what came back. Knows nothing of pytest."""

"""Tagging: pictures, prompts and requests, and the three kinds of tagger."""

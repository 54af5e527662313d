"""Serving: who answers, with which models, and starting a server. Knows nothing of pytest."""

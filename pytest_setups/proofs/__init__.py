"""Proofs: experiments with the server itself, and their evidence."""

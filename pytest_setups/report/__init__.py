"""Reporters: the result of a run, or an entry, on the terminal, in GitHub, JUnit XML and HTML."""

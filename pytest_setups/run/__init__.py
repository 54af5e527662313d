"""A run: its connection, what it collects, its verdict and its result."""

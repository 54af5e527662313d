"""The registry: entries kept in git, their results files, and what derives from them."""

"""The registry: entries kept in git and what derives from them; knows no pytest, HTTP or images."""

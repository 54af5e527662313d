"""Starting, supervising and stopping programs."""

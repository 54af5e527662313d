"""What a run measures beside its answers."""

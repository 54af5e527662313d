"""Options and the settings of a run."""

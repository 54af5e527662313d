"""The tests that a run consists of, collected under node ids that begin with ``setup::``."""

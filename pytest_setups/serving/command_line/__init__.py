"""Launch commands: reading them, their programs and flags."""
